"""Files that the command line writes, read by other libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from program import Array, fixed, ipc, reduced, refused, run
from safetensors import safe_open


@pytest.mark.parametrize(
    ("output", "dtype"),
    # Not f16 in Arrow files: polars 1 takes the bytes for other numbers, which pyarrow reads right.
    [
        ("z.parquet", "f32"),
        ("z.parquet", "f16"),
        ("z.parquet", "int8"),
        ("z.arrow", "f32"),
        ("z.arrow", "int8"),
    ],
)
def test_polars_reads_what_is_written(
    model: Path, x: Array, tmp_path: Path, output: str, dtype: str
) -> None:
    columns = {"v": fixed(x, pa.float32()), "weight": x[:, 0].astype(np.float64)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    args = ("transform", model, f"{tmp_path}/x.parquet::v", "--dtype", dtype)
    run(*args, "-o", tmp_path / "z.npy")
    run(*args, "-o", tmp_path / output)
    read = pl.read_parquet if output == "z.parquet" else pl.read_ipc
    frame = read(tmp_path / output)
    assert frame.columns == ["weight", "reduced"]
    np.testing.assert_array_equal(frame["weight"].to_numpy(), columns["weight"])
    want = np.load(tmp_path / "z.npy")
    np.testing.assert_array_equal(frame["reduced"].to_numpy(), want)


@pytest.mark.parametrize("output", ["z.parquet", "z.arrow"])
def test_pyarrow_reads_halves(model: Path, x: Array, tmp_path: Path, output: str) -> None:
    np.save(tmp_path / "x.npy", x)
    for name in ("z.npy", output):
        run("transform", model, tmp_path / "x.npy", "--dtype", "f16", "-o", tmp_path / name)
    if output == "z.parquet":
        table = pq.read_table(tmp_path / output)
    else:
        table = pa.ipc.open_file(tmp_path / output).read_all()
    want = np.load(tmp_path / "z.npy")
    halves = table["reduced"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(halves.reshape(want.shape), want)


def test_tables_keep_their_columns(model: Path, x: Array, tmp_path: Path) -> None:
    n = len(x)
    data = pd.DataFrame({"text": [f"row {i}" for i in range(n)], "score": np.arange(n) / 3})
    data["when"] = pd.date_range("2026-01-01", periods=n, freq="h")
    data["kind"] = pd.Categorical(["a", "b"] * (n // 2))
    data.loc[5, "text"] = None
    data["vector"] = list(x)
    data.to_parquet(tmp_path / "x.parquet", row_group_size=100)
    want = reduced(model, x, tmp_path)
    for name in ["z.parquet", "z.arrow"]:
        out = tmp_path / name
        run("transform", model, tmp_path / "x.parquet", "-o", out)
        read = pd.read_parquet if name.endswith("parquet") else pyarrow.feather.read_feather
        z = read(out)
        assert list(z.columns) == ["text", "score", "when", "kind", "reduced"]
        pd.testing.assert_frame_equal(z.drop(columns="reduced"), data.drop(columns="vector"))
        np.testing.assert_array_equal(np.stack(list(z["reduced"])), want)
    run(
        "transform",
        model,
        tmp_path / "x.parquet",
        "-o",
        out,
        "--keep-original",
        "--column",
        "small",
    )
    z = pl.read_ipc(out, memory_map=False)
    assert z.columns[-2:] == ["vector", "small"] and z.schema["small"] == pl.Array(pl.Float32, 8)
    message = refused("transform", model, tmp_path / "x.parquet", "-o", out, "--column", "score")
    assert (
        message == 'error: --column: expected a name that no column has that is kept, got "score"'
    )


def test_arrays_become_tables(model: Path, x: Array, tmp_path: Path) -> None:
    want = reduced(model, x, tmp_path)
    run("transform", model, tmp_path / "plain.npy", "-o", tmp_path / "z.parquet", "--dtype", "f16")
    z = pq.read_table(tmp_path / "z.parquet")
    assert z.schema.field("reduced").type == pa.list_(pa.field("item", pa.float16(), False), 8)
    np.testing.assert_array_equal(np.stack(z["reduced"].to_numpy()), want.astype(np.float16))


@pytest.mark.parametrize("unit", [False, True])
def test_bytes_and_their_ranges(model: Path, x: Array, tmp_path: Path, unit: bool) -> None:
    options = ["--l2-norm"] if unit else []
    np.save(tmp_path / "x.npy", x)
    for name, dtype in [("z.npy", "f32"), ("h.npy", "f16"), ("b.npy", "int8")]:
        run(
            "transform",
            model,
            tmp_path / "x.npy",
            "-o",
            tmp_path / name,
            "--dtype",
            dtype,
            *options,
        )
    z, h, b = (np.load(tmp_path / name) for name in ["z.npy", "h.npy", "b.npy"])
    assert (z.dtype, h.dtype, b.dtype) == (np.float32, np.float16, np.int8)
    np.testing.assert_array_equal(h, z.astype(np.float16))
    prefix = "unit_ranges" if unit else "ranges"
    with safe_open(model, framework="numpy") as f:  # type: ignore[no-untyped-call]
        low, high = (f.get_tensor(f"{prefix}.{end}") for end in ["low", "high"])
    # The documented inverse.
    step = (high - low) / 255
    back = low + (b.astype(np.float32) + 128) * step
    clipped = np.clip(z, low, high)
    assert np.all(np.abs(back - clipped) <= 0.501 * step + 1e-6)
    assert np.mean(clipped != z) < 0.02
    for name in ["b.i8bin", "b.parquet"]:
        out = tmp_path / name
        run("transform", model, tmp_path / "x.npy", "-o", out, "--dtype", "int8", *options)
    bytes_ = np.fromfile(tmp_path / "b.i8bin", np.int8)
    np.testing.assert_array_equal(bytes_[8:].reshape(b.shape), b)
    table = pq.read_table(tmp_path / "b.parquet")
    np.testing.assert_array_equal(np.stack(table["reduced"].to_numpy()), b)
    ranges = json.loads(table.schema.metadata[b"twinlearn"])
    np.testing.assert_allclose(ranges["low"], low, rtol=1e-6)
    np.testing.assert_allclose(ranges["high"], high, rtol=1e-6)


def test_wrong_tables_are_named(model: Path, x: Array, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    out = tmp_path / "z.npy"

    def said(table: dict[str, Any], column: str = "") -> str:
        pq.write_table(pa.table(table), path, row_group_size=100)
        message = refused("transform", model, f"{path}{column}", "-o", out)
        assert not out.exists()
        return message.replace(f"{tmp_path}/", "")

    rows: list[Any] = list(x)
    missing = [*rows[:333], None, *rows[334:]]
    assert said({"v": pa.array(missing, pa.list_(pa.float32()))}) == (
        "error: x.parquet: expected a value in every row of column v, got null in row 333"
    )
    # Which Parquet cannot hold.
    column = pa.array(missing, pa.list_(pa.float32(), x.shape[1]))
    name = ipc(column, None, False)(tmp_path)
    assert refused("transform", model, tmp_path / name, "-o", out).endswith(
        "x.arrow: expected a value in every row of column vector, got null in row 333"
    )
    gap = [list(map(float, row)) for row in x]
    gap[300][7] = None  # type: ignore[call-overload]
    assert said({"v": pa.array(gap, pa.list_(pa.float32()))}) == (
        "error: x.parquet: expected numbers in every row of column v, "
        "got null in row 300, at place 7"
    )
    short = [*rows[:210], rows[210][:100], *rows[211:]]
    assert said({"v": pa.array(short, pa.list_(pa.float32()))}) == (
        "error: x.parquet: expected 384 numbers in every row of column v, got 100 in row 210"
    )
    two = {"a": fixed(x, pa.float32()), "b": fixed(x, pa.float32()), "t": ["x"] * len(x)}
    assert said(two) == (
        "error: x.parquet: expected one column, or its name as in x.parquet::NAME, got a, b"
    )
    assert said(two, "::c") == "error: x.parquet: expected a column named c, got a, b, t"
    assert said(two, "::t") == (
        "error: x.parquet: expected numbers or lists of numbers in column t, got text"
    )
