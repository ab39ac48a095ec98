"""Rows of many numbers, beside scikit-learn's randomized PCA: processor seconds and memory.

    python benchmarks/wide.py BINARY RESULTS [--before BINARY] [--only NxD …]

Rows are sums of 100 directions, each half as heavy as one before it in ten, with noise: 200 x
20,000, 1400 x 2048, 2500 x 3072, 5000 x 4096. To 64 dimensions. Told are the processor seconds of
all threads and the peak of the resident memory, of whole commands; of scikit-learn those of `fit`
alone and of a process with NumPy and scikit-learn in it. With --before another binary runs too, and
what takes it longer than LIMIT seconds of processor is told as that.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from common import machine

D = 64
SIZES = [(200, 20_000), (1400, 2048), (2500, 3072), (5000, 4096)]
LIMIT = 120
PCA = """
import sys, time
import numpy as np
from sklearn.decomposition import PCA
x = np.load("x.npy")
start = time.process_time()
PCA(64, svd_solver="randomized", random_state=0).fit(x)
print(time.process_time() - start)
"""
COMMANDS = {
    "fit": ["fit", "x.npy", "-o", "m.safetensors", "-d", str(D)],
    "fit, solver pca": ["fit", "x.npy", "-o", "p.safetensors", "-d", str(D), "--solver", "pca"],
    "knn": ["knn", "x.npy", "-k", "10", "-o", "k.npy"],
    "eval": ["eval", "--original", "x.npy", "--model", "m.safetensors"],
    "advise": ["advise", "x.npy"],
}


def save(path: Path, n: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    sizes = 0.5 ** (np.arange(100) / 10)
    x = (rng.standard_normal((n, 100)) * sizes) @ rng.standard_normal((100, dim)) / np.sqrt(dim)
    np.save(path, (x + 0.02 * rng.standard_normal((n, dim)) / np.sqrt(dim)).astype(np.float32))


def run(command: list[str], folder: str) -> dict[str, Any]:
    limit = (LIMIT, LIMIT + 5)
    with open(f"{folder}/told", "w+") as told:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=told,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, limit),
        )
        _, status, usage = os.wait4(process.pid, 0)
        told.seek(0)
        text = told.read()
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    # The limit ends a process a little before its clock says so.
    if status != 0 and cpu < LIMIT - 1:
        return {"refused": text.strip().splitlines()[-1]}
    return {"cpu_seconds": round(cpu, 2), "peak_bytes": peak, "said": text, "ended": status == 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("results", type=Path)
    parser.add_argument("--before")
    parser.add_argument("--only", nargs="+", default=[])
    args = parser.parse_args()
    path = args.results / "wide.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sets": {}}
    binary = os.path.abspath(args.binary)
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    record["command"] = "make bench-wide BEFORE=…"
    record["machine"] = machine()
    versions = {"twinlearn": version.stdout.split()[-1], "scikit-learn": sklearn.__version__}
    record["versions"] = {**versions, "numpy": np.__version__}
    for n, dim in SIZES:
        if args.only and f"{n}x{dim}" not in args.only:
            continue
        told: dict[str, Any] = record["sets"].setdefault(f"{n} × {dim}", {})
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder, "x.npy"), n, dim)
            pca = run([sys.executable, "-c", PCA], folder)
            pca["cpu_seconds"] = round(float(pca.pop("said")), 2)
            told["scikit-learn"] = {"PCA": pca}
            for which, binary in (("before", args.before), ("now", args.binary)):
                if not binary:
                    continue
                told[which] = {}
                for name, command in COMMANDS.items():
                    found = run([os.path.abspath(binary), *command], folder)
                    found.pop("said", None)
                    told[which][name] = found
                    print(f"{n} x {dim} {which} {name}: {found}; PCA {pca}", flush=True)
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
