"""Time of a training step and peak memory, beside plain PyTorch.

    python benchmarks/train.py BINARY RESULTS

Both sides run as processes of their own, in turn, with two threads, on the same random rows; a
process's first step is left out, and medians are told. The machine's rate is the best that NumPy
(OpenBLAS) or PyTorch (MKL) reach between those runs in a product of 2048 × 2048 matrices; the share
of it is reckoned from the flops of the products that a step needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import machine

THREADS, ROUNDS, STEPS, ROWS = 2, 3, 7, 8192
# D, d, projector, batch; the last two are steps of loss KL.
CASES = [
    (2048, 32, "mlp-1-2048", 1024),
    (384, 64, "mlp-2-2048", 1024),
    (768, 128, "mlp-1-8192", 1024),
    (384, 64, "none", 256),
    (2048, 128, "none", 256),
]


def flops(dim: int, d: int, projector: str, batch: int) -> float:
    """Flops of a step's products: encoder and projector, forward and backward, and the loss."""
    rows = 2 * batch
    total = 2 * 2 * rows * dim * d
    if projector == "none":
        return total + 4 * batch**2 * (dim + 3 * d)
    _, depth, text = projector.split("-")
    width = int(text)
    total += 3 * 2 * rows * (d * width + int(depth) * width**2)
    return total + 6 * batch * width * min(batch, width)


def run(command: list[str]) -> tuple[str, int]:
    """Output and peak resident kilobytes."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise RuntimeError(" ".join(command))
        out.seek(0)
        return out.read().decode(), usage.ru_maxrss


def numpy_rate() -> float:
    """GFLOP/s of NumPy in a square product."""
    code = (
        "import numpy as np, time\n"
        "a = np.ones((2048, 2048), np.float32)\n"
        "b, best = a.copy(), 9.0\n"
        "for _ in range(8):\n"
        "    start = time.perf_counter()\n"
        "    a @ b\n"
        "    best = min(best, time.perf_counter() - start)\n"
        "print(2 * 2048**3 / best / 1e9)"
    )
    limit = {**os.environ, "OPENBLAS_NUM_THREADS": str(THREADS)}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=limit)
    return float(out.stdout)


def ours(binary: str, folder: Path, case: tuple[int, int, str, int]) -> tuple[list[float], int]:
    dim, d, projector, batch = case
    log = folder / "log.jsonl"
    command = [binary, "fit", str(folder / f"{dim}.npy"), "-o", str(folder / "m.safetensors")]
    command += ["-d", str(d), "--projector", projector, "--batch-size", str(batch)]
    command += ["--knn", str(folder / "knn.npy"), "--epochs", "1", "--threads", str(THREADS)]
    command += ["--init", "random", "--validation-fraction", "0", "--log", str(log)]
    if projector == "none":
        command += ["--loss", "KL"]
    _, peak = run(command)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [batch / line["rows_per_second"] for line in lines][1:], peak


def main() -> None:
    binary, results = sys.argv[1:]
    script = str(Path(__file__).with_name("reference.py"))
    rates: list[float] = []
    record: dict[str, Any] = {
        "command": "make bench-train",
        "machine": machine(),
        "threads": THREADS,
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = np.random.default_rng(0)
        for dim in sorted({case[0] for case in CASES}):
            x = random.standard_normal((ROWS, dim), dtype=np.float32)
            np.save(folder / f"{dim}.npy", x)
        knn = (np.arange(ROWS)[:, None] + np.arange(1, 6)) % ROWS
        np.save(folder / "knn.npy", knn)
        for case in CASES:
            dim, d, projector, batch = case
            times: dict[str, list[float]] = {"ours": [], "theirs": []}
            peaks: dict[str, int] = {"ours": 0, "theirs": 0}
            for _ in range(ROUNDS):
                rates.append(numpy_rate())
                seconds, peak = ours(binary, folder, case)
                times["ours"] += seconds
                peaks["ours"] = max(peaks["ours"], peak)
                if projector == "none":
                    continue
                command = [sys.executable, script, "steps", str(folder / f"{dim}.npy")]
                command += ["-d", str(d), "--projector", projector, "--batch", str(batch)]
                command += ["--steps", str(STEPS), "--threads", str(THREADS)]
                text, peak = run(command)
                theirs = json.loads(text)
                times["theirs"] += theirs["seconds"][1:]
                peaks["theirs"] = max(peaks["theirs"], peak)
                rates.append(theirs["gemm_gflops"])
                record["torch"] = theirs["torch"]
            step = median(times["ours"])
            row: dict[str, Any] = {
                "D": dim,
                "d": d,
                "loss": "KL" if projector == "none" else "BT",
                "projector": projector,
                "batch": batch,
                "seconds": round(step, 5),
                "gflops": round(flops(*case) / step / 1e9, 1),
                "peak_kb": peaks["ours"],
            }
            if times["theirs"]:
                row |= {
                    "torch_seconds": round(median(times["theirs"]), 5),
                    "torch_peak_kb": peaks["theirs"],
                    "time_ratio": round(step / median(times["theirs"]), 3),
                    "peak_ratio": round(peaks["ours"] / peaks["theirs"], 3),
                }
            rows.append(row)
            print(row, flush=True)
    record["gemm_gflops"] = round(max(rates), 1)
    for row in rows:
        row["share_of_gemm"] = round(row["gflops"] / record["gemm_gflops"], 3)
        print(row["D"], row["d"], row["projector"], row["share_of_gemm"])
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True)
    record |= {"twinlearn": version.stdout.split()[-1], "numpy": np.__version__, "steps": rows}
    Path(results, "train.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
