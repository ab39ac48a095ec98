"""What people use today beside twinlearn: quality, time, memory and size.

    python peers.py BINARY WORDNET_FOLDER RESULTS_FOLDER [--only NAME ...]

WORDNET_FOLDER holds train_x.npy and test_x.npy (make_wordnet.py); Fashion-MNIST is the Debian
package dataset-fashion-mnist. Every method runs in a process of its own: fitted on the training
rows with two threads, then it reduces the test rows at once and one by one. Told are

- recall: the share of each test row's 10 nearest training rows, by cosine, that is found again in
  the reduced space, by cosine and by Euclidean distance;
- fit_seconds: of the call, after imports;
- rows_per_second: of a transform of all test rows, and one_row_microseconds of one (medians);
- peak_bytes: of the process, data and libraries included (VmHWM);
- model_bytes: of the saved model, for scikit-learn and UMAP pickled;
- import_seconds: of the library in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import fashion_mnist, machine
from numpy.typing import NDArray

Rows = NDArray[np.float32]

DIMENSIONS = [16, 64]
THREADS = "2"
K = 10
METHODS = [
    "TLDR KL",
    "TLDR KL mlp-1-1024",
    "TLDR default",
    "scikit-learn PCA",
    "sparse random projection",
    "UMAP",
]
LIBRARIES = {
    "twinlearn": "twinlearn",
    "scikit-learn": "sklearn.decomposition",
    "umap-learn": "umap",
}


def estimator(name: str, d: int) -> Any:
    if name.startswith("TLDR"):
        from twinlearn import TLDR

        loss = "BT" if name.endswith("default") else "KL"
        encoder = "mlp-1-1024" if name.endswith("mlp-1-1024") else "linear"
        return TLDR(n_components=d, random_state=0, n_jobs=int(THREADS), loss=loss, encoder=encoder)
    if name == "scikit-learn PCA":
        from sklearn.decomposition import PCA

        return PCA(d, random_state=0)
    if name == "sparse random projection":
        from sklearn.random_projection import SparseRandomProjection

        return SparseRandomProjection(d, random_state=0)
    from umap import UMAP

    # Without a seed: with one UMAP runs on one thread.
    return UMAP(n_components=d, metric="cosine", n_jobs=int(THREADS))


def worker(name: str, d: int, folder: Path) -> None:
    """Fits and transforms in this process; prints what it took."""
    train, test = np.load(folder / "train.npy"), np.load(folder / "test.npy")
    model = estimator(name, d)
    start = time.perf_counter()
    model.fit(train)
    told: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - start, 2)}
    base = model.transform(train) if name != "UMAP" else model.embedding_
    # Some compile at the first call.
    model.transform(test[:100])
    start = time.perf_counter()
    reduced = model.transform(test)
    seconds = time.perf_counter() - start
    if seconds < 1:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            model.transform(test)
            times.append(time.perf_counter() - start)
        seconds = statistics.median(times)
    told["rows_per_second"] = round(len(test) / seconds)
    rounds = 1000 if seconds < 1 else 5
    times = []
    for i in range(rounds):
        row = test[i : i + 1]
        start = time.perf_counter()
        model.transform(row)
        times.append(time.perf_counter() - start)
    told["one_row_microseconds"] = round(1e6 * statistics.median(times), 1)
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak is not None
    told["peak_bytes"] = 1024 * int(peak[1])
    if name.startswith("TLDR"):
        model.save(folder / "model")
        told["model_bytes"] = (folder / "model").stat().st_size
    else:
        told["model_bytes"] = len(pickle.dumps(model))
    np.save(folder / "base_z.npy", np.ascontiguousarray(base, np.float32))
    np.save(folder / "test_z.npy", np.ascontiguousarray(reduced, np.float32))
    print(json.dumps(told))


def nearest(binary: str, folder: Path, base: str, queries: str, metric: str) -> NDArray[np.int64]:
    out = str(folder / "found.npy")
    command = [binary, "knn", f"{base}.npy", "--queries", f"{queries}.npy", "-o", out]
    command += ["-k", str(K), "--metric", metric, "--threads", THREADS]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return np.asarray(np.load(out))


def measure(binary: str, train: Rows, test: Rows, only: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "train.npy", train)
        np.save(folder / "test.npy", test)
        truth = nearest(binary, folder, "train", "test", "cosine")
        cells: dict[str, Any] = {}
        names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"]
        env = os.environ | dict.fromkeys(names, THREADS)
        for d in DIMENSIONS:
            for method in METHODS:
                if only and method not in only:
                    continue
                run = [sys.executable, __file__, "--one", method, str(d), name]
                out = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True, env=env)
                told = json.loads(out.stdout.splitlines()[-1])
                for metric in ("cosine", "l2"):
                    found = nearest(binary, folder, "base_z", "test_z", metric)
                    hits = [len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True)]
                    told[f"recall_{metric}"] = round(float(np.mean(hits)) / K, 4)
                cells.setdefault(str(d), {})[method] = told
                print(f"  d = {d:<3} {method:<25} {told}", flush=True)
        return cells


def import_seconds(module: str) -> float:
    code = f"import time; a = time.perf_counter(); import {module}; print(time.perf_counter() - a)"
    run = [sys.executable, "-c", code]
    times = [float(subprocess.check_output(run, text=True).split()[-1]) for _ in range(3)]
    return round(statistics.median(times), 2)


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ["numpy", *LIBRARIES]}


def main() -> None:
    if sys.argv[1] == "--one":
        worker(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="methods to measure anew in the file")
    args = parser.parse_args()
    path = args.results / "peers.json"
    record: dict[str, Any] = {"sets": {}}
    if args.only:
        record = json.loads(path.read_text())
    record |= {
        "command": "make bench-peers",
        "machine": machine(),
        "threads": int(THREADS),
        "versions": versions(),
        "import_seconds": {name: import_seconds(module) for name, module in LIBRARIES.items()},
    }
    wordnet = [
        np.load(args.wordnet / f"{part}_x.npy").astype(np.float32) for part in ("train", "test")
    ]
    fashion = [fashion_mnist(part)[0] for part in ("train", "t10k")]
    for name, (train, test) in {"WordNet": wordnet, "Fashion-MNIST": fashion}.items():
        print(name, flush=True)
        cells = measure(str(args.binary.resolve()), train, test, args.only)
        for d, methods in cells.items():
            record["sets"].setdefault(name, {}).setdefault(d, {}).update(methods)
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
