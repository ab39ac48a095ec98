"""Training for the queries one has: recall of queries that no method has seen.

    python benchmarks/queries.py BINARY WORDNET_FOLDER RESULTS

The queries of WORDNET_FOLDER (see `quality.py`) are split in half by a seed: methods that know
queries are fitted on train_x.npy and one half, all are judged by the other. Told are recall@10 of
those queries' nearest rows, recall@10 of test rows, and nDCG@10 of those queries.

LeanVec (Tepper et al., arXiv 2312.16335) has two closed forms, written here from the paper's
problem, min E (q·x − Aq·Bx)² over maps A of queries and B of rows, with K = E[qqᵀ], S = E[xxᵀ]:

- one map for both: the axes of βK/tr K + (1 − β)S/tr S, with the β of 0, 0.05, …, 1 that has the
  smallest loss;
- two maps: with UΣVᵀ the leading part of K^½ S^½, A = UᵀK^-½ and B = ΣVᵀS^-½. Rows are then ranked
  by inner product, which is what this form keeps; by cosine it is told too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from closed_forms import ClosedForms, Moments, axes, second_moment
from common import machine
from judge import Ids, Reduce, Rows, Scores, WordNet, mean_scores, means, paired

DIMENSIONS = [32, 64]
SEEDS = 3
SHARES = ["0.25", "0.5"]


class Halves(WordNet):
    """Half of the queries to fit on, `train_queries`; the other to judge by, `queries`."""

    def __init__(self, binary: str, source: Path, folder: Path) -> None:
        super().__init__(binary, source, folder)
        order = np.random.default_rng(0).permutation(len(self.arrays["queries"]))
        known, unseen = np.array_split(order, 2)
        number = {int(query): i for i, query in enumerate(unseen)}
        self.relevant = {number[q]: rows for q, rows in self.relevant.items() if q in number}
        queries = self.arrays["queries"]
        self.arrays |= {"train_queries": queries[known], "queries": queries[unseen]}
        np.save(folder / "train_queries.npy", self.arrays["train_queries"])
        np.save(folder / "queries.npy", self.arrays["queries"])
        self.truth["queries"] = self.nearest(self.arrays["train"], self.arrays["queries"])


def root(moment: Moments, power: float) -> Moments:
    values, vectors = np.linalg.eigh(moment)
    values = np.maximum(values, 1e-12 * values[-1])
    return np.asarray((vectors * values**power) @ vectors.T)


def one_map(queries: Moments, rows: Moments, d: int) -> tuple[float, Moments]:
    """β and the axes, one a column."""

    def loss(map_: Moments) -> float:
        left = np.eye(len(rows)) - map_ @ map_.T
        return float(np.trace(left @ queries @ left @ rows))

    scaled = queries / np.trace(queries), rows / np.trace(rows)
    found = []
    for beta in np.linspace(0, 1, 21):
        map_ = axes(beta * scaled[0] + (1 - beta) * scaled[1], d)[0]
        found.append((loss(map_), float(beta), map_))
    _, beta, map_ = min(found, key=lambda candidate: candidate[0])
    return beta, map_


def two_maps(queries: Moments, rows: Moments, d: int) -> tuple[Moments, Moments]:
    """A and B, transposed: D × d."""
    u, sigma, vt = np.linalg.svd(root(queries, 0.5) @ root(rows, 0.5))
    a = root(queries, -0.5) @ u[:, :d]
    b = root(rows, -0.5) @ (vt[:d].T * sigma[:d])
    return np.asarray(a), np.asarray(b)


def two(data: Halves, a: Moments, b: Moments, cosine: bool) -> Reduce:
    """Inner products become cosines with one number more, which fills rows up to one length."""

    def reduce(key: str) -> Rows:
        z = np.asarray(data.arrays[key] @ (b if key == "train" else a), np.float64)
        if not cosine:
            longest = np.linalg.norm(data.arrays["train"] @ b, axis=1).max()
            squares = longest**2 - (z * z).sum(axis=1)
            filled = np.sqrt(np.maximum(squares, 0)) if key == "train" else np.zeros(len(z))
            z = np.column_stack([z, filled])
        return z.astype(np.float32)

    return reduce


def measure(data: Halves, forms: ClosedForms, d: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    scores: dict[str, dict[str, Scores]] = {}

    def put(name: str, runs: list[Callable[[], Reduce]], **more: Any) -> None:
        scores[name] = mean_scores([data.scores(run()) for run in runs])
        told[name] = {**means(scores[name]), **more}
        print(f"  d = {d:<4} {name:<34} {told[name]}", flush=True)

    for name, (weight, mean) in forms.maps(d).items():
        put(name, [lambda weight=weight, mean=mean: data.linear(weight, mean)])  # type: ignore[misc]
    key = "recall of queries"
    best = max(scores, key=lambda name: scores[name][key].mean())
    told = {"the best PCA for queries": {**told[best], "form": best}}
    scores["the best PCA for queries"] = scores[best]
    queries, rows = (second_moment(data.arrays[name]) for name in ("train_queries", "train"))
    beta, map_ = one_map(queries, rows, d)
    weight = map_.astype(np.float32)
    nowhere = np.zeros(len(weight), np.float32)
    put("LeanVec, one map", [lambda: data.linear(weight, nowhere)], beta=beta)
    a, b = two_maps(queries, rows, d)
    put("LeanVec, two maps, inner product", [lambda: two(data, a, b, False)])
    put("LeanVec, two maps, cosine", [lambda: two(data, a, b, True)])

    def fits(extra: list[str]) -> list[Callable[[], Reduce]]:
        def run(seed: int) -> Callable[[], Reduce]:
            return lambda: data.fit(d, [*extra, "--seed", str(seed)])

        return [run(seed) for seed in range(SEEDS)]

    put("default, rows alone", fits([]))
    for share in SHARES:
        name = f"default, query_share {share}"
        put(name, fits(["--queries", "train_queries.npy", "--query-share", share]))
        for rival in [name for name in scores if name in told and "query_share" not in name]:
            difference = paired(scores[name][key], scores[rival][key])
            told[name].setdefault("queries beside", {})[rival] = difference
    return told


def main() -> None:
    binary, source, results = (Path(arg).resolve() for arg in sys.argv[1:])
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    record: dict[str, Any] = {
        "command": "make bench-queries",
        "machine": machine(),
        "versions": {"twinlearn": version.stdout.split()[-1], "numpy": np.__version__},
        "seeds": SEEDS,
    }
    with tempfile.TemporaryDirectory() as folder:
        data = Halves(str(binary), source, Path(folder))
        data.run("knn", "train.npy", "-k", "10", "-o", "lists.npy")
        lists: Ids = np.load(data.folder / "lists.npy")
        forms = ClosedForms(data.arrays["train"], lists)
        record["full vectors"] = means(data.scores(data.arrays.__getitem__))
        record["dimensions"] = {str(d): measure(data, forms, d) for d in DIMENSIONS}
    path = results / "queries.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
