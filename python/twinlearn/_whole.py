"""Estimators that what fails leaves as they were."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Args = ParamSpec("Args")
Estimator = TypeVar("Estimator")
Result = TypeVar("Result")


def or_as_before(
    method: Callable[Concatenate[Estimator, Args], Result],
) -> Callable[Concatenate[Estimator, Args], Result]:
    """A method that leaves the estimator as it was when it fails or is interrupted."""

    @wraps(method)
    def whole(self: Estimator, /, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        before: dict[str, Any] = dict(self.__dict__)
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return whole
