"""Codes as indexes of FAISS, which searches them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray
from twinlearn import TLDR, TwinlearnError

Array = NDArray[Any]
DATA = Path(__file__).parents[2] / "data"
X = np.load(DATA / "train_x.npy").astype(np.float32)
Q = np.load(DATA / "test_x.npy").astype(np.float32)[:200]
K = 10


def fitted(metric: str = "cosine", **more: Any) -> TLDR:
    return TLDR(n_components=64, solver="pca", metric=metric, **more).fit(X)


def nearest(metric: str, queries: Array, base: Array) -> Array:
    """By squared distances, or inner products, of reduced queries and decoded rows."""
    products = queries.astype(np.float64) @ base.T.astype(np.float64)
    if metric == "ip":
        return np.argsort(-products, axis=1, kind="stable")[:, :K]
    squares = (base.astype(np.float64) ** 2).sum(axis=1)
    return np.argsort(squares - 2 * products, axis=1, kind="stable")[:, :K]


def shared(a: Array, b: Array) -> float:
    hits = [len(np.intersect1d(x, y)) for x, y in zip(a, b, strict=True)]
    return float(np.mean(hits)) / K


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_product_codes_are_searched_by_faiss(metric: str, tmp_path: Path) -> None:
    tldr = fitted(metric, codes="pq:16")
    codes = tldr.transform(X, codes=True)
    faiss.write_index(tldr.to_faiss(codes, codes=True), str(tmp_path / "codes.index"))
    index: Any = faiss.read_index(str(tmp_path / "codes.index"))
    assert isinstance(index, faiss.IndexPreTransform) and index.ntotal == len(X)
    _, found = index.search(Q, K)
    # What FAISS says that it compares, by NumPy.
    reduced = tldr.transform(Q, l2_norm=metric == "cosine")
    assert shared(found, nearest(metric, reduced, tldr.decode(codes, codes=True))) > 0.999
    # Its recall beside that of our own search.
    truth = np.argsort(-score(metric, Q, X), axis=1)[:, :K]
    ours = tldr.search(codes, Q, K, codes=True)
    assert shared(found, truth) > shared(ours, truth) - (0.04 if metric == "cosine" else 0.002)
    assert shared(ours, truth) > 0.4


def score(metric: str, queries: Array, base: Array) -> Array:
    wide, rows = queries.astype(np.float64), base.astype(np.float64)
    if metric == "l2":
        return np.asarray(2 * wide @ rows.T - (rows**2).sum(axis=1))
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(wide @ rows.T)


@pytest.mark.parametrize(
    ("bits", "kind"), [(2, "IndexPQFastScan"), (4, "IndexPQFastScan"), (8, "IndexScalarQuantizer")]
)
def test_scalar_codes_are_searched_by_faiss(bits: int, kind: str, tmp_path: Path) -> None:
    tldr = fitted()
    codes = tldr.transform(X, bits=bits)
    faiss.write_index(tldr.to_faiss(codes, bits=bits), str(tmp_path / "codes.index"))
    index: Any = faiss.read_index(str(tmp_path / "codes.index"))
    assert type(faiss.downcast_index(index.index)).__name__ == kind
    _, found = index.search(Q, K)
    truth = np.argsort(-score("cosine", Q, X), axis=1)[:, :K]
    ours = tldr.search(codes, Q, K, bits=bits)
    # Fast scan rounds its tables to bytes.
    assert shared(found, truth) > shared(ours, truth) - 0.04
    assert shared(found, ours) > (0.75 if kind == "IndexPQFastScan" else 0.95)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_eight_bits_with_lengths_are_searched_by_faiss(metric: str) -> None:
    tldr = fitted(metric)
    codes = tldr.transform(X, bits=8)
    assert codes.shape[1] == 64 + 2
    _, found = tldr.to_faiss(codes, bits=8).search(Q, K)
    assert shared(found, tldr.search(codes, Q, K, bits=8)) > 0.95


def test_one_bit_is_a_binary_index() -> None:
    tldr = fitted()
    codes, queries = tldr.transform(X, bits=1), tldr.transform(Q, bits=1)
    index = tldr.to_faiss(codes, bits=1)
    distances, _ = index.search(queries, K)
    differ = np.unpackbits(queries[:, None] ^ codes[None], axis=2).sum(axis=2)
    assert np.array_equal(distances, np.sort(differ, axis=1)[:, :K])


def test_what_faiss_cannot_hold_is_named() -> None:
    tldr = fitted("l2")
    with pytest.raises(TwinlearnError, match="Z: expected codes without a length in each row, got"):
        tldr.to_faiss(tldr.transform(X, bits=4), bits=4)
    with pytest.raises(TwinlearnError, match="bits: expected 1, 2, 4 or 8, or codes=True, got nei"):
        tldr.to_faiss(tldr.transform(X, bits=4))
    with pytest.raises(TwinlearnError, match="Z: expected 16 bytes a row, as code sq2 has, got 8"):
        fitted().to_faiss(np.zeros((3, 8), np.uint8), bits=2)
    odd = fitted(codes="pq:24")
    with pytest.raises(
        TwinlearnError,
        match=r"codes: expected groups of one size \(n_components a multiple of 24\), got 64",
    ):
        odd.to_faiss(odd.transform(X, codes=True), codes=True)
    deep = TLDR(n_components=16, encoder="mlp-1-32", epochs=1).fit(X[:600])
    with pytest.raises(TwinlearnError, match="encoder: expected a linear one, got one with hidden"):
        deep.to_faiss(deep.transform(X, bits=2), bits=2)
