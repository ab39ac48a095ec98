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
KL = ["--loss", "KL"]
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "pca_power 0": ["--pca-power", "0"],
    "pca_power 0.5": ["--pca-power", "0.5"],
    "pca_power 1": ["--pca-power", "1"],
    "init spectral": ["--init", "spectral"],
    "init random": ["--init", "random"],
    "init random, 40 epochs": ["--init", "random", "--epochs", "40"],
    "n_neighbors 10": ["-k", "10"],
    "gaussian": ["--gaussian"],
    "batch_size 128": ["--batch-size", "128"],
    "batch_size 2048": ["--batch-size", "2048"],
    "epochs 20": ["--epochs", "20"],
    "learning_rate 0.05": ["--learning-rate", "0.05"],
    "learning_rate 0.8": ["--learning-rate", "0.8"],
    "optimizer adamw": ["--optimizer", "adamw"],
    "lambd 0.0005": ["--lambd", "0.0005"],
    "lambd 0.03": ["--lambd", "0.03"],
    "projector none": ["--projector", "none"],
    "projector mlp-1-64": ["--projector", "mlp-1-64"],
    "projector mlp-1-1024": ["--projector", "mlp-1-1024"],
    "projector mlp-2-256": ["--projector", "mlp-2-256"],
    "loss KL": KL,
    "loss KL, tau 0.03": [*KL, "--tau", "0.03"],
    "loss KL, tau 0.1": [*KL, "--tau", "0.1"],
    "loss KL, batch_size 512": [*KL, "--batch-size", "512"],
    "loss KL, learning_rate 0.003": [*KL, "--learning-rate", "0.003"],
    "loss KL, epochs 20": [*KL, "--epochs", "20"],
    "loss KL, init random": [*KL, "--init", "random"],
    "loss KL, gaussian": [*KL, "--gaussian"],
    "loss KL, encoder mlp-1-1024": [*KL, "--encoder", "mlp-1-1024"],
    "loss auto": ["--loss", "auto"],
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
            knn = [binary, "knn", str(x), "-k", "5", "-o", str(folder / "knn.npy")]
            subprocess.run(knn, check=True, capture_output=True)
            sets[name] = {}
            for variant, extra in VARIANTS.items():
                sets[name][variant] = measure(binary, folder, x, extra)
                print(f"{name:<14} {variant:<30} {sets[name][variant]}", flush=True)
    record = {"command": "make bench-defaults", "machine": machine(), "n_components": D}
    Path(results, "defaults.json").write_text(json.dumps({**record, "sets": sets}, indent=1) + "\n")


if __name__ == "__main__":
    main()
