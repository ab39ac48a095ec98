"""Codes as an index of FAISS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._codes import WithCodes, _bits, _bytes
from ._twinlearn import TwinlearnError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Centres of a byte, and of half a byte.
CENTRES = 256
FEW_CENTRES = 16


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise TwinlearnError("faiss: expected the package faiss-cpu, got none installed") from error
    return faiss


def _linear(faiss: Any, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> Any:
    """The map of rows x to weight · x + bias."""
    out, given = weight.shape
    transform = faiss.LinearTransform(given, out, bias is not None)
    faiss.copy_array_to_vector(np.ascontiguousarray(weight, np.float32).ravel(), transform.A)
    if bias is not None:
        faiss.copy_array_to_vector(np.ascontiguousarray(bias, np.float32), transform.b)
    transform.is_trained = True
    return transform


def _quantiser(faiss: Any, centres: NDArray[Any], codes: NDArray[Any], metric: int) -> Any:
    """An IndexPQ of centres (groups × centres × numbers) that holds codes."""
    parts, count, width = centres.shape
    index = faiss.IndexPQ(parts * width, parts, count.bit_length() - 1, metric)
    faiss.copy_array_to_vector(
        np.ascontiguousarray(centres, np.float32).ravel(), index.pq.centroids
    )
    faiss.copy_array_to_vector(codes.ravel(), index.codes)
    index.ntotal, index.is_trained = len(codes), True
    return index


class WithFaiss(WithCodes):
    """What every estimator of the package does with FAISS."""

    def to_faiss(
        self,
        Z: ArrayLike,
        *,
        bits: int | None = None,
        codes: bool = False,
        n_components: int | None = None,
    ) -> Any:
        """Make codes an index of FAISS, which FAISS alone can save, open and search.

        Product codes become an ``IndexPQ``, codes of 2 or 4 bits an ``IndexPQFastScan``, each in an
        ``IndexPreTransform`` that reduces queries: its `search` takes queries as they are before
        they are reduced. So does that of codes of 8 bits, an ``IndexScalarQuantizer`` that is made
        of what they stand for: FAISS has one step for all rows, these codes one for each. Codes of
        1 bit become an ``IndexBinaryFlat``, whose queries are codes, ``tldr.transform(Q, bits=1)``.

        FAISS compares a query (under cosine at length 1) with what a code stands for by squared
        distance, under metric ip by inner product, and its fast scan rounds: under cosine it finds
        2 to 5 points of recall less than `TLDR.search`, which compares directions, and with 1 bit,
        by Hamming distance, far less. Take 100 candidates and re-rank them by the full vectors.
        With 8 bits and rows of very different lengths (metric ip or l2) FAISS's steps are those of
        the longest row: one that is 30 times as long as the others costs 5 points.

        Parameters
        ----------
        Z : array of shape (n_samples, bytes), uint8
            What ``transform(X, bits=...)`` or ``transform(X, codes=True)`` gave.
        bits, codes, n_components : optional
            What `transform` was given. One of `bits` and `codes` is.

        Returns
        -------
        index : faiss.IndexPreTransform or faiss.IndexBinaryFlat

        Raises
        ------
        TwinlearnError
            When the package faiss is not installed, the encoder has hidden layers, or codes hold
            what an index of FAISS cannot: with 2 or 4 bits a length in each row, or groups of
            several sizes.

        Examples
        --------
        >>> import numpy as np
        >>> from twinlearn import TLDR
        >>> X = np.random.default_rng(0).standard_normal((400, 16))
        >>> tldr = TLDR(n_components=8, codes="pq:4").fit(X)
        >>> Z = tldr.transform(X, codes=True)
        >>> index = tldr.to_faiss(Z, codes=True)  # doctest: +SKIP
        >>> distances, found = index.search(X[:2].astype(np.float32), 10)  # doctest: +SKIP
        """
        of, base, given = self._first(n_components), _bytes(Z), _bits(bits, codes)
        if given is None and not codes:
            raise TwinlearnError("bits: expected 1, 2, 4 or 8, or codes=True, got neither")
        model = of._model
        spec, wanted, has_length = model.codec_facts(bits=given)
        if base.shape[1] != wanted:
            raise TwinlearnError(
                f"Z: expected {wanted} bytes a row, as code {spec} has, got {base.shape[1]}"
            )
        faiss = _faiss()
        if given == 1:
            index = faiss.IndexBinaryFlat(8 * wanted)
            index.add(base)
            return index
        if has_length and given != 8:
            raise TwinlearnError(
                f"Z: expected codes without a length in each row, got {spec}, which has one under "
                "this metric (product codes have none)"
            )
        linear = model.linear_map()
        if linear is None:
            raise TwinlearnError("encoder: expected a linear one, got one with hidden layers")
        arrays, d = model.arrays(), model.n_components
        metric = model.params()["metric"]
        by = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
        chain = [_linear(faiss, *linear)]
        if metric == "cosine":
            chain.append(faiss.NormalizationTransform(d, 2.0))
        if given == 8:
            rows = of.decode(base, bits=8)
            index = faiss.IndexScalarQuantizer(d, faiss.ScalarQuantizer.QT_8bit, by)
            index.train(rows)
            index.add(rows)
        elif given is None:
            centres = arrays["codes.centres"]
            if d % wanted:
                raise TwinlearnError(
                    f"codes: expected groups of one size (n_components a multiple of {wanted}), "
                    f"got {d} numbers in {wanted} bytes"
                )
            # A code that few rows taught has fewer centres; no row names the others.
            padded = np.pad(centres, ((0, CENTRES - len(centres)), (0, 0)), mode="edge")
            groups = padded.reshape(CENTRES, wanted, d // wanted).transpose(1, 0, 2)
            chain.append(_linear(faiss, arrays["codes.rotation"]))
            index = _quantiser(faiss, groups, base, by)
        else:
            rotation = model.turned(np.eye(d, dtype=np.float32), bits=given).T
            turned = rotation @ arrays["codes.centre"]
            chain.append(_linear(faiss, rotation))
            index = self._scalar(faiss, (base, given), (turned, arrays["codes.lengths"][0]), by)
        whole = faiss.IndexPreTransform(index)
        for transform in reversed(chain):
            whole.prepend_transform(transform)
        return whole

    @staticmethod
    def _scalar(
        faiss: Any,
        codes: tuple[NDArray[Any], int],
        about: tuple[NDArray[Any], float],
        metric: int,
    ) -> Any:
        """Codes of 2 or 4 bits: product codes of half bytes, with even centres."""
        (base, bits), (centre, length) = codes, about
        d, per_group = len(centre), 4 // bits
        if d * bits % 8:
            raise TwinlearnError(
                f"bits: expected whole bytes, got {d} numbers of {bits} bits ({d * bits} bits)"
            )
        levels = np.arange(2**bits) - (2**bits - 1) / 2
        shifts = 8 - bits * np.arange(1, 8 // bits + 1)
        numbers = (base[:, :, None] >> shifts & (2**bits - 1)).reshape(len(base), d)
        # The length of what codes stand for is divided out of each; FAISS has one for all.
        mean = float(np.linalg.norm(levels[numbers], axis=1).mean())
        points = np.stack(np.meshgrid(*[levels] * per_group, indexing="ij"), axis=-1).reshape(
            -1, per_group
        )
        groups = centre.reshape(-1, 1, per_group) + length / mean * points
        # Ours has the first of two groups in the high bits of a byte, FAISS in the low ones.
        swapped = np.ascontiguousarray(base << 4 | base >> 4)
        return faiss.IndexPQFastScan(_quantiser(faiss, groups, swapped, metric))
