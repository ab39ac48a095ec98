"""Linear maps with closed forms, in NumPy, for the benchmarks: nothing here is twinlearn's code."""

from __future__ import annotations

import numpy as np
from common import unit
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Moments = NDArray[np.float64]

POWERS = [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
FEW_POWERS = [0.0, 0.25, 0.5]


def second_moment(x: Rows) -> Moments:
    """xᵀx / N in f64, block by block."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), 10_000):
        block = x[start : start + 10_000].astype(np.float64)
        total += block.T @ block
    return total / len(x)


def axes(moment: Moments, d: int) -> tuple[Moments, Moments]:
    """The d leading eigenvectors, one a column, and the square roots of their eigenvalues."""
    values, vectors = np.linalg.eigh(moment)
    values, vectors = values[::-1][:d], vectors[:, ::-1][:, :d]
    # Axes of rounding are not amplified by division.
    return vectors, np.sqrt(np.maximum(values, 1e-6 * values[0]))


class ClosedForms:
    """Maps x ↦ (x − mean) W of one set of rows; judged by cosine, so all for cosine."""

    def __init__(self, x: Rows, neighbours: NDArray[np.int64]) -> None:
        self.dim = x.shape[1]
        self.mean = x.mean(axis=0, dtype=np.float64)
        rows = unit(x)
        raw, s = second_moment(x), second_moment(rows)
        # The covariance of differences within lists of neighbours.
        differences = np.zeros_like(s)
        for rank in range(neighbours.shape[1]):
            differences += second_moment(rows - rows[neighbours[:, rank]])
        differences /= neighbours.shape[1]
        self.moments = {
            "PCA": raw - np.outer(self.mean, self.mean),
            "PCA uncentred": raw,
            "PCA uncentred, unit rows": s,
            "PCA with neighbours": 0.25 * s / np.trace(s)
            + 0.75 * differences / np.trace(differences),
        }

    def maps(self, d: int) -> dict[str, tuple[Rows, Rows]]:
        """By name: W (D × d) and the mean that is taken off first, 0 where none is."""
        out = {}
        for name, moment in self.moments.items():
            vectors, sigma = axes(moment, d)
            mean = self.mean if name == "PCA" else np.zeros(self.dim)
            for power in POWERS if name in ("PCA", "PCA uncentred") else FEW_POWERS:
                map_ = (vectors / sigma**power).astype(np.float32)
                out[f"{name}, γ {power}"] = map_, mean.astype(np.float32)
                if name == "PCA":
                    # Cosines are about the origin, which centring moves.
                    out[f"PCA, no bias, γ {power}"] = map_, np.zeros(self.dim, np.float32)
        return out
