"""What reduced vectors keep, beside PCA and random projection.

    python benchmarks/quality.py BINARY WORDNET_FOLDER RESULTS [--quick]

WORDNET_FOLDER holds train_x.npy, test_x.npy (sentence embeddings), queries_x.npy and qrels.npy
(query row, row of train_x, relevance); Fashion-MNIST is the Debian package dataset-fashion-mnist.
Every method is fitted on the training rows, without labels. Told are, by cosine in the reduced
space:

- recall@10: the share of each test row's 10 nearest training rows that are found again;
- WordNet: nDCG@10 of the queries; Fashion-MNIST: the accuracy of 10-nearest-neighbour votes for
  the test rows.

Seconds are those of the whole `twinlearn fit`, its graph included; of PCA, NumPy's. The reference
recipe (`reference.py`, PyTorch, the paper's settings but 20 epochs) runs on WordNet at d = 64.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import fashion_mnist, machine
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]
Reduce = Callable[[str], Rows]

DIMENSIONS = [16, 32, 64, 128]
MLP = ["--encoder", "mlp-1-1024"]
REFERENCE_EPOCHS = 20
POWERS = [0.0, 0.25, 0.5, 0.75, 1.0]
K = 10


class Set:
    """Rows to fit on, rows to judge by, and the figure beside recall."""

    def __init__(self, binary: str, name: str, arrays: dict[str, Rows], folder: Path) -> None:
        self.binary, self.name, self.folder, self.arrays = binary, name, folder, arrays
        for key, rows in arrays.items():
            np.save(folder / f"{key}.npy", rows)
        self.truth = self.nearest(arrays["train"], arrays["test"])

    def nearest(self, base: Rows, queries: Rows) -> Ids:
        np.save(self.folder / "base.npy", base)
        np.save(self.folder / "queries_.npy", queries)
        self.run("knn", "base.npy", "--queries", "queries_.npy", "-o", "found.npy", "-k", str(K))
        return np.asarray(np.load(self.folder / "found.npy"))

    def run(self, *args: str) -> None:
        subprocess.run([self.binary, *args], check=True, capture_output=True, cwd=self.folder)

    def judge(self, reduce: Reduce) -> dict[str, float]:
        base, test = reduce("train"), reduce("test")
        found = self.nearest(base, test)
        hits = [len(np.intersect1d(a, b)) for a, b in zip(self.truth, found, strict=True)]
        name, value = self.second(base, found, reduce)
        return {"recall": round(float(np.mean(hits)) / K, 4), name: round(value, 4)}

    def second(self, base: Rows, found: Ids, reduce: Reduce) -> tuple[str, float]:
        raise NotImplementedError


class WordNet(Set):
    def __init__(self, binary: str, source: Path, folder: Path) -> None:
        read = {"train": "train_x", "test": "test_x", "queries": "queries_x"}
        arrays = {key: np.load(source / f"{f}.npy").astype(np.float32) for key, f in read.items()}
        self.relevant: dict[int, set[int]] = {}
        for query, document, _ in np.load(source / "qrels.npy"):
            self.relevant.setdefault(int(query), set()).add(int(document))
        super().__init__(binary, "WordNet", arrays, folder)

    def second(self, base: Rows, found: Ids, reduce: Reduce) -> tuple[str, float]:
        ranked = self.nearest(base, reduce("queries"))
        gains = 1 / np.log2(np.arange(K) + 2)
        scores = []
        for query, documents in self.relevant.items():
            hits = np.isin(ranked[query], list(documents))
            scores.append(gains[hits].sum() / gains[: min(K, len(documents))].sum())
        return "ndcg", float(np.mean(scores))


class Fashion(Set):
    def __init__(self, binary: str, folder: Path) -> None:
        train, self.train_labels = fashion_mnist("train")
        test, self.test_labels = fashion_mnist("t10k")
        arrays = {"train": train, "test": test}
        super().__init__(binary, "Fashion-MNIST", arrays, folder)

    def second(self, base: Rows, found: Ids, reduce: Reduce) -> tuple[str, float]:
        votes = [np.bincount(row, minlength=10).argmax() for row in self.train_labels[found]]
        return "accuracy", float(np.mean(np.array(votes) == self.test_labels))


def fitted(data: Set, d: int, extra: list[str]) -> dict[str, Any]:
    start = time.perf_counter()
    data.run("fit", "train.npy", "-o", "m.safetensors", "-d", str(d), *extra)
    seconds = time.perf_counter() - start

    def reduce(key: str) -> Rows:
        data.run("transform", "m.safetensors", f"{key}.npy", "-o", "z.npy")
        return np.asarray(np.load(data.folder / "z.npy"))

    return {**data.judge(reduce), "seconds": round(seconds, 1)}


def over_seeds(data: Set, d: int, extra: list[str], seeds: int) -> dict[str, Any]:
    runs = [fitted(data, d, [*extra, "--seed", str(seed)]) for seed in range(seeds)]
    means: dict[str, Any] = {
        key: round(float(np.mean([run[key] for run in runs])), 4) for key in runs[0]
    }
    return means if seeds == 1 else {**means, "runs": runs}


def linear(data: Set, weight: Rows, mean: Rows) -> dict[str, Any]:
    return data.judge(lambda key: ((data.arrays[key] - mean) @ weight).astype(np.float32))


def reference(data: Set, d: int) -> dict[str, Any]:
    """The paper's recipe in PyTorch, on neighbours by inner product that ours found."""
    start = time.perf_counter()
    data.run("knn", "train.npy", "-k", "5", "--metric", "ip", "-o", "knn.npy")
    graph_seconds = time.perf_counter() - start
    script = str(Path(__file__).with_name("reference.py").resolve())
    command = [sys.executable, script, "fit", "train.npy", "knn.npy", "-d", str(d), "--to", "w.npz"]
    command += ["--projector", "mlp-2-2048", "--batch", "1024", "--epochs", str(REFERENCE_EPOCHS)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=data.folder)
    told = json.loads(out.stdout)
    arrays = np.load(data.folder / "w.npz")
    figures = data.judge(lambda key: data.arrays[key] @ arrays["weight"].T + arrays["bias"])
    seconds = round(told["seconds"] + graph_seconds, 1)
    return {**figures, "seconds": seconds, "torch": told["torch"]}


