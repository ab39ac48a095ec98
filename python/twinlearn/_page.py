"""The page about a model or a reduction."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _twinlearn
from ._job import job

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Report:
    """A page that needs no network; shown inline where a notebook shows its last value.

    Attributes
    ----------
    html : str
        The whole page.
    """

    def __init__(self, page: str) -> None:
        self.html = page

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page; an older file stays until the new one is whole.

        A name has the ending ``.html`` or ``.htm``, or none.
        """
        _twinlearn.write_file(path, self.html.encode(), ["html", "htm"])

    def _repr_html_(self) -> str:
        # A frame keeps the page's style and script apart from the notebook's.
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="twinlearn report" '
            'style="width:100%;height:800px;border:0"></iframe>'
        )


def page(title: str, n_jobs: int | None = None, **about: Any) -> Report:
    """The page about what is given, as the engine's `report` takes it."""
    return Report(_twinlearn.report(title, job(n_jobs), **about))


def words(values: Sequence[Any] | NDArray[Any] | None) -> list[str] | None:
    """Labels or texts as strings."""
    return None if values is None else [str(value) for value in np.asarray(values).tolist()]
