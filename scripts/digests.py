"""SHA-256 of what a binary writes (models, graphs, reduced vectors), by loss, method and format.

    python scripts/digests.py BINARY > after.txt

A change that is to change no bits is right where `diff before.txt after.txt` says nothing. Bits are
promised on one machine alone: run both binaries on the same one. Models name the version that wrote
them, so compare binaries of one version. Takes about two minutes.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent.parent / "data"
FITS = {
    "default": [],
    "bt": ["--loss", "BT", "--epochs", "3"],
    "mse": ["--loss", "MSE", "--epochs", "2"],
    "auto": ["--loss", "auto", "--epochs", "2"],
    "tau": ["--tau", "0.05", "--epochs", "2"],
    "gaussian": ["--gaussian", "--epochs", "2"],
    "reference": ["--recipe", "reference", "--epochs", "2", "--projector", "mlp-1-256"],
    "lars": ["--optimizer", "lars", "--learning-rate", "0.2", "--epochs", "2"],
    "l2": ["--metric", "l2", "--epochs", "2"],
    "ip": ["--metric", "ip", "--epochs", "2"],
    "whiten": ["--whiten", "0.5", "--epochs", "2"],
    "centred": ["--centre-target", "--epochs", "2"],
    "nested": ["--nested", "8,16", "--epochs", "2"],
    "queries": ["--queries", "q.npy", "--epochs", "2"],
    "mlp": ["--encoder", "mlp-1-128", "--epochs", "2"],
    "flinear": ["--encoder", "flinear-1-64", "--loss", "BT", "--epochs", "2"],
    "layer norm": [
        "--encoder",
        "mlp-1-64",
        "--norm-layer",
        "LN",
        "--init",
        "random",
        "--epochs",
        "2",
    ],
    "random": ["--init", "random", "--epochs", "2"],
    "pca": ["--solver", "pca"],
    "spectral": ["--solver", "spectral"],
}
OUTPUTS = ["z.npy", "z.fbin", "z.f16bin", "z.i8bin", "z.parquet", "z.arrow"]
INPUTS = ["x.npy", "x64.npy", "x16.npy", "x.npz", "x.fvecs", "x.fbin"]


def main() -> None:
    binary = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(label: str, output: str, *args: str) -> None:
            subprocess.run([binary, *args], cwd=folder, check=True, capture_output=True)
            print(f"{hashlib.sha256((folder / output).read_bytes()).hexdigest()[:16]}  {label}")

        x = np.load(DATA / "train_x.npy").astype(np.float32)
        save_inputs(folder, x)
        for fit, extra in FITS.items():
            run(
                f"fit {fit}",
                "m.safetensors",
                "fit",
                "x.npy",
                "-o",
                "m.safetensors",
                "-d",
                "24",
                *extra,
            )
            run(f"  transform {fit}", "z.npy", "transform", "m.safetensors", "q.npy", "-o", "z.npy")
        run(
            "fit for outputs",
            "m.safetensors",
            "fit",
            "x.npy",
            "-o",
            "m.safetensors",
            "--epochs",
            "1",
        )
        for output in OUTPUTS:
            run(output, output, "transform", "m.safetensors", "x.npy", "-o", output)
        for source in INPUTS:
            run(source, "z.npy", "transform", "m.safetensors", source, "-o", "z.npy", "--l2-norm")
        for metric in ["cosine", "ip", "l2"]:
            for method in ["exact", "descent", "pq"]:
                args = ["knn", "x.npy", "-o", "k.npy", "--metric", metric, "--method", method]
                run(f"knn {metric} {method}", "k.npy", *args)
            args = ["knn", "x.npy", "--queries", "q.npy", "-o", "k.npy", "--metric", metric]
            run(f"knn queries {metric}", "k.npy", *args)
            small = ["--memory", "60M"]
            run(f"knn queries {metric} in 60 MB", "k.npy", *args, *small)
        args = ["eval", "--original", "x.npy", "--model", "m.safetensors", "--queries", "q.npy"]
        run("eval", "e.json", *args, "--json", "e.json")


def save_inputs(folder: Path, x: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    """The first 3000 rows in several formats; the next 400 are queries."""
    x, queries = x[:3000], x[3000:3400]
    n, dim = x.shape
    np.save(folder / "x.npy", x)
    np.save(folder / "x64.npy", x.astype(np.float64))
    np.save(folder / "x16.npy", x.astype(np.float16))
    np.savez(folder / "x.npz", x=x)
    np.save(folder / "q.npy", queries)
    header = np.full((n, 1), dim, np.int32).view(np.float32)
    np.hstack([header, x]).tofile(folder / "x.fvecs")
    (folder / "x.fbin").write_bytes(np.array([n, dim], np.uint32).tobytes() + x.tobytes())


if __name__ == "__main__":
    main()
