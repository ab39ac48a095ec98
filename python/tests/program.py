"""The program as these tests run it, and columns of vectors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
BINARY = Path(os.environ["TWINLEARN"]).resolve()
# How many rows of data/test_x.npy the tests of files take.
ROWS = 700

Array = NDArray[Any]


def run(*args: object) -> None:
    command = list(map(str, [BINARY, *args]))
    subprocess.run(command, check=True, capture_output=True)


def refused(*args: object) -> str:
    done = subprocess.run([BINARY, *map(str, args)], check=False, capture_output=True, text=True)
    # The plan comes first.
    assert done.returncode == 1 and done.stdout.count("\n") <= 1, done
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done
    return done.stderr.strip()


def reduced(model: Path, rows: Array, folder: Path) -> Array:
    """The reduced vectors by a model of rows from a plain array of their type."""
    np.save(folder / "plain.npy", rows)
    run("transform", model, folder / "plain.npy", "-o", folder / "plain_z.npy")
    z: Array = np.load(folder / "plain_z.npy")
    return z


def fixed(x: Array, kind: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.ravel(), kind), x.shape[1])


def lists(x: Array, kind: Any, of: Any = pa.ListArray) -> Any:
    ends = np.arange(len(x) + 1) * x.shape[1]
    ends = pa.array(ends, pa.int64() if of is pa.LargeListArray else pa.int32())
    return of.from_arrays(ends, pa.array(x.ravel(), kind))


def parquet(column: Any, **options: Any) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        table = pa.table({"id": np.arange(len(column)), "vector": column})
        pq.write_table(table, folder / "x.parquet", row_group_size=150, **options)
        return "x.parquet"

    return write


def ipc(column: Any, compression: str | None, stream: bool) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        table = pa.table({"text": pa.array(["a"] * len(column)), "vector": column})
        options = pa.ipc.IpcWriteOptions(compression=compression)
        name = "x.arrows" if stream else "x.arrow"
        new = pa.ipc.new_stream if stream else pa.ipc.new_file
        with new(folder / name, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=130)
        return name

    return write
