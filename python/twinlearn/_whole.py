"""Estimators that what fails leaves as they were, and methods that their class has too."""

from __future__ import annotations

from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

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


class on_class_too(Generic[Args, Result]):
    """A method ``load(self, path, init)`` that the class has too, of a new estimator with init."""

    def __init__(self, method: Callable[Concatenate[Any, Args], Result]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, estimator: Any, owner: type) -> Callable[Args, Result]:
        if estimator is not None:
            return MethodType(self._method, estimator)

        @wraps(self._method)
        def load(*args: Args.args, **kwargs: Args.kwargs) -> Result:
            if len(args) < 2:
                kwargs.setdefault("init", True)
            return self._method(owner(), *args, **kwargs)

        return load
