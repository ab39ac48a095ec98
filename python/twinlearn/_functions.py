"""The graph and the baseline, without an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from . import _twinlearn
from ._arrays import rows
from ._job import as_seed, job, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Metric = Literal["cosine", "ip", "l2"]


def knn_graph(
    X: ArrayLike,
    k: int = 10,
    metric: Metric = "cosine",
    method: Literal["auto", "exact", "descent", "pq"] = "auto",
    *,
    approximation: Literal["low", "medium", "high"] | None = None,
    random_state: int = 0,
    memory: int | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.int64]:
    """Find every row's nearest other rows.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The vectors; arrays of numbers in C order are not copied.
    k : int, default=10
        Neighbours of each row, from 1 to ``n_samples - 1``.
    metric : {"cosine", "ip", "l2"}, default="cosine"
        How near two rows are.
    method : {"auto", "exact", "descent", "pq"}, default="auto"
        How they are found; ``auto`` is exact while that takes minutes, then NN-descent.
    approximation : {"low", "medium", "high"}, optional
        The level of product quantisation, with ``method="pq"``.
    random_state : int, default=0
        The seed of the approximate methods.
    memory : int, optional
        A bound on the working memory in bytes, beside `X` and the result.
    n_jobs : int, optional
        Threads; None and -1 mean all cores. The result does not depend on it.

    Returns
    -------
    ndarray of shape (n_samples, k), int64
        Row numbers, nearest first, never a row itself.

    Raises
    ------
    TwinlearnError
        When `k` or a value of `X` is not usable.

    Examples
    --------
    >>> import numpy as np
    >>> from twinlearn import knn_graph
    >>> knn_graph(np.array([[0.0], [1.0], [3.0]]), k=1, metric="l2").ravel().tolist()
    [1, 0, 1]
    """
    array = rows(X)
    return _twinlearn.knn_graph(
        array,
        (whole("k", k), "k"),
        metric,
        method,
        approximation,
        as_seed(random_state),
        job(n_jobs, memory),
    )


def pca(
    X: ArrayLike, n_components: int, power: float = 0.0, *, n_jobs: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Principal components, the baseline: reduced vectors are ``X @ weight.T + bias``.

    They are float32: take a common offset that is large beside the differences between rows off
    ``X`` first, or use ``TLDR(solver="pca", metric="l2")``, whose models carry it.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The vectors.
    n_components : int
        d, at most ``n_features``.
    power : float, default=0
        Each component is divided by its standard deviation to this power; 1 whitens.
    n_jobs : int, optional
        Threads; None and -1 mean all cores.

    Returns
    -------
    weight : ndarray of shape (n_components, n_features), float32
    bias : ndarray of shape (n_components,), float32

    Raises
    ------
    TwinlearnError
        When there are fewer than two different rows or too few features.

    Examples
    --------
    >>> import numpy as np
    >>> from twinlearn import pca
    >>> x = np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    >>> weight, bias = pca(x, 1)
    >>> np.allclose(np.abs(x @ weight.T + bias).ravel(), [8**0.5, 0, 8**0.5], atol=1e-5)
    True
    """
    array = rows(X)
    return _twinlearn.pca(array, whole("n_components", n_components), power, job(n_jobs))
