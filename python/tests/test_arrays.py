"""What goes in as vectors: every kind gives what float32 gives, and most are not copied."""

from __future__ import annotations

import importlib.util
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import twinlearn
from sklearn.neighbors import NearestNeighbors
from twinlearn import TLDR, TwinlearnError
from twinlearn._arrays import rows

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def x() -> Any:
    """Whole numbers that every type holds."""
    vectors = np.load(DATA / "train_x.npy")[:400, :24].astype(np.float32)
    return np.rint(vectors * 300).clip(-100, 100)


@pytest.fixture(scope="module")
def fitted(x: Any) -> TLDR:
    return TLDR(n_components=4, loss="KL", epochs=2, metric="l2").fit(x)


def strided(x: Any) -> Any:
    wide = np.zeros((x.shape[0] * 2, x.shape[1] * 3), dtype=x.dtype)
    wide[::2, ::3] = x
    return wide[::2, ::3]


def sliced_arrow(x: Any) -> Any:
    twice = np.concatenate([x, x])
    return pa.FixedSizeListArray.from_arrays(twice.ravel(), x.shape[1])[len(x) :]


KINDS: dict[str, Any] = {
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "longdouble": lambda x: x.astype(np.longdouble),
    "int8": lambda x: x.astype(np.int8),
    "int64": lambda x: x.astype(np.int64),
    "uint8": lambda x: x.astype(np.int8).view(np.uint8).view(np.int8),
    "object": lambda x: x.astype(object),
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran": np.asfortranarray,
    "strided": strided,
    "backwards": lambda x: x[::-1].copy()[::-1],
    "lists": lambda x: x.tolist(),
    "pandas": pd.DataFrame,
    "pandas column": lambda x: pd.Series(list(x)),
    "pandas arrow column": lambda x: pd.Series(
        pa.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1]),
        dtype=pd.ArrowDtype(pa.list_(pa.float32(), x.shape[1])),
    ),
    "polars": lambda x: pl.DataFrame(x),
    "polars column": lambda x: pl.Series(x, dtype=pl.Array(pl.Float32, x.shape[1])),
    "polars lists": lambda x: pl.Series(x.tolist()),
    "arrow column": lambda x: pa.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1]),
    "arrow slice": sliced_arrow,
    "pandas frame of a column": lambda x: pd.DataFrame({"v": list(x)}),
    "polars frame of a column": lambda x: pl.DataFrame({"v": x.tolist()}),
    "polars lazy frame": lambda x: pl.LazyFrame({"v": x.tolist()}),
    "polars lazy numbers": lambda x: pl.LazyFrame(x),
    "arrow table of a column": lambda x: pa.table({"v": pa.array(x.tolist())}),
    "arrow tensors": pa.FixedShapeTensorArray.from_numpy_ndarray,
    "arrow lists": lambda x: pa.array(x.tolist()),
    "arrow chunks": lambda x: pa.chunked_array(
        [pa.FixedSizeListArray.from_arrays(x[a : a + 150].ravel(), 24) for a in (0, 150, 300)]
    ),
}


@pytest.mark.filterwarnings("ignore:X .* feature names")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same(kind: str, x: Any, fitted: TLDR) -> None:
    other = KINDS[kind](x)
    assert (fitted.transform(other) == fitted.transform(x)).all()
    again = TLDR(n_components=4, loss="KL", epochs=2, metric="l2").fit(other)
    assert (again.transform(x) == fitted.transform(x)).all()