def measure(data: Set, dimensions: list[int], seeds: int, only: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {"raw": data.judge(lambda key: data.arrays[key])}
    print(f"\n{data.name}\n  {'raw':<28} {out['raw']}", flush=True)
    start = time.perf_counter()
    train = data.arrays["train"]
    mean = train.mean(axis=0)
    centred = train - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(train))
    std = np.sqrt(np.maximum(values[::-1], 0))
    vectors = vectors[:, ::-1]
    out["pca_seconds"] = round(time.perf_counter() - start, 1)
    for d in dimensions:
        cells: dict[str, Any] = {}

        def put(
            name: str,
            measured: Callable[[], dict[str, Any]],
            cells: dict[str, Any] = cells,
            d: int = d,
        ) -> None:
            if only and name not in only:
                return
            cell = cells[name] = measured()
            shown = {key: value for key, value in cell.items() if key != "runs"}
            print(f"  d = {d:<4} {name:<20} {shown}", flush=True)

        def by_linear(weight: Rows, mean: Rows) -> Callable[[], dict[str, Any]]:
            return lambda: linear(data, weight, mean)

        def by_fit(extra: list[str], seeds: int = 1, d: int = d) -> Callable[[], dict[str, Any]]:
            return lambda: over_seeds(data, d, extra, seeds)

        for power in POWERS:
            weight = vectors[:, :d] / np.maximum(std[:d], 1e-3 * std[0]) ** power
            put(f"PCA {power}", by_linear(weight, mean))
        # Cosines are about the origin, which centring moves.
        put("PCA uncentred", by_linear(vectors[:, :d], np.zeros_like(mean)))
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (train.shape[1], d))
        put("random projection", by_linear(signs.astype(np.float32), np.zeros_like(mean)))
        put("spectral", by_fit(["--solver", "spectral"]))
        put("default", by_fit([]))
        put("KL", by_fit(["--loss", "KL"], seeds))
        second = ["--loss", "KL", "--centre-target", "--whiten", "0.75"]
        put("KL centred whitened", by_fit(second, seeds))
        put("auto", by_fit(["--loss", "auto"]))
        put("KL mlp-1-1024", by_fit([*MLP, "--loss", "KL"]))
        put("KL mlp centred whitened", by_fit([*MLP, *second]))
        out[str(d)] = cells
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=Path)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--quick", action="store_true", help="d = 64 alone, one seed, no reference")
    parser.add_argument("--only", nargs="*", default=[], help="cells to measure anew in the file")
    args = parser.parse_args()
    dimensions, seeds = ([64], 1) if args.quick else (DIMENSIONS, 3)
    binary = str(args.binary.resolve())
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    record: dict[str, Any] = {
        "command": "make bench-quality",
        "machine": machine(),
        "versions": {"twinlearn": version.stdout.split()[-1], "numpy": np.__version__},
        "sets": {},
    }
    path = args.results / ("quality-quick.json" if args.quick else "quality.json")
    if args.only:
        record = json.loads(path.read_text())
    for make in (lambda f: WordNet(binary, args.wordnet, f), lambda f: Fashion(binary, f)):
        with tempfile.TemporaryDirectory() as name:
            data: Set = make(Path(name))
            measured = measure(data, dimensions, seeds, args.only)
            for d, cells in measured.items() if args.only else ():
                kept = record["sets"][data.name].get(d)
                if isinstance(kept, dict) and isinstance(cells, dict):
                    measured[d] = {**kept, **cells}
            record["sets"][data.name] = measured
            if isinstance(data, WordNet) and not args.quick:
                cells = record["sets"][data.name]["64"]
                if not args.only:
                    cells["reference"] = reference(data, 64)
                    print(f"  d = 64   reference {cells['reference']}", flush=True)
                for name in ("default", "KL"):
                    faster = cells["reference"]["seconds"] / cells[name]["seconds"]
                    cells[name]["times_faster_than_reference"] = round(faster, 1)
            path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}")


if __name__ == "__main__":
    main()
