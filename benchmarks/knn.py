"""Neighbour search beside FAISS, pynndescent and hnswlib.

    python benchmarks/knn.py BINARY WORDNET.npy RESULTS

Needs the Debian package dataset-fashion-mnist and benchmarks/requirements-knn.txt; WORDNET.npy
holds sentence embeddings. All sides use two threads, run in turn in one process after the others'
compilation, and are timed `REPEATS` times; medians are told. Our seconds are those of the whole
command, reading, checks and writing included; the others' begin with the rows in memory.

For cosine the others get rows of length 1. Recall is the share of the exact 10 nearest.
"""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import hnswlib
import numba
import numpy as np
import pynndescent
from big_file import write
from common import fashion_mnist, machine
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]

THREADS = 2
REPEATS = 3
K = 10
LEVELS = {"low": 32, "medium": 16, "high": 8}
PYNNDESCENT_NEIGHBORS = [11, 13, 15, 17, 20]
HNSW_EF = [30, 100]
GROWTH = [25_000, 50_000, 100_000, 200_000, 400_000]


def without_self(ids: Ids) -> Ids:
    """The first K of each row that are not the row itself."""
    keep = ids != np.arange(len(ids))[:, None]
    keep[keep.all(axis=1), -1] = False
    others: Ids = ids[keep].reshape(len(ids), -1)[:, :K]
    return others


def recall(truth: Ids, found: Ids) -> float:
    hits = [len(np.intersect1d(t, f)) for t, f in zip(truth, found, strict=True)]
    return float(np.mean(hits)) / K


class Ours:
    """The command line."""

    def __init__(self, binary: str, x: Path, metric: str, folder: Path) -> None:
        self.args = [binary, "knn", str(x), "-k", str(K), "--metric", metric]
        self.out = folder / "found.npy"

    def __call__(self, *extra: str) -> Ids:
        threads = ["--threads", str(THREADS)]
        command = [*self.args, "-o", str(self.out), *threads, *extra]
        subprocess.run(command, check=True, capture_output=True)
        return np.asarray(np.load(self.out))


def flat(x: Rows) -> Ids:
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    return without_self(index.search(x, K + 1)[1])


