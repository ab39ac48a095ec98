"""Held-out recall@10 of fits that differ from the defaults in one setting.

    python benchmarks/defaults.py BINARY WORDNET.npy RESULTS

The rows held out are the trainer's own (1000 of the training rows); no test row is read. Sets:
WORDNET.npy and the training images of Fashion-MNIST (Debian package dataset-fashion-mnist).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import fashion_mnist, machine

D = 64
BT = ["--loss", "BT"]
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "n_neighbors 16": ["-k", "16"],
    "n_neighbors 32": ["-k", "32"],
    "n_neighbors 128": ["-k", "128"],
    "batch_size 64": ["--batch-size", "64"],
    "batch_size 256": ["--batch-size", "256"],
    "epochs 4": ["--epochs", "4"],
    "epochs 16": ["--epochs", "16"],
    "learning_rate 0.04": ["--learning-rate", "0.04"],
    "learning_rate 0.16": ["--learning-rate", "0.16"],
    "init pca": ["--init", "pca"],
    "init random": ["--init", "random"],
    "gaussian": ["--gaussian"],
    "centre_target": ["--centre-target"],
    "whiten 0.5": ["--whiten", "0.5"],
    "encoder mlp-1-512": ["--encoder", "mlp-1-512"],
    "loss BT": BT,
    "loss BT, projector mlp-1-64": ["--projector", "mlp-1-64"],
    "loss BT, projector mlp-1-1024": ["--projector", "mlp-1-1024"],
    "loss BT, batch_size 2048": [*BT, "--batch-size", "2048"],
    "loss BT, init pca, pca_power 0.5": [*BT, "--pca-power", "0.5"],
    "loss BT, init random, 40 epochs": [*BT, "--init", "random", "--epochs", "40"],
    "loss MSE, projector linear": ["--loss", "MSE", "--projector", "linear"],
}


def measure(binary: str, folder: Path, x: Path, extra: list[str]) -> dict[str, Any]:
    model = str(folder / "m.safetensors")
    graph = [] if "-k" in extra or "--gaussian" in extra else ["--knn", str(folder / "knn.npy")]
    start = time.perf_counter()
    fit = [binary, "fit", str(x), "-o", model, "-d", str(D), *graph, *extra]
    subprocess.run(fit, check=True, capture_output=True)
    seconds = round(time.perf_counter() - start, 1)
    shown = subprocess.run([binary, "inspect", model, "--json"], check=True, capture_output=True)
    training = json.loads(shown.stdout)["training"]
    kept = {key: training["validation"][key] for key in ("recall", "start_recall", "pca_recall")}
    return {**kept, "best_step": training["best_step"], "seconds": seconds}


def main() -> None:
    binary, wordnet, results = sys.argv[1:]
    sets: dict[str, Any] = {}
    for name in ("WordNet", "Fashion-MNIST"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            x = Path(wordnet)
            if name == "Fashion-MNIST":
                x = folder / "x.npy"
                np.save(x, fashion_mnist("train")[0])
            knn = [binary, "knn", str(x), "-k", "64", "-o", str(folder / "knn.npy")]
            subprocess.run(knn, check=True, capture_output=True)
            sets[name] = {}
            for variant, extra in VARIANTS.items():
                sets[name][variant] = measure(binary, folder, x, extra)
                print(f"{name:<14} {variant:<30} {sets[name][variant]}", flush=True)
    record = {"command": "make bench-defaults", "machine": machine(), "n_components": D}
    Path(results, "defaults.json").write_text(json.dumps({**record, "sets": sets}, indent=1) + "\n")


if __name__ == "__main__":
    main()
