"""How long fits take: beside the older neighbourhood KL, and as rows grow.

    python benchmarks/times.py BINARY X.npy RESULTS [--before BINARY]

- X.npy (WordNet's training rows) to 64 dimensions, in turn with the binary given by --before
  (`fit --loss KL` of commit 17fe62b, which used no lists), five rounds; without --before the
  figures in results/times.json stay.
- 100,000, 300,000 and 1,000,000 rows of 384 numbers around those of X (`big_file.py`), to 64
  dimensions, once each.

Seconds are of the whole command, medians; the peak is of its resident memory, pages of the mapped
file included.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine

D = 64
ROUNDS, LARGE_ROUNDS = 5, 1
ROWS = [100_000, 300_000, 1_000_000]
STAGE = re.compile(r"^  (\w+) +([\d.]+) s$", re.MULTILINE)


def fit(binary: str, x: str, *extra: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "told"), "w+") as told:
        command = [binary, "fit", x, "-o", f"{folder}/m.safetensors", "-d", str(D), *extra]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        told.seek(0)
        text = told.read()
        if status != 0:
            raise SystemExit(f"{' '.join(command)}: {text}")
    stages = {name: float(value) for name, value in STAGE.findall(text)}
    return {"seconds": round(seconds, 1), "peak_bytes": usage.ru_maxrss * 1024, "stages": stages}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in runs[0]["stages"] if all(name in run["stages"] for run in runs)]
    stages = {n: round(statistics.median(run["stages"][n] for run in runs), 1) for n in names}
    return {
        "seconds": round(statistics.median(run["seconds"] for run in runs), 1),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "stages": stages,
        "runs": [run["seconds"] for run in runs],
    }


def beside(binary: str, before: str, x: str) -> dict[str, Any]:
    pairs = []
    for _ in range(ROUNDS):
        pairs.append((fit(before, x, "--loss", "KL"), fit(binary, x)))
        print(f"before {pairs[-1][0]['seconds']} s, now {pairs[-1][1]['seconds']} s", flush=True)
    ratios = [now["seconds"] / then["seconds"] for then, now in pairs]
    return {
        "before": median([then for then, _ in pairs]),
        "now": median([now for _, now in pairs]),
        "ratio": round(statistics.median(ratios), 2),
    }


def growth(binary: str, x: str, folder: Path) -> dict[str, Any]:
    paths = {rows: str(folder / f"{rows}.npy") for rows in ROWS}
    dim = np.load(x, mmap_mode="r").shape[1]
    script = Path(__file__).with_name("big_file.py")
    for rows, path in paths.items():
        # In a process of its own: what this one has held counts as the peak of those it starts.
        command = [sys.executable, str(script), x, path, "--dtype", "float32"]
        subprocess.run([*command, "--rows", str(rows), "--dim", str(dim)], check=True)
    runs: dict[int, list[dict[str, Any]]] = {rows: [] for rows in ROWS}
    for _ in range(LARGE_ROUNDS):
        for rows, path in paths.items():
            runs[rows].append(fit(binary, path))
            print(f"{rows:,} rows: {runs[rows][-1]}", flush=True)
    return {str(rows): median(told) for rows, told in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("x")
    parser.add_argument("results", type=Path)
    parser.add_argument("--before")
    args = parser.parse_args()
    version = subprocess.run([args.binary, "--version"], check=True, capture_output=True, text=True)
    path = args.results / "times.json"
    then = json.loads(path.read_text()) if path.exists() else {}
    record: dict[str, Any] = {
        "command": "make bench-times BEFORE=…",
        "machine": machine(),
        "versions": {"twinlearn": version.stdout.split()[-1], "numpy": np.__version__},
        "n_components": D,
        "beside": then.get("beside"),
    }
    if args.before:
        record["beside"] = beside(args.binary, args.before, args.x)
    with tempfile.TemporaryDirectory() as folder:
        record["growth"] = growth(args.binary, args.x, Path(folder))
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
