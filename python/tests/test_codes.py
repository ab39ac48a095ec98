"""Codes beside a reference in NumPy, and searches of them beside brute force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import refused, run
from twinlearn import TLDR, TwinlearnError

Array = NDArray[Any]
D = 24
MASK = (1 << 64) - 1
STEP = {1: 1.0, 2: 0.9957, 4: 0.3352}


def mix(x: int) -> int:
    """SplitMix64."""
    z = ((x + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def hadamard(p: int) -> Array:
    h = np.ones((1, 1))
    while len(h) < p:
        h = np.block([[h, h], [h, -h]])
    scaled: Array = h / np.sqrt(p)
    return scaled


def rotated(x: Array) -> Array:
    """The rotation of scalar codes: four rounds of signs and a transform of a block."""
    d = x.shape[1]
    p = 1 << (d.bit_length() - 1)
    x = x.astype(np.float64)
    for t in range(4):
        x = x * [-1.0 if mix((t << 32) + i) & 1 else 1.0 for i in range(d)]
        start = 0 if t % 2 == 0 else d - p
        x[:, start : start + p] = x[:, start : start + p] @ hadamard(p)
    return x


def unit(x: Array) -> Array:
    lengths: Array = np.linalg.norm(x, axis=1, keepdims=True)
    return x / lengths


class Reference:
    """Scalar codes of reduced rows, by their formula."""

    def __init__(self, tldr: TLDR, bits: int, metric: str) -> None:
        arrays = tldr.parameters()
        self.bits, self.metric = bits, metric
        self.centre = arrays["codes.centre"].astype(np.float64)
        self.mean, spread = arrays["codes.lengths"].astype(np.float64)
        cosine = bits > 2 and spread > (0.005 if bits == 8 else 0.05)
        self.stores = cosine if metric == "cosine" else bits > 1
        self.turned = rotated(self.centre[None])[0]

    def levels(self, z: Array) -> tuple[Array, Array]:
        z = unit(z) if self.metric == "cosine" else z
        r = rotated(z - self.centre)
        length = np.linalg.norm(r, axis=1, keepdims=True)
        step = np.abs(r).max(axis=1, keepdims=True) / 128
        if self.bits < 8:
            step = STEP[self.bits] * length / np.sqrt(z.shape[1])
        most = 2**self.bits - 1
        return np.clip(np.floor(r / step) + 2 ** (self.bits - 1), 0, most).astype(np.uint8), length

    def unpacked(self, codes: Array, d: int) -> Array:
        bits = np.unpackbits(codes, axis=1)[:, : d * self.bits].reshape(len(codes), d, self.bits)
        levels: Array = bits @ (1 << np.arange(self.bits)[::-1])
        return levels

    def decoded(self, codes: Array, d: int) -> Array:
        """What codes stand for, turned."""
        n_bytes = -(-d * self.bits // 8)
        u = self.unpacked(codes[:, :n_bytes], d) - (2**self.bits - 1) / 2
        ratio = np.ones((len(codes), 1))
        if self.stores:
            ratio = np.ascontiguousarray(codes[:, n_bytes:]).view(np.float16).astype(np.float64)
        decoded: Array = self.turned + self.mean * ratio * unit(u)
        return decoded


@pytest.fixture(scope="module")
def x() -> Array:
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((12, D))
    lengths = np.exp(0.3 * rng.standard_normal((900, 1)))
    x = lengths * (centres[rng.integers(0, 12, 900)] + 0.6 * rng.standard_normal((900, D)) + 0.4)
    return x.astype(np.float32)


def scores(queries: Array, rows: Array, metric: str) -> Array:
    q, x = queries.astype(np.float64), rows.astype(np.float64)
    products: Array = q @ x.T
    if metric == "cosine":
        products /= np.linalg.norm(x, axis=1)
    if metric == "l2":
        products -= 0.5 * (x**2).sum(1)
    return products


def nearest(queries: Array, rows: Array, k: int, metric: str) -> Array:
    order: Array = np.argsort(-scores(queries, rows, metric), axis=1, kind="stable")
    return order[:, :k]


def assert_nearest(found: Array, queries: Array, rows: Array, metric: str) -> None:
    """The rows found are as near as the nearest, but for rounding."""
    all_scores = scores(queries, rows, metric)
    got = np.take_along_axis(all_scores, found, axis=1)
    want = -np.sort(-all_scores, axis=1)[:, : found.shape[1]]
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(all_scores).max())
    assert all(len(set(row)) == len(row) for row in found.tolist())


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("d", [8, 13])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_and_their_scores_are_those_of_the_formula(
    x: Array, metric: str, d: int, bits: int
) -> None:
    tldr = TLDR(n_components=d, metric=metric, solver="pca").fit(x)
    reference = Reference(tldr, bits, metric)
    codes = tldr.transform(x, bits=bits)
    z = tldr.transform(x).astype(np.float64)
    n_bytes = -(-d * bits // 8) + (2 if reference.stores else 0)
    assert codes.dtype == np.uint8
    assert codes.shape == (900, n_bytes)
    wanted, length = reference.levels(z)
    found = reference.unpacked(codes[:, : -(-d * bits // 8)], d)
    # Numbers at the edge of a step may fall to either side of it.
    assert (found != wanted).mean() < 1e-3
    assert np.abs(found.astype(int) - wanted).max() <= 1
    if reference.stores:
        ratios = np.ascontiguousarray(codes[:, -2:]).view(np.float16).astype(np.float64)
        np.testing.assert_allclose(ratios * reference.mean, length, rtol=2e-3)
    turned = reference.decoded(codes, d)
    decoded = tldr.decode(codes, bits=bits)
    np.testing.assert_allclose(rotated(decoded), turned, atol=1e-4 * np.abs(turned).max())
    found = tldr.search(codes, x[:40], 10, bits=bits)
    assert_nearest(found, rotated(tldr.transform(x[:40])), turned, metric)


def test_product_codes_are_nearest_centres(x: Array) -> None:
    tldr = TLDR(n_components=12, codes="pq:4").fit(x)
    arrays = tldr.parameters()
    rotation, centres = arrays["codes.rotation"], arrays["codes.centres"]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-5)
    assert centres.shape == (256, 12)
    codes = tldr.transform(x, codes=True)
    assert codes.shape == (900, 4)
    turned = unit(tldr.transform(x).astype(np.float64)) @ rotation.T.astype(np.float64)
    for group in range(4):
        own = slice(3 * group, 3 * group + 3)
        distances = ((turned[:, None, own] - centres[None, :, own]) ** 2).sum(2)
        chosen = distances[np.arange(900), codes[:, group]]
        assert (chosen <= distances.min(1) + 1e-6).all()
    about = np.concatenate([centres[codes[:, g], 3 * g : 3 * g + 3] for g in range(4)], axis=1)
    np.testing.assert_allclose(tldr.decode(codes) @ rotation.T, about, atol=1e-5)
    found = tldr.search(codes, x[:50], 5)
    assert_nearest(found, tldr.transform(x[:50]) @ rotation.T, about, "cosine")
    # The candidates of codes, in the order of the rows themselves.
    exact = tldr.search(codes, x[:50], 5, rescore=x, candidates=900)
    np.testing.assert_array_equal(exact, nearest(x[:50], x, 5, "cosine"))


def test_python_and_program_write_and_find_the_same(x: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "q.npy", x[:30])
    fitted = TLDR(n_components=12, codes="pq:4", nested=(8,)).fit(x)
    fitted.save(tmp_path / "m.safetensors")
    model, file = tmp_path / "m.safetensors", tmp_path / "x.npy"
    run("fit", file, "-o", tmp_path / "own.safetensors", "-d", 12, "--codes", "pq:4", "--nested", 8)
    assert (tmp_path / "own.safetensors").read_bytes() == model.read_bytes()
    tldr = TLDR().load(model)
    cases: list[tuple[tuple[object, ...], dict[str, Any]]] = [
        (("--codes",), {"codes": True}),
        (("--bits", 1), {"bits": 1}),
        (("--bits", 4, "--dim", 8), {"bits": 4, "n_components": 8}),
    ]
    for flags, options in cases:
        codes = tldr.transform(x, **options)
        np.testing.assert_array_equal(codes, fitted.transform(x, **options))
        run("transform", model, file, "-o", tmp_path / "c.npy", *flags)
        np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), codes)
        run("transform", model, file, "-o", tmp_path / "c.parquet", *flags)
        for ending in ("npy", "parquet"):
            where = ("search", model, tmp_path / f"c.{ending}", "--queries", tmp_path / "q.npy")
            run(*where, "-o", tmp_path / "f.npy", "-k", 5, *flags)
            found = tldr.search(codes, x[:30], 5, **options)
            np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), found)
            rescored = ("--rescore", file, "--candidates", 50)
            run(*where, "-o", tmp_path / "f.npy", "-k", 5, *flags, *rescored)
            found = tldr.search(codes, x[:30], 5, rescore=x, candidates=50, **options)
            np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), found)


def test_hamming_distances_of_one_bit_find_neighbours(x: Array) -> None:
    tldr = TLDR(n_components=D, solver="pca").fit(x)
    codes = tldr.transform(x, bits=1)
    apart = np.unpackbits(codes[:, None] ^ codes[None], axis=2).sum(2)
    near = np.argsort(apart, axis=1, kind="stable")[:, 1:51]
    want = nearest(x, x, 11, "cosine")[:, 1:]
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(want, near, strict=True)])
    assert kept > 0.5


def test_what_does_not_fit_is_refused(x: Array, tmp_path: Path) -> None:
    tldr = TLDR(n_components=8, solver="pca").fit(x)
    codes = tldr.transform(x, bits=2)

    def said(call: Any) -> str:
        with pytest.raises(TwinlearnError) as error:
            call()
        return str(error.value)

    assert said(lambda: tldr.transform(x, bits=3)) == "bits: expected 1, 2, 4 or 8, got 3"
    assert said(lambda: tldr.transform(x, bits=2, codes=True)).startswith("bits: expected None")
    assert said(lambda: tldr.transform(x, True, bits=2)).startswith("l2_norm: expected False")
    assert said(lambda: tldr.transform(x, codes=True)) == (
        "model: expected one fitted with a product code (codes pq:16, say), got one without "
        "(a product code is of all numbers, not of the first)"
    )
    assert said(lambda: tldr.search(codes, x, 901)) == (
        "k: expected a number from 1 to 900, the codes that there are, got 901"
    )
    assert said(lambda: tldr.search(codes.astype(float), x)).startswith("Z: expected a 2-D")
    # Codes of two kinds may have as many bytes: nothing is guessed.
    both = TLDR(n_components=8, solver="pca", codes="pq:2").fit(x)
    z = both.transform(x, codes=True)
    assert "expected to be told which they are (bits, or codes): sq2 (2), pq:2 (2)" in said(
        lambda: both.search(z, x)
    )
    assert both.search(z, x[:3], 4, codes=True).shape == (3, 4)
    assert both.decode(z, codes=True).shape == (900, 8)
    wrong = said(lambda: tldr.decode(np.zeros((3, 7), np.uint8)))
    assert wrong.startswith("codes: expected codes of the model, of so many bytes: sq1 (1), ")
    assert wrong.endswith("got rows of 7 bytes")
    assert said(lambda: tldr.decode(codes, bits=4)).startswith("codes: expected 6 bytes a row")
    assert said(lambda: tldr.search(codes, x, rescore=x[:5])).startswith("rescore: expected 900")
    assert said(lambda: tldr.search(codes, x, rescore=x, candidates=3)).startswith("candidates:")
    assert said(lambda: TLDR(n_components=8, codes="pq:9").fit(x)) == (
        "codes: expected at most n_components (8) bytes, got pq:9"
    )
    assert said(lambda: TLDR(codes="sq2").fit(x)).startswith("codes: expected pq:M; scalar codes")
    assert said(lambda: TLDR(codes="opq").fit(x)).startswith("codes: expected pq:M, a product code")

    np.save(tmp_path / "x.npy", x)
    tldr.save(tmp_path / "m.safetensors")
    model, file, out = tmp_path / "m.safetensors", tmp_path / "x.npy", tmp_path / "c.npy"
    assert refused("transform", model, file, "-o", out, "--bits", 5).startswith(
        "error: --bits: expected 1, 2, 4 or 8, got 5"
    )
    assert "expected codes" in refused("transform", model, file, "-o", tmp_path / "c.u8bin")
    assert "for codes, got sq2" in refused(
        "transform", model, file, "-o", tmp_path / "c.fbin", "--bits", 2
    )
    assert not list(tmp_path.glob("c*"))
    np.save(out, codes[:, :1])
    search = ("search", model, out, "--queries", file, "-o", tmp_path / "f.npy")
    np.save(out, np.zeros((900, 7), np.uint8))
    assert "got rows of 7 bytes" in refused(*search)
    np.save(out, codes)
    assert refused(*search, "--rescore", tmp_path / "c.npy").startswith("error: ")
    out.write_bytes(out.read_bytes()[:-3])
    assert "c.npy" in refused(*search)
    assert not (tmp_path / "f.npy").exists()


def test_searches_refuse_what_cannot_be_compared() -> None:
    x = np.random.default_rng(5).standard_normal((300, D)).astype(np.float32)
    tldr = TLDR(n_components=8, solver="pca").fit(x)
    codes, queries = tldr.transform(x, bits=4), x[:3].copy()
    queries[1] = 0
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: tldr.search(codes, queries, 3), "queries: expected rows of non-zero length"),
        (lambda: tldr.search(codes, x[:3], 0), "k: expected a number from 1 to 300"),
        (lambda: tldr.search(codes, x[:3], 10**30), "k: expected a whole number from 0 to"),
        (lambda: tldr.search(codes, x[:3], candidates=9), "candidates: expected none without"),
        (
            lambda: tldr.search(codes, x[:3], rescore=x, candidates=301),
            "candidates: expected a number from 10",
        ),
        (lambda: tldr.search(codes, x[:3, :4]), "queries: expected vectors of dimension 24"),
        (lambda: tldr.transform(queries, bits=2), "reduced vectors: expected rows of non-zero"),
    ]
    for call, message in calls:
        with pytest.raises(TwinlearnError, match=message):
            call()


def test_tables_tell_their_codes_to_search(tmp_path: Path) -> None:
    x = np.random.default_rng(6).standard_normal((300, D)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    tldr = TLDR(n_components=8, solver="pca", codes="pq:2").fit(x)
    tldr.save(tmp_path / "m.safetensors")
    TLDR(n_components=8, solver="pca", codes="pq:2").fit(x[:200]).save(tmp_path / "o.safetensors")
    # Two bytes are the product code's, and those of two bits of eight numbers.
    model, codes, found = (tmp_path / n for n in ("m.safetensors", "c.parquet", "found.npy"))
    run("transform", model, tmp_path / "x.npy", "-o", codes, "--codes")
    also = ["--queries", tmp_path / "x.npy", "-o", found]
    run("search", model, codes, *also)
    want = tldr.search(tldr.transform(x, codes=True), x, codes=True)
    assert np.array_equal(np.load(found), want)
    said = refused("search", model, codes, *also, "--bits", "2")
    assert said.endswith("expected sq2 of 8 numbers, got pq:2 of 8 numbers")
    said = refused("search", tmp_path / "o.safetensors", codes, *also)
    assert "expected codes of this model, got those of another" in said
    np.save(tmp_path / "f.npy", np.zeros((300, 2), np.float32))
    said = refused("search", model, tmp_path / "f.npy", *also, "--bits", "2")
    assert said.endswith("expected codes, which are bytes (u8), got f32")
