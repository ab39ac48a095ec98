"""Files that other libraries write, read by the command line; and files it writes, read by them."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from program import BINARY, ROOT, ROWS, Array, fixed, ipc, lists, parquet, reduced, refused, run
from safetensors.numpy import save_file


def saved(**members: Array) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        np.savez(folder / "x.npz", **members)  # type: ignore[arg-type]
        return "x.npz::x"

    return write


def packed(**members: Array) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        np.savez_compressed(folder / "x.npz", **members)  # type: ignore[arg-type]
        return "x.npz::x"

    return write


def array(rows: Array) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        np.save(folder / "x.npy", rows)
        return "x.npy"

    return write


def tensors(rows: Array) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        save_file({"x": rows, "y": np.arange(3)}, folder / "x.safetensors")
        return "x.safetensors::x"

    return write


def frame(folder: Path, rows: Array) -> str:
    """As polars writes it."""
    pl.DataFrame(
        {"vector": rows}, schema={"vector": pl.Array(pl.Float32, rows.shape[1])}
    ).write_parquet(folder / "x.parquet")
    return "x.parquet"


CASES: dict[str, tuple[type, Callable[[Array], Callable[[Path], str]]]] = {
    "fixed parquet f32": (np.float32, lambda x: parquet(fixed(x, pa.float32()))),
    "fixed parquet f64": (
        np.float64,
        lambda x: parquet(fixed(x, pa.float64()), compression="zstd"),
    ),
    "fixed parquet f16": (
        np.float16,
        lambda x: parquet(fixed(x, pa.float16()), compression="gzip"),
    ),
    "list parquet": (np.float32, lambda x: parquet(lists(x, pa.float32()), compression="brotli")),
    "large list parquet": (
        np.float64,
        lambda x: parquet(lists(x, pa.float64(), pa.LargeListArray), compression="lz4"),
    ),
    "sliced parquet": (
        np.float32,
        lambda x: parquet(fixed(np.vstack([x[:9], x]), pa.float32()).slice(9)),
    ),
    "plain parquet": (
        np.float32,
        lambda x: parquet(lists(x, pa.float32()), use_dictionary=False, data_page_version="2.0"),
    ),
    "polars": (np.float32, lambda x: lambda folder: frame(folder, x)),
    "arrow": (np.float32, lambda x: ipc(fixed(x, pa.float32()), None, False)),
    "arrow lz4": (np.float16, lambda x: ipc(fixed(x, pa.float16()), "lz4", False)),
    "arrow zstd": (np.float64, lambda x: ipc(lists(x, pa.float64()), "zstd", False)),
    "arrow sliced": (
        np.float32,
        lambda x: ipc(lists(np.vstack([x[:3], x]), pa.float32())[3:], None, False),
    ),
    "arrow stream": (np.float32, lambda x: ipc(lists(x, pa.float32()), None, True)),
    "arrow stream zstd": (np.float32, lambda x: ipc(fixed(x, pa.float32()), "zstd", True)),
    "npz": (np.float32, lambda x: saved(x=x, y=x[:2])),
    "npz f16": (np.float16, lambda x: saved(x=x)),
    "npz compressed": (np.float64, lambda x: packed(x=x, y=np.arange(9))),
    "fortran": (np.float32, lambda x: array(np.asfortranarray(x))),
    "fortran npz": (np.float64, lambda x: saved(x=np.asfortranarray(x))),
    "safetensors": (np.float16, tensors),
}


@pytest.mark.parametrize("case", CASES)
def test_files_of_other_libraries(model: Path, x: Array, tmp_path: Path, case: str) -> None:
    dtype, make = CASES[case]
    rows: Array = x.astype(dtype)
    name = make(rows)(tmp_path)
    run("transform", model, tmp_path / name, "-o", tmp_path / "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), reduced(model, rows, tmp_path))
    # What needs rows in any order holds them, or puts them in order on the disk.
    found = []
    for options in [(), ("--memory", "101M")]:
        out = tmp_path / "knn.npy"
        run("knn", tmp_path / name, "-k", 3, "-o", out, *options)
        found.append(np.load(out))
    np.testing.assert_array_equal(*found)


def test_a_folder_of_parquet(model: Path, x: Array, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for i, part in enumerate(np.array_split(x, 3)):
        column = {"vector": fixed(part, pa.float32()), "id": np.arange(len(part)) + 1000 * i}
        pq.write_table(pa.table(column), shards / f"part-{i}.parquet")
    run("transform", model, shards, "-o", tmp_path / "z.npy")
    want = reduced(model, x, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), want)
    run("transform", model, f"{shards}::vector", "-o", tmp_path / "z.parquet")
    table = pq.read_table(tmp_path / "z.parquet")
    assert table.column_names == ["id", "reduced"]
    np.testing.assert_array_equal(np.stack(table["reduced"].to_numpy()), want)
    assert table["id"].to_pylist()[-1] == 2000 + len(np.array_split(x, 3)[2]) - 1


def test_members_of_columns_and_views(model: Path, x: Array, tmp_path: Path) -> None:
    want = reduced(model, x, tmp_path)
    parts = [lists(x, pa.float32()), pa.array(np.arange(len(x)))]
    inner = pa.StructArray.from_arrays(parts, names=["emb", "page"])
    document = pa.StructArray.from_arrays([inner, pa.array(["t"] * len(x))], names=["doc", "text"])
    table = pa.table({"id": np.arange(len(x)), "row": document})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=100)
    pa.feather.write_feather(table, tmp_path / "x.arrow", compression="uncompressed")
    for name in ["x.parquet", "x.arrow", "x.parquet::row.doc.emb"]:
        run("transform", model, tmp_path / name, "-o", tmp_path / "z.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), want)
    # The struct stays: it holds more than the vectors.
    run("transform", model, path, "-o", tmp_path / "z.parquet")
    assert pq.read_table(tmp_path / "z.parquet").column_names == ["id", "row", "reduced"]
    assert refused("transform", model, f"{path}::row.doc.text", "-o", tmp_path / "z.npy").endswith(
        "expected a column named row.doc.text, got id, row.doc.emb, row.doc.page, row.text"
    )

    holes = pa.array([None if row == 5 else {"emb": v} for row, v in enumerate(x)])
    pq.write_table(pa.table({"doc": holes}), path)
    assert refused("transform", model, path, "-o", tmp_path / "z.npy").endswith(
        "expected a value in every row of column doc.emb, got null in row 5"
    )

    # Views may lie in any order, and twice.
    values = pa.array(x[::-1].ravel())
    starts = np.arange(len(x))[::-1] * x.shape[1]
    sizes = np.full(len(x), x.shape[1])
    for kind, integer in [(pa.ListViewArray, np.int32), (pa.LargeListViewArray, np.int64)]:
        views = kind.from_arrays(starts.astype(integer), sizes.astype(integer), values)
        run(
            "transform",
            model,
            tmp_path / ipc(views, None, False)(tmp_path),
            "-o",
            tmp_path / "z.npy",
        )
        np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), want)


def test_batches_of_arrow_files_are_read_piece_by_piece(
    model: Path, x: Array, tmp_path: Path
) -> None:
    n = len(x)
    words = pa.array([f"word {i}" for i in range(n)])
    tags = [["a", "b"][: i % 3] or None for i in range(n)]
    before: dict[str, Any] = {
        "text": words,
        "kind": words.dictionary_encode(),
        "tags": pa.array(tags),
        "views": pa.array(tags, pa.list_view(pa.string())),
        "pairs": pa.array([[("k", i)] for i in range(n)], pa.map_(pa.string(), pa.int64())),
        "two": pa.array([[1.0, 2.0]] * n, pa.list_(pa.float64(), 2)),
        "member": pa.array([{"a": i, "b": None} for i in range(n)]),
        "flag": pa.array([True, None] * (n // 2)),
        "none": pa.nulls(n),
        "when": pa.array([None, 5] * (n // 2), pa.timestamp("us")),
    }
    # Columns whose buffers are not known beforehand take a decoder.
    others = {"string_views": words.cast(pa.string_view())}
    want = reduced(model, x, tmp_path)
    for rows in [lists(x, pa.float32(), pa.LargeListArray), lists(x, pa.float32())]:
        for columns in [before, {**before, **others}]:
            table = pa.table({**columns, "vector": rows})
            with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
                writer.write_table(table.slice(0, 400))
                # Lists that begin in the middle of their numbers, and a batch of none.
                writer.write_table(table.slice(400, 0))
                writer.write_table(table.slice(400))
            place = f"{tmp_path / 'x.arrow'}::vector"
            run("transform", model, place, "-o", tmp_path / "z.npy")
            np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), want)

    def short(row: int) -> Any:
        rows = [list(map(float, vector)) for vector in x]
        del rows[row][-1]
        return pa.array(rows, pa.list_(pa.float32()))

    name = ipc(short(333), None, False)(tmp_path)
    said = refused("transform", model, tmp_path / name, "-o", tmp_path / "z.npy")
    expected = f"expected {x.shape[1]} numbers in every row of column vector"
    assert said.endswith(f"{expected}, got {x.shape[1] - 1} in row 333")


def test_streams_whose_dictionaries_change(model: Path, x: Array, tmp_path: Path) -> None:
    rows = lists(x, pa.float32())
    words = [f"{word} of {i // 100}" for i, word in enumerate(["q", "r"] * (len(x) // 2))]
    parts = [
        pa.record_batch(
            {
                "word": pa.array(words[i : i + 100]).dictionary_encode(),
                "vector": rows[i : i + 100],
            }
        )
        for i in range(0, len(x), 100)
    ]
    with pa.ipc.new_stream(tmp_path / "x.arrows", parts[0].schema) as writer:
        for part in parts:
            writer.write_batch(part)
    run("transform", model, tmp_path / "x.arrows", "-o", tmp_path / "z.parquet")
    table = pq.read_table(tmp_path / "z.parquet")
    assert table["word"].to_pylist() == words
    want = reduced(model, x, tmp_path)
    np.testing.assert_array_equal(np.stack(table["reduced"].to_numpy()), want)
    # Files have one dictionary for all of their batches.
    said = refused("transform", model, tmp_path / "x.arrows", "-o", tmp_path / "z.arrow")
    assert "z.arrow" in said and "ictionary" in said
    assert not (tmp_path / "z.arrow").exists()


def test_what_arrow_has_and_others_have_not(model: Path, x: Array, tmp_path: Path) -> None:
    union = pa.UnionArray.from_sparse(
        pa.array([0, 1] * (len(x) // 2), pa.int8()),
        [pa.array(range(len(x))), pa.array(["a"] * len(x))],
    )
    table = pa.table({"either": union, "vector": lists(x, pa.float32())})
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    said = refused("transform", model, tmp_path / "x.arrow", "-o", tmp_path / "z.parquet")
    assert said.endswith(
        "z.parquet: expected columns that Parquet has a type for, got column either of unions"
    )
    run("transform", model, tmp_path / "x.arrow", "-o", tmp_path / "z.arrow")
    kept = pa.ipc.open_file(tmp_path / "z.arrow").read_all()
    assert kept["either"].to_pylist() == table["either"].to_pylist()


def test_a_large_batch_takes_no_more_than_the_memory_there_may_be(x: Array, tmp_path: Path) -> None:
    rows = np.tile(x, (110, 1))
    rows += np.random.default_rng(0).standard_normal(rows.shape, np.float32) * 0.01
    table = pa.table({"text": pa.array(["t"] * len(rows)), "vector": lists(rows, pa.float32())})
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    bound = 80_000_000
    assert rows.nbytes > 1.4 * bound
    np.save(tmp_path / "q.npy", x[:50])
    search: list[str | Path] = [
        BINARY,
        "knn",
        "x.arrow",
        "--queries",
        "q.npy",
        "-o",
        "k.npy",
        "-k",
        "5",
    ]
    search += ["--memory", str(bound), "--threads", "2"]
    subprocess.run(
        search,
        check=True,
        capture_output=True,
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (bound, bound)),
    )
    np.save(tmp_path / "x.npy", rows)
    run(
        "knn",
        tmp_path / "x.npy",
        "--queries",
        tmp_path / "q.npy",
        "-o",
        tmp_path / "f.npy",
        "-k",
        5,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "k.npy"), np.load(tmp_path / "f.npy"))


def test_what_is_no_vector_is_told_with_what_it_is(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    columns = {
        "json": pa.array(["[1, 2]", "[3, 4]"]),
        "bytes": pa.array([b"1234", b"5678"]),
        "lists": pa.array([[[1.0], [2.0]], [[3.0], [4.0]]]),
    }
    pq.write_table(pa.table(columns), path)
    said = refused("transform", model, path, "-o", tmp_path / "z.npy")
    assert (
        "expected a column of numbers or of lists of numbers, got json (text), bytes (bytes)"
        in said
    )
    assert "lists (List(" in said


def test_parts_without_rows_are_passed_over(model: Path, x: Array, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for i, part in enumerate([x[:0], x[:300], x[:0], x[300:], x[:0]]):
        pq.write_table(pa.table({"v": lists(part, pa.float32())}), shards / f"part-{i}.parquet")
    # As pandas writes a frame without a row.
    pq.write_table(pa.table({"v": pa.array([], pa.null())}), shards / "part-5.parquet")
    (shards / "_SUCCESS").touch()
    run("transform", model, shards, "-o", tmp_path / "z.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), reduced(model, x, tmp_path))


def test_labels_and_graphs_come_from_any_file(x: Array, tmp_path: Path) -> None:
    labels = np.load(ROOT / "data/test_y.npy")[:ROWS]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    table = pa.table({"vector": fixed(x, pa.float32()), "label": labels})
    pq.write_table(table, tmp_path / "x.parquet")
    out = [tmp_path / "a.json", tmp_path / "b.json"]
    common = ["--no-baselines", "--json"]
    for original, y, to in [
        ("x.npy", "y.npy", out[0]),
        ("x.parquet::vector", "x.parquet::label", out[1]),
    ]:
        run("eval", "--original", tmp_path / original, "--reduced", tmp_path / "x.npy",
            "--labels", tmp_path / y, *common, to)  # fmt: skip
    assert out[0].read_text() == out[1].read_text()

    run("knn", tmp_path / "x.npy", "-k", 5, "-o", tmp_path / "g.npy")
    graph = np.load(tmp_path / "g.npy").astype(np.int32)
    rows = np.hstack([np.full((ROWS, 1), 5, np.int32), graph])
    rows.tofile(tmp_path / "g.ivecs")
    models = []
    for g in ["g.npy", "g.ivecs"]:
        run(
            "fit",
            tmp_path / "x.npy",
            "--knn",
            tmp_path / g,
            "-o",
            tmp_path / "m",
            "-d",
            4,
            "--epochs",
            2,
        )
        models.append((tmp_path / "m").read_bytes())
    assert models[0] == models[1]


def test_a_sample_is_the_same_from_every_file(x: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "x.npz", x=x)
    models = []
    for name in ["x.npy", "x.npz"]:
        run("fit", tmp_path / name, "--fit-rows", 200, "-o", tmp_path / "m", "-d", 4, "--epochs", 2)
        models.append((tmp_path / "m").read_bytes())
    assert models[0] == models[1]
    assert b'\\"n_rows\\":200' in models[0]