def test_bools_are_zeros_and_ones(x: Any, fitted: TLDR) -> None:
    assert (fitted.transform(x > 0) == fitted.transform((x > 0).astype(np.float32))).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_arrays_in_c_order_are_borrowed(dtype: type, x: Any, tmp_path: Path) -> None:
    array: Any = x.astype(dtype)
    assert rows(array) is array or np.shares_memory(rows(array), array)
    array.setflags(write=False)
    assert np.shares_memory(rows(array), array)
    np.save(tmp_path / "x.npy", array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(rows(mapped), mapped)
    column = pa.FixedSizeListArray.from_arrays(array.ravel(), 24)
    assert np.shares_memory(rows(column), column.flatten().to_numpy())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_no_copy_is_made_on_the_way(dtype: type) -> None:
    rng = np.random.default_rng(0)
    array: Any = (rng.standard_normal((20_000, 64)) * 100).astype(dtype)
    graph = rng.integers(0, 20_000, (20_000, 5))
    tldr = TLDR(n_components=4, loss="KL", epochs=1, warmup_epochs=0)
    tracemalloc.start()
    tldr.fit(array, knn_graph=graph)
    # The graph is given back; a float32 copy of the vectors alone would be 5 MB.
    peak = tracemalloc.get_traced_memory()[1] - graph.nbytes
    tracemalloc.stop()
    assert peak < array.nbytes / 4


def test_a_tensor_in_is_a_tensor_out(x: Any, fitted: TLDR, monkeypatch: Any) -> None:
    assert "torch" not in sys.modules

    class Tensor:
        """As much of a torch tensor as we use."""

        def __init__(self, array: Any, device: str = "cpu", dtype: str = "torch.float32") -> None:
            self.array, self.device = array, types.SimpleNamespace(type=device)
            self.dtype = dtype

        def detach(self) -> Tensor:
            return self

        def float(self) -> Tensor:
            return Tensor(self.array)

        def numpy(self) -> Any:
            assert self.dtype == "torch.float32"
            return self.array

    torch: Any = types.ModuleType("torch")
    torch.Tensor, torch.from_numpy = Tensor, Tensor
    monkeypatch.setitem(sys.modules, "torch", torch)
    z = fitted.transform(Tensor(x))
    assert isinstance(z, Tensor) and (z.numpy() == fitted.transform(x)).all()
    assert isinstance(fitted.transform(Tensor(x, dtype="torch.bfloat16")), Tensor)
    assert isinstance(fitted.transform(x), np.ndarray)
    with pytest.raises(TwinlearnError, match="X: expected a tensor on the cpu"):
        fitted.transform(Tensor(x, "cuda:0"))


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda x: scipy.sparse.csr_matrix(x), TypeError, "dense data is required"),
    (lambda x: x.astype(complex), ValueError, "Complex data not supported"),
    (lambda x: x[0], ValueError, "Expected 2D array, got 1D array"),
    (lambda x: x[:, :7], ValueError, "X has 7 features, but TLDR is expecting 24"),
    (lambda x: x.astype(str).astype(object) + "?", ValueError, "could not convert string"),
    (lambda x: np.where(x == x[5, 3], np.nan, x), TwinlearnError, "finite numbers, got NaN in row"),
    (
        lambda x: x.astype(np.float64) * 1e300,
        TwinlearnError,
        r"finite numbers in the range of f32 \(3.4e38\), got -inf in row",
    ),
    (lambda x: pa.array([[1.0], None]), TwinlearnError, "a vector in every row, got none in row 1"),
    (lambda x: pa.array([[1.0], [None]]), TwinlearnError, "expected numbers, got a null in row 1"),
    (lambda x: pa.array([[1.0, 2.0], [1.0]]), TwinlearnError, r"one length \(2\), got 1 in row 1"),
    (lambda x: pa.array([1.0, 2.0]), TwinlearnError, "a column of lists of numbers, got one of"),
    (lambda x: pd.Series([[1.0, 2.0], [1.0]]), TwinlearnError, r"got shape \(1,\) in row 1"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_what_is_wrong_is_said(
    change: Any, error: type[Exception], message: str, x: Any, fitted: TLDR
) -> None:
    with pytest.raises(error, match=message) as caught:
        fitted.transform(change(x))
    assert "\n" not in str(caught.value) or error is not TwinlearnError


def test_functions_take_the_same(x: Any) -> None:
    want = twinlearn.knn_graph(x, k=3, metric="l2")
    for kind in ("float16", "polars", "arrow column", "strided"):
        assert (twinlearn.knn_graph(KINDS[kind](x), k=3, metric="l2") == want).all()
        weight, bias = twinlearn.pca(KINDS[kind](x), 2)
        assert weight.shape == (2, 24) and bias.shape == (2,)


def test_a_frame_with_vectors_among_other_columns_says_which_to_pass(x: Any) -> None:
    pandas = pd.DataFrame({"id": range(400), "emb": list(x)})
    tables = [pandas, pl.DataFrame({"id": range(400), "emb": x.tolist()})]
    for frame in tables:
        with pytest.raises(TwinlearnError, match=r"2 columns, of which 'emb' holds vectors"):
            TLDR(n_components=4).fit(frame)


def test_polars_needs_no_arrow(x: Any, fitted: TLDR, monkeypatch: Any) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name)
    )
    for column in (pl.Series(x.tolist()), KINDS["polars column"](x)):
        assert (fitted.transform(column) == fitted.transform(x)).all()
    with pytest.raises(TwinlearnError, match="got none in row 1"):
        fitted.transform(pl.Series([[1.0], None]))


def test_graphs_as_other_libraries_give_them(x: Any) -> None:
    search = NearestNeighbors(n_neighbors=6).fit(x)
    distances, neighbors = search.kneighbors()
    sparse = search.kneighbors_graph(mode="distance")
    plain = TLDR(n_components=4, n_neighbors=6, metric="l2", epochs=1)
    wanted = plain.fit(x, knn_graph=neighbors).transform(x)
    for graph in [(distances, neighbors), (neighbors, distances), sparse, sparse.tocoo()]:
        assert (plain.fit(x, knn_graph=graph).transform(x) == wanted).all()


def test_a_generator_is_a_random_state(x: Any) -> None:
    def fit(state: Any) -> Any:
        return TLDR(n_components=4, epochs=1, random_state=state).fit(x).transform(x)

    one, same, other = (fit(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_masked_cells_are_missing(x: Any, fitted: TLDR) -> None:
    masked = np.ma.asarray(x.copy())  # type: ignore[no-untyped-call]
    assert (fitted.transform(masked) == fitted.transform(x)).all(), "nothing is masked"
    masked[7, 3] = np.ma.masked
    graph = np.ma.asarray(np.arange(1, 5) + np.zeros((len(x), 1), int))  # type: ignore[no-untyped-call]
    graph[3, 2] = np.ma.masked
    for given in [graph, list(graph)]:
        with pytest.raises(TwinlearnError, match="knn_graph: expected a neighbour in every place"):
            TLDR(n_components=4, n_neighbors=4).fit(x, knn_graph=given)
    for missing in [masked, masked.astype(np.int32)]:
        with pytest.raises(TwinlearnError, match="got NaN in row 7, column 3"):
            TLDR(n_components=4).fit(missing)
