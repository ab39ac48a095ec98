"""The data sets of the quality benchmarks, and the scores of reduced vectors on them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import fashion_mnist
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]
Scores = NDArray[np.float64]
# From the name of rows ("train", "test", …) to what they are reduced to.
Reduce = Callable[[str], Rows]

K = 10


class Set:
    """Rows to fit on, rows to judge by, and a second figure beside recall."""

    second: str

    def __init__(self, binary: str, name: str, arrays: dict[str, Rows], folder: Path) -> None:
        self.binary, self.name, self.folder, self.arrays = binary, name, folder, arrays
        for key, rows in arrays.items():
            np.save(folder / f"{key}.npy", rows)
        # By the name of rows their nearest training rows, by the full vectors.
        self.truth = {"test": self.nearest(arrays["train"], arrays["test"])}

    def nearest(self, base: Rows, queries: Rows) -> Ids:
        """By cosine, exact."""
        np.save(self.folder / "base.npy", base)
        np.save(self.folder / "queries_.npy", queries)
        self.run("knn", "base.npy", "--queries", "queries_.npy", "-o", "found.npy", "-k", str(K))
        return np.asarray(np.load(self.folder / "found.npy"))

    def run(self, *args: str) -> None:
        subprocess.run([self.binary, *args], check=True, capture_output=True, cwd=self.folder)

    def fit(self, d: int, extra: list[str]) -> Reduce:
        self.run("fit", "train.npy", "-o", "m.safetensors", "-d", str(d), *extra)

        def reduce(key: str) -> Rows:
            self.run("transform", "m.safetensors", f"{key}.npy", "-o", "z.npy")
            return np.asarray(np.load(self.folder / "z.npy"))

        return reduce

    def linear(self, weight: Rows, mean: Rows) -> Reduce:
        return lambda key: ((self.arrays[key] - mean) @ weight).astype(np.float32)

    def scores(self, reduce: Reduce) -> dict[str, Scores]:
        """recall@10 row by row, for each set in `truth`, and the second figure row by row."""
        base = reduce("train")
        out = {}
        found = {key: self.nearest(base, reduce(key)) for key in self.truth}
        for key, truth in self.truth.items():
            hits = [len(np.intersect1d(a, b)) for a, b in zip(truth, found[key], strict=True)]
            out["recall" if key == "test" else f"recall of {key}"] = np.array(hits) / K
        return {**out, self.second: self.second_scores(base, found, reduce)}

    def second_scores(self, base: Rows, found: dict[str, Ids], reduce: Reduce) -> Scores:
        raise NotImplementedError


class WordNet(Set):
    second = "ndcg"

    def __init__(self, binary: str, source: Path, folder: Path) -> None:
        read = {"train": "train_x", "test": "test_x", "queries": "queries_x"}
        arrays = {key: np.load(source / f"{f}.npy").astype(np.float32) for key, f in read.items()}
        self.relevant: dict[int, set[int]] = {}
        for query, document, _ in np.load(source / "qrels.npy"):
            self.relevant.setdefault(int(query), set()).add(int(document))
        super().__init__(binary, "WordNet", arrays, folder)

    def second_scores(self, base: Rows, found: dict[str, Ids], reduce: Reduce) -> Scores:
        ranked = self.nearest(base, reduce("queries"))
        gains = 1 / np.log2(np.arange(K) + 2)
        scores = []
        for query, documents in sorted(self.relevant.items()):
            hits = np.isin(ranked[query], list(documents))
            scores.append(gains[hits].sum() / gains[: min(K, len(documents))].sum())
        return np.array(scores)


class Fashion(Set):
    second = "accuracy"

    def __init__(self, binary: str, folder: Path) -> None:
        train, self.train_labels = fashion_mnist("train")
        test, self.test_labels = fashion_mnist("t10k")
        arrays = {"train": train, "test": test}
        super().__init__(binary, "Fashion-MNIST", arrays, folder)

    def second_scores(self, base: Rows, found: dict[str, Ids], reduce: Reduce) -> Scores:
        votes = self.train_labels[found["test"]]
        label = np.array([np.bincount(row, minlength=10).argmax() for row in votes])
        return np.asarray(label == self.test_labels, np.float64)


def means(scores: dict[str, Scores]) -> dict[str, float]:
    return {key: round(float(np.mean(values)), 4) for key, values in scores.items()}


def paired(ours: Scores, theirs: Scores) -> dict[str, float]:
    """The mean of ours − theirs and its standard error over rows; ours may be the mean of seeds."""
    difference = ours - theirs
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return {"gain": round(float(difference.mean()), 4), "standard_error": round(float(error), 4)}


def mean_scores(runs: list[dict[str, Scores]]) -> dict[str, Scores]:
    return {key: np.asarray(np.mean([run[key] for run in runs], axis=0)) for key in runs[0]}
