"""Reduced vectors as codes of a few bytes, and search of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._arrays import rows
from ._job import job, whole
from ._model import WithModel
from ._twinlearn import TwinlearnError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


def _bytes(Z: Any) -> NDArray[np.uint8]:
    """Codes as rows of bytes."""
    array = np.asarray(Z)
    if array.ndim != 2 or array.dtype != np.uint8:
        got = f"{array.dtype} of shape {array.shape}"
        raise TwinlearnError(f"Z: expected a 2-D array of uint8, got {got}")
    return np.ascontiguousarray(array)


def _bits(bits: int | None, codes: bool) -> int | None:
    """Bits of a number, of codes that are named by them or are those of the model."""
    if bits is not None and codes:
        raise TwinlearnError(f"bits: expected None beside codes=True, got {bits!r}")
    return None if bits is None else whole("bits", bits)


class WithCodes(WithModel):
    """What every estimator of the package does with codes."""

    def _first(self, n_components: int | None) -> Self:
        """An estimator of the first numbers of reduced vectors, or of all; fitted."""
        check_is_fitted(self, "_model")
        if n_components is None:
            return self
        # Not by `copy`, which writes the model to bytes, as pickles do.
        prefix = object.__new__(type(self))
        model = self._model.prefix(whole("n_components", n_components))
        prefix.__dict__.update(self.__dict__, _model=model)
        return prefix

    def _encode(
        self, array: NDArray[Any], l2_norm: bool, bits: int | None, codes: bool
    ) -> NDArray[np.uint8]:
        """The codes of rows."""
        if l2_norm:
            raise TwinlearnError("l2_norm: expected False beside bits or codes, got True")
        return self._model.encode(array, job(self.n_jobs), bits=_bits(bits, codes))

    def decode(
        self,
        Z: ArrayLike,
        *,
        bits: int | None = None,
        codes: bool = False,
        n_components: int | None = None,
    ) -> NDArray[np.float32]:
        """Give the reduced vectors that codes stand for, about.

        Parameters
        ----------
        Z : array of shape (n_samples, bytes), uint8
            What ``transform(X, bits=...)`` or ``transform(X, codes=True)`` gave.
        bits, codes, n_components : optional
            What `transform` was given. Without `bits` and `codes` it is the code of the model whose
            rows have as many bytes, if it is the only one.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components), float32
            Under cosine directions, of a length about 1.

        Raises
        ------
        TwinlearnError
            When codes are not bytes, or no code or several of the model have as many bytes.

        Examples
        --------
        >>> import numpy as np
        >>> from twinlearn import TLDR
        >>> X = np.random.default_rng(0).standard_normal((400, 16))
        >>> tldr = TLDR(n_components=8).fit(X)
        >>> Z = tldr.transform(X, bits=4)
        >>> Z.shape, Z.dtype  # two numbers in a byte
        ((400, 4), dtype('uint8'))
        >>> bool(np.abs(tldr.decode(Z) - tldr.transform(X, l2_norm=True)).mean() < 0.05)
        True
        """
        of = self._first(n_components)
        given = _bits(bits, codes)
        return of._model.decode(_bytes(Z), job(self.n_jobs), bits=given, codes=codes)

    def search(
        self,
        Z: ArrayLike,
        queries: ArrayLike,
        k: int = 10,
        *,
        bits: int | None = None,
        codes: bool = False,
        n_components: int | None = None,
        rescore: ArrayLike | None = None,
        candidates: int | None = None,
    ) -> NDArray[np.int64]:
        """Find the codes that are nearest to queries.

        A reduced query, as floats, is compared with what each code stands for, by `metric`; no
        code is left out.

        Parameters
        ----------
        Z : array of shape (n_samples, bytes), uint8
            The codes of the rows that are searched.
        queries : array of shape (n_queries, n_features)
            Queries as they are before they are reduced.
        k : int, default=10
            Neighbours of each query.
        bits, codes, n_components : optional
            As in `decode`.
        rescore : array of shape (n_samples, n_features), optional
            The rows themselves, memory-mapped, say: the candidates that codes find are put in
            order by them.
        candidates : int, optional
            Candidates of each query that are put in order: 100 unless given, or `k` where that is
            more, or all where there are fewer.

        Returns
        -------
        found : ndarray of shape (n_queries, k), int64
            Row numbers, best first, ties by the smaller one.

        Raises
        ------
        TwinlearnError
            When codes, queries and rows do not fit together, there are fewer codes than `k` or
            `candidates`, or a query or a row is not finite, or all zeros under cosine.

        Examples
        --------
        >>> import numpy as np
        >>> from twinlearn import TLDR
        >>> X = np.random.default_rng(0).standard_normal((400, 16))
        >>> tldr = TLDR(n_components=8).fit(X)
        >>> Z = tldr.transform(X, bits=4)
        >>> tldr.search(Z, X[:2], 1, rescore=X).tolist()  # a row is nearest to itself
        [[0], [1]]
        """
        of = self._first(n_components)
        return of._model.search(
            _bytes(Z),
            rows(queries, "queries"),
            whole("k", k),
            job(self.n_jobs, self.memory),
            bits=_bits(bits, codes),
            codes=codes,
            rescore=None if rescore is None else rows(rescore, "rescore"),
            candidates=None if candidates is None else whole("candidates", candidates),
        )
