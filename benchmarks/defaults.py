"""Held-out recall@10 of fits that differ from the defaults in one setting.

    python benchmarks/defaults.py target/release/twinlearn data/train_x.npy benchmarks/results

The rows held out are the trainer's own tenth of the training rows; no test row is read.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

D = 32
VARIANTS: dict[str, list[str]] = {
    "default": [],
    "pca_power 0": ["--pca-power", "0"],
    "pca_power 1": ["--pca-power", "1"],
    "init random": ["--init", "random"],
    "init random, 40 epochs": ["--init", "random", "--epochs", "40"],
    "n_neighbors 2": ["-k", "2"],
    "n_neighbors 10": ["-k", "10"],
    "batch_size 128": ["--batch-size", "128"],
    "batch_size 1024": ["--batch-size", "1024"],
    "epochs 2": ["--epochs", "2"],
    "epochs 20": ["--epochs", "20"],
    "learning_rate 0.05": ["--learning-rate", "0.05"],
    "learning_rate 0.8": ["--learning-rate", "0.8"],
    "projector mlp-1-512": ["--projector", "mlp-1-512"],
    "projector mlp-1-4096": ["--projector", "mlp-1-4096"],
}


def measure(binary: str, x: str, extra: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "m.safetensors")
        fit = [binary, "fit", x, "-o", model, "-d", str(D), *extra]
        subprocess.run(fit, check=True, capture_output=True)
        shown = subprocess.run(
            [binary, "inspect", model, "--json"], check=True, capture_output=True
        )
    training = json.loads(shown.stdout)["training"]
    return {**training["validation"], "final_loss": training["final_loss"]}


def main() -> None:
    binary, x, results = sys.argv[1:]
    out = {}
    for name, extra in VARIANTS.items():
        out[name] = measure(binary, x, extra)
        print(f"{name:<24} {out[name]['recall']:.4f}  (PCA {out[name]['pca_recall']:.4f})")
    record = {
        "command": "make bench-defaults",
        "machine": platform.processor() or platform.machine(),
        "x": x,
        "n_components": D,
        "fits": out,
    }
    Path(results, "defaults.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
