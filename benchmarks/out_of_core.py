"""Fits, reduces and judges a file of 8 GB inside 3 GB of address space.

The file (2,000,000 x 2048 float16) is made by big_file.py from the given rows, unless it is there
from before. Every command runs under `ulimit -v`; its peak of resident memory and of address space
are those that /proc tells. transform and cat take turns, each after the page cache was emptied
(where that is allowed) and again with what the cache then has.

    out_of_core.py BINARY X.npy RESULTS_FOLDER [FOLDER]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from big_file import write
from common import machine

ROWS, DIM = 2_000_000, 2048
ADDRESS_SPACE = 3_000_000  # KiB
MEMORY = "2G"
ROUNDS = 3


def run(command: list[object], to: Any = subprocess.PIPE) -> dict[str, Any]:
    """Seconds and peaks of a command, and what it printed."""
    text = " ".join(f"'{part}'" for part in command)
    start = time.perf_counter()
    process = subprocess.Popen(
        ["sh", "-c", f"ulimit -v {ADDRESS_SPACE}; exec {text}"], stdout=to, stderr=subprocess.PIPE
    )
    peaks: dict[str, int] = {}
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for name, key in [("VmHWM", "resident"), ("VmPeak", "address_space")]:
            if found := re.search(rf"{name}:\s+(\d+)", status):
                peaks[f"peak_{key}_bytes"] = 1024 * int(found[1])
        time.sleep(0.02)
    out, err = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"{text}: {err.decode()}")
    return {"seconds": round(seconds, 2), **peaks, "printed": (out or b"").decode().splitlines()}


def empty_cache() -> bool:
    subprocess.run(["sync"], check=True)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("x")
    parser.add_argument("results")
    parser.add_argument("folder", nargs="?", default="target/out_of_core")
    args = parser.parse_args()
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    big, model, z = folder / "big.npy", folder / "model.safetensors", folder / "z.npy"
    size = ROWS * DIM * 2
    if not big.exists() or big.stat().st_size < size:
        write(np.load(args.x).astype(np.float32), str(big), ROWS, DIM)

    result: dict[str, Any] = {
        "command": "make bench-out-of-core",
        "machine": machine(),
        "data": f"{ROWS:,} x {DIM} float16",
        "file_bytes": big.stat().st_size,
        "address_space_bytes": ADDRESS_SPACE * 1024,
        "memory": MEMORY,
    }
    fit = [args.binary, "fit", big, "-o", model, "-d", 128, "--loss", "KL", "--epochs", 3]
    fit += ["--fit-rows", 200_000, "--knn-method", "descent", "--memory", MEMORY]
    result["fit"] = run(fit)
    print(json.dumps(result["fit"], indent=2), flush=True)

    transform = [args.binary, "transform", model, big, "-o", z, "--memory", MEMORY]
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, command in [("cat", ["cat", big]), ("transform", transform)]:
            result["cache_emptied"] = empty_cache()
            for state in ["cold", "warm"]:
                done = run(command, subprocess.DEVNULL)
                rates.setdefault(f"{name}_{state}", []).append(size / done["seconds"])
                print(name, state, done["seconds"], flush=True)
                if name == "transform":
                    result["transform"] = done
    median = {name: statistics.median(values) for name, values in rates.items()}
    result["bytes_per_second"] = {name: round(rate) for name, rate in median.items()}
    result["transform_beside_cat"] = {
        state: round(median[f"transform_{state}"] / median[f"cat_{state}"], 2)
        for state in ["cold", "warm"]
    }
    evaluate = [args.binary, "eval", "--original", big, "--model", model, "--memory", MEMORY]
    result["eval"] = run(evaluate)

    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    print(text)
    (Path(args.results) / "out_of_core.json").write_text(text)


if __name__ == "__main__":
    main()
