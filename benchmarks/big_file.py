"""A file of vectors of any size, from real rows.

Each row lies between two rows of the given set, near the first, is turned to the dimension asked
for by a random matrix, and has noise of a tenth of its length added: so it has the spectrum and
the neighbourhoods of real embeddings, and no row occurs twice.

    big_file.py X.npy out.npy --rows 520000 --dim 2048 [--dtype float32]
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

# Rows made at once.
BLOCK = 8192


def write(x: NDArray[np.float32], path: str, rows: int, dim: int, dtype: str = "float16") -> None:
    """Writes `rows` × `dim` values around the rows of `x`."""
    rng = np.random.default_rng(0)
    turn = rng.standard_normal((x.shape[1], dim), dtype=np.float32) / dim**0.5
    out = open_memmap(path, mode="w+", dtype=dtype, shape=(rows, dim))  # type: ignore[no-untyped-call]
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        a, b = x[rng.integers(len(x), size=n)], x[rng.integers(len(x), size=n)]
        block = (a + 0.3 * rng.random((n, 1), dtype=np.float32) * (b - a)) @ turn
        length = np.linalg.norm(block, axis=1, keepdims=True)
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        out[start : start + n] = block + 0.1 * length / dim**0.5 * noise
    out.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("x")
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--dim", type=int, required=True)
    parser.add_argument("--dtype", default="float16")
    args = parser.parse_args()
    write(np.load(args.x).astype(np.float32), args.out, args.rows, args.dim, args.dtype)


if __name__ == "__main__":
    main()
