"""What the benchmarks share: the machine's name and Fashion-MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The folder of the Debian package dataset-fashion-mnist.
FASHION = Path("/usr/share/datasets/fashion-mnist")


def machine() -> str:
    """The processor's name and the number of its cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else "unknown"


def fashion_mnist(part: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Images, one a row, and labels of `train` (60,000) or `t10k` (10,000)."""

    def read(name: str, offset: int) -> NDArray[np.uint8]:
        data = gzip.decompress((FASHION / f"{part}-{name}-ubyte.gz").read_bytes())
        return np.frombuffer(data, np.uint8, offset=offset)

    images = read("images-idx3", 16).reshape(-1, 784).astype(np.float32)
    return images, read("labels-idx1", 8)


def unit(x: NDArray[Any]) -> NDArray[np.float32]:
    """Rows at length 1."""
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def quick_kmeans() -> None:
    """Sets FAISS to find the nearest of 256 centres by matrix products, as releases up to 1.12 did.

    By default 1.15 does so from 128,000 rows on, and goes one by one below: k-means in few
    dimensions takes twelve times as long.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = 20
