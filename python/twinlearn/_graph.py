"""The neighbour graph of an estimator."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _twinlearn
from ._arrays import rows
from ._job import job
from ._parameters import Parameters
from ._progress import Progress
from ._twinlearn import TwinlearnError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    from ._parameters import Path_


class WithGraph(Parameters):
    """An estimator that keeps a graph: found by the last fit, or given for the next."""

    _knn: NDArray[np.int64] | None

    def compute_knn(self, X: Any) -> Self:
        """Find the neighbours of the rows of `X`, for the next `fit` of the same rows.

        Parameters
        ----------
        X : as in `fit`, of shape (n_samples, n_features)

        Returns
        -------
        self : TLDR

        Raises
        ------
        TwinlearnError
            When a parameter or a value is not usable.

        Examples
        --------
        >>> import numpy as np
        >>> from twinlearn import TLDR
        >>> X = np.random.default_rng(0).standard_normal((100, 8))
        >>> tldr = TLDR(n_components=2, n_neighbors=3, loss="KL", batch_size=32).compute_knn(X)
        >>> tldr.get_knn().shape
        (100, 3)
        >>> tldr.fit(X).get_knn().shape
        (100, 3)
        """
        array = rows(X)
        with Progress(self.verbose) as progress:
            tell = progress.tell if self.verbose else None
            params = _twinlearn.resolve(self._own())
            k = params["n_neighbors"]
            if self.n_neighbors is None:
                # A list that is as long as it is by default is no longer than there are other rows.
                k = max(1, min(k, array.shape[0] - 1))
            self._knn = _twinlearn.knn_graph(
                array,
                (k, "n_neighbors"),
                params["metric"],
                params["knn_method"],
                params["knn_approximation"],
                self._seed(),
                job(self.n_jobs, self.memory, tell),
            )
        self._knn_is_given = True
        return self

    def get_knn(self) -> NDArray[np.int64] | None:
        """The graph of the last `fit`, `compute_knn` or `load_knn`: int64, n_samples × k.

        None after a fit that found the neighbours of some rows alone (more than 202,000 rows with
        loss KL) or of none.
        """
        return getattr(self, "_knn", None)

    def save_knn(self, path: Path_) -> None:
        """Write the graph as .npy; an older file stays until the new one is whole.

        A name has the ending ``.npy``, or none.
        """
        graph = self.get_knn()
        if graph is None:
            raise TwinlearnError(
                "knn_graph: expected one of all rows, which compute_knn makes, got none (a fit of "
                "more than 202,000 rows, or one that needs no neighbours, keeps none)"
            )
        content = io.BytesIO()
        np.save(content, graph)
        _twinlearn.write_file(path, content.getvalue(), ["npy"])

    def load_knn(self, path: Path_) -> Self:
        """Read a graph (.npy), which the next `fit` uses."""
        self._knn, _ = as_graph(path)
        self._knn_is_given = True
        return self

    def _given_knn(self) -> NDArray[np.int64] | None:
        return self.get_knn() if getattr(self, "_knn_is_given", False) else None


def as_graph(graph: Any) -> tuple[NDArray[np.int64] | None, list[list[int]] | None]:
    """A graph as an array, or as lists where their lengths differ."""
    if graph is None:
        return None, None
    if isinstance(graph, (str, os.PathLike)):
        graph = np.load(graph, allow_pickle=False)
    if np.ma.is_masked(graph) or (
        isinstance(graph, (list, tuple)) and any(map(np.ma.is_masked, graph))
    ):
        raise TwinlearnError("knn_graph: expected a neighbour in every place, got a masked one")
    if hasattr(graph, "tocsr"):
        graph = _lists_of(graph.tocsr())
    elif isinstance(graph, tuple) and len(graph) == 2 and _is_pair(*map(np.asarray, graph)):
        # What a search gives beside the distances, on either side of them.
        graph = next(a for a in map(np.asarray, graph) if a.dtype.kind in "iu")
    if isinstance(graph, (list, tuple)) and len({len(row) for row in graph}) > 1:
        return None, [[int(i) for i in row] for row in graph]
    array = np.asarray(graph)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise TwinlearnError(
            "knn_graph: expected a 2-D array of whole numbers, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array, dtype=np.int64), None


def _is_pair(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether these are neighbours and their distances, in either order."""
    kinds = {a.dtype.kind in "iu", b.dtype.kind in "iu"}
    return a.ndim == 2 and a.shape == b.shape and kinds == {True, False}


def _lists_of(graph: Any) -> list[NDArray[Any]]:
    """The neighbours of each row of a sparse graph, nearest first by the distances it holds."""
    ends = zip(graph.indptr[:-1], graph.indptr[1:], strict=True)
    order = [begin + np.argsort(graph.data[begin:end], kind="stable") for begin, end in ends]
    return [graph.indices[places] for places in order]