def ivfpq(x: Rows, m: int) -> Ids:
    index = faiss.index_factory(x.shape[1], f"IVF1,PQ{m}x8", faiss.METRIC_L2)
    sample = np.random.default_rng(0).choice(len(x), len(x) // 10, replace=False)
    index.train(x[np.sort(sample)])
    index.add(x)
    return without_self(index.search(x, K + 1)[1])


def descent(x: Rows, n_neighbors: int) -> Ids:
    index = pynndescent.NNDescent(x, n_neighbors=n_neighbors, n_jobs=THREADS, random_state=0)
    return without_self(index.neighbor_graph[0].astype(np.int64))


def hnsw(x: Rows, ef: int) -> Ids:
    index = hnswlib.Index(space="l2", dim=x.shape[1])
    index.init_index(len(x), M=16, ef_construction=ef)
    index.set_num_threads(THREADS)
    index.add_items(x)
    index.set_ef(ef)
    return without_self(index.knn_query(x, K + 1)[0].astype(np.int64))


def in_turn(jobs: dict[str, Callable[[], Ids]], truth: str) -> dict[str, dict[str, Any]]:
    """Every job `REPEATS` times, one after the other; `truth` names the one recall is against."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    found: dict[str, Ids] = {}
    for _ in range(REPEATS):
        for name, job in jobs.items():
            start = time.perf_counter()
            found[name] = job()
            seconds[name].append(time.perf_counter() - start)
    out = {}
    for name in jobs:
        middle = statistics.median(seconds[name])
        out[name] = {
            "seconds": round(middle, 3),
            "all_seconds": [round(s, 3) for s in seconds[name]],
            "recall": round(recall(found[truth], found[name]), 4),
        }
    return out | {"found": {name: found[name] for name in ("exact", "FAISS Flat") if name in found}}


def mismatches(x: Rows, ours: Ids, theirs: Ids) -> int:
    """Rows whose sorted distances differ by more than `f32` rounding of the products."""
    wide = x.astype(np.float64)
    scale = float((wide**2).sum(axis=1).max())
    count = 0
    for i in np.flatnonzero((ours != theirs).any(axis=1)):
        a, b = (np.sort(((wide[i] - wide[ids[i]]) ** 2).sum(axis=1)) for ids in (ours, theirs))
        count += bool(np.abs(a - b).max() > 1e-6 * scale)
    return count


def at_recall(runs: list[dict[str, Any]], wanted: float) -> tuple[float, str]:
    """Seconds at a recall, on the line between the two settings around it."""
    runs = sorted(runs, key=lambda run: float(run["recall"]))
    if wanted <= runs[0]["recall"]:
        return runs[0]["seconds"], "its lowest setting finds more"
    for low, high in pairwise(runs):
        if wanted <= high["recall"]:
            share = (wanted - low["recall"]) / (high["recall"] - low["recall"])
            return low["seconds"] + share * (high["seconds"] - low["seconds"]), "interpolated"
    return runs[-1]["seconds"], "its highest setting finds less"


def compare(binary: str, name: str, x: Rows, metric: str, full: bool, folder: Path) -> Any:
    path = folder / "x.npy"
    np.save(path, x)
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    ours = Ours(binary, path, metric, folder)
    jobs: dict[str, Callable[[], Ids]] = {
        "exact": partial(ours, "--method", "exact"),
        "FAISS Flat": partial(flat, x),
    }
    if full:
        jobs["descent"] = partial(ours, "--method", "descent")
        for n in PYNNDESCENT_NEIGHBORS:
            jobs[f"pynndescent {n}"] = partial(descent, x, n)
        for ef in HNSW_EF:
            jobs[f"hnswlib {ef}"] = partial(hnsw, x, ef)
        for level, m in LEVELS.items():
            jobs[f"pq {level}"] = partial(ours, "--approximation", level)
            if x.shape[1] % m == 0:
                jobs[f"FAISS IVF1,PQ{m}"] = partial(ivfpq, x, m)
    runs = in_turn(jobs, "FAISS Flat")
    found = runs.pop("found")
    wrong = mismatches(x, found["exact"], found["FAISS Flat"])
    ratio = runs["FAISS Flat"]["seconds"] / runs["exact"]["seconds"]
    print(f"\n{name} {x.shape[0]} × {x.shape[1]}, {metric}")
    for job, run in runs.items():
        print(f"  {job:<18} {run['seconds']:8.2f} s   recall@{K} {run['recall']:.4f}")
    print(f"  exact is {ratio:.2f} times faster than FAISS Flat; {wrong} mismatched rows")
    out: dict[str, Any] = {
        "rows": len(x),
        "dim": x.shape[1],
        "metric": metric,
        "runs": runs,
        "exact_ratio": round(ratio, 3),
        "mismatched_rows": wrong,
    }
    if full:
        peers = [run for job, run in runs.items() if job.startswith("pynndescent")]
        seconds, how = at_recall(peers, runs["descent"]["recall"])
        out["descent_ratio"] = round(seconds / runs["descent"]["seconds"], 3)
        out["descent_ratio_note"] = how
        print(f"  descent is {out['descent_ratio']} times faster than pynndescent ({how})")
        out["pq_ratios"] = {
            level: round(runs[f"FAISS IVF1,PQ{m}"]["seconds"] / runs[f"pq {level}"]["seconds"], 3)
            for level, m in LEVELS.items()
            if f"FAISS IVF1,PQ{m}" in runs
        }
        print(f"  pq is faster than FAISS's by {out['pq_ratios']}")
    return out


def growth(binary: str, x: Rows, folder: Path) -> dict[str, Any]:
    """Seconds and recall of descent on rows made around those of `x`."""
    print("\ndescent on growing sets")
    runs = []
    for n in GROWTH:
        path = folder / "growth.npy"
        write(x, str(path), n, x.shape[1], "float32")
        ours = Ours(binary, path, "cosine", folder)
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            found = ours("--method", "descent")
            seconds.append(time.perf_counter() - start)
        rows = np.load(path)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        some = np.random.default_rng(1).choice(n, 1000, replace=False)
        index = faiss.IndexFlatL2(rows.shape[1])
        index.add(rows)
        nearest = index.search(rows[some], K + 1)[1]
        truth = np.stack(
            [[j for j in row if j != i][:K] for i, row in zip(some, nearest, strict=True)]
        )
        runs.append(
            {
                "rows": n,
                "seconds": round(statistics.median(seconds), 3),
                "recall": round(recall(truth, found[some]), 4),
            }
        )
        print(f"  {n:>7} rows {runs[-1]['seconds']:8.2f} s   recall@{K} {runs[-1]['recall']:.4f}")
    logs = np.log([[run["rows"], run["seconds"]] for run in runs])
    exponent = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    print(f"  time grows as rows^{exponent:.2f}")
    return {"runs": runs, "exponent": round(exponent, 3)}


def main() -> None:
    binary, wordnet, results = sys.argv[1:]
    faiss.omp_set_num_threads(THREADS)
    numba.set_num_threads(THREADS)
    words = np.load(wordnet).astype(np.float32)
    fashion, _ = fashion_mnist("train")
    noise = np.random.default_rng(0).standard_normal((30_000, 512), dtype=np.float32)
    descent(words[:3000], 11)  # compiles
    packages = ["faiss-cpu", "pynndescent", "hnswlib", "numba", "numpy"]
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = {
            "command": "make bench-knn",
            "machine": machine(),
            "threads": THREADS,
            "versions": {p: importlib.metadata.version(p) for p in packages}
            | {"twinlearn": version.stdout.split()[-1]},
            "sets": {
                "fashion-mnist": compare(binary, "Fashion-MNIST", fashion, "l2", True, folder),
                "wordnet": compare(binary, "WordNet", words, "cosine", True, folder),
                "noise": compare(binary, "white noise", noise, "l2", False, folder),
            },
            "growth": growth(binary, words, folder),
        }
    path = Path(results) / "knn.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
