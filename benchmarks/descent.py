"""NN-descent on sets of many shapes: recall and seconds.

    python benchmarks/descent.py BINARY WORDNET RESULTS [--before BINARY] [--only SET …]

WORDNET is train_x.npy of the sentence embeddings. The sets:

- clusters S %: 60,000 rows of 64 numbers, 240 centres from N(0, 1) and normal noise of S % of that;
- cities: latitude and longitude around 40 centres (of 2M: 400), of standard deviation .1 degrees;
- square: uniform in the unit square; Swiss roll: as scikit-learn's;
- walks: sums of 128 independent normal steps;
- templates: unit vectors of 384 numbers, 500 of them each 100 times, with noise of length .02;
- duplicates: 3000 different rows of 32 numbers, 20 times each;
- Fashion-MNIST (Debian's dataset-fashion-mnist) and WordNet.

recall@10 is of 1000 rows beside exact search, both by the binary itself; a row as near as the tenth
is right too. Seconds are of `twinlearn knn --method descent`, whole. With --before another binary
runs in turn; its figures in results/descent.json stay where it is not given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import fashion_mnist, machine
from numpy.typing import NDArray

Rows = NDArray[np.float32]
K = 10
JUDGED = 1000


def clusters(spread: float) -> Rows:
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.standard_normal((240, 64)), 250, axis=0)
    return (centres + spread * rng.standard_normal(centres.shape)).astype(np.float32)


def cities(n: int, count: int) -> Rows:
    rng = np.random.default_rng(0)
    centres = rng.uniform([-60, -180], [60, 180], (count, 2))[rng.integers(count, size=n)]
    return (centres + 0.1 * rng.standard_normal((n, 2))).astype(np.float32)


def square() -> Rows:
    return np.random.default_rng(0).random((100_000, 2), dtype=np.float32)


def swiss_roll() -> Rows:
    rng = np.random.default_rng(0)
    t = 1.5 * np.pi * (1 + 2 * rng.random(100_000))
    return np.stack([t * np.cos(t), 21 * rng.random(100_000), t * np.sin(t)], 1).astype(np.float32)


def walks() -> Rows:
    steps = np.random.default_rng(0).standard_normal((50_000, 128), dtype=np.float32)
    return np.cumsum(steps, axis=1, dtype=np.float32)


def templates() -> Rows:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((500, 384), dtype=np.float32), 100, axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    noise = rng.standard_normal(rows.shape, dtype=np.float32)
    return rows + np.float32(0.02 / np.sqrt(384)) * noise


def duplicates() -> Rows:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((3000, 32), dtype=np.float32), 20, axis=0)
    return rng.permutation(rows)


def sets(wordnet: str) -> dict[str, tuple[Callable[[], Rows], str]]:
    return {
        **{f"clusters, {s:g} %": (partial(clusters, s / 100), "l2") for s in (10, 3, 1, 0.1)},
        "cities, 60k": (lambda: cities(60_000, 40), "l2"),
        "cities, 200k": (lambda: cities(200_000, 40), "l2"),
        "cities, 2M": (lambda: cities(2_000_000, 400), "l2"),
        "square, 100k": (square, "l2"),
        "Swiss roll, 100k": (swiss_roll, "l2"),
        "walks, 50k": (walks, "l2"),
        "templates, 50k": (templates, "cosine"),
        "duplicates, 60k": (duplicates, "l2"),
        "WordNet, 45k": (lambda: np.load(wordnet), "cosine"),
        "Fashion-MNIST, 60k": (lambda: fashion_mnist("train")[0], "l2"),
    }


class Judge:
    """The distances of some rows to their K-th nearest."""

    def __init__(self, binary: str, x: Rows, folder: str, metric: str) -> None:
        self.x, self.metric = x.astype(np.float64), metric
        if metric == "cosine":
            self.x /= np.linalg.norm(self.x, axis=1, keepdims=True)
        self.rows = np.random.default_rng(1).choice(len(x), JUDGED, replace=False)
        np.save(f"{folder}/q.npy", x[self.rows])
        args = ["x.npy", "--queries", "q.npy", "-k", str(K + 1), "--metric", metric, "-o", "e.npy"]
        subprocess.run([binary, "knn", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        exact = np.load(f"{folder}/e.npy")
        distances = self.distances(exact)
        # The row itself, or one that equals it, is the first.
        self.farthest = np.sort(distances, axis=1)[:, K]

    def distances(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        squares = (self.x[ids] - self.x[self.rows][:, None]) ** 2
        return np.asarray(squares.sum(axis=2))

    def recall(self, graph: NDArray[np.int64]) -> float:
        found = self.distances(graph[self.rows]) <= self.farthest[:, None] * (1 + 1e-12)
        return float(found.mean())


def descend(binary: str, folder: str, metric: str) -> tuple[float, NDArray[np.int64]]:
    args = ["x.npy", "-k", str(K), "--method", "descent", "--metric", metric, "-o", "g.npy"]
    start = time.perf_counter()
    subprocess.run([binary, "knn", *args], cwd=folder, check=True, capture_output=True)
    return round(time.perf_counter() - start, 2), np.load(f"{folder}/g.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("wordnet")
    parser.add_argument("results", type=Path)
    parser.add_argument("--before")
    parser.add_argument("--only", nargs="+", default=[])
    args = parser.parse_args()
    path = args.results / "descent.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sets": {}}
    version = subprocess.run([args.binary, "--version"], check=True, capture_output=True, text=True)
    record["command"] = "make bench-descent BEFORE=…"
    record["machine"] = machine()
    record["versions"] = {"twinlearn": version.stdout.split()[-1], "numpy": np.__version__}
    for name, (make, metric) in sets(args.wordnet).items():
        if args.only and name not in args.only:
            continue
        told = record["sets"].setdefault(name, {})
        x = make()
        told["shape"], told["metric"] = list(x.shape), metric
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", x)
            judge = Judge(args.binary, x, folder, metric)
            for which, binary in (("before", args.before), ("now", args.binary)):
                if binary:
                    seconds, graph = descend(binary, folder, metric)
                    told[which] = {"recall": round(judge.recall(graph), 4), "seconds": seconds}
        print(f"{name:<20} {told}", flush=True)
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
