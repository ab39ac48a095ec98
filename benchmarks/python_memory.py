"""A mapped file of half-precision vectors, larger than it may use memory, fitted from Python.

The file is made by big_file.py from the given rows and removed afterwards. Resident memory is the
peak that the system tells of the fitting process, interpreter and libraries included.

    python_memory.py X.npy RESULTS_FOLDER
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from big_file import write
from common import machine

ROWS, DIM = 1_000_000, 2048

FIT = r"""
import json, re, sys, time
from pathlib import Path
import numpy as np
from twinlearn import TLDR

x = np.load(sys.argv[1], mmap_mode="r")
start = time.perf_counter()
stop = lambda report: report["step"] == 200
tldr = TLDR(n_components=64, loss="KL", callbacks=[stop], memory=700_000_000).fit(x)
seconds = time.perf_counter() - start
z = tldr.transform(x[:100_000])
# Not ru_maxrss, in which the process that started this one has a share.
peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({"seconds": round(seconds, 1), "steps": tldr.n_steps_, "peak_bytes": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("x")
    parser.add_argument("results")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.npy"
        write(np.load(args.x).astype(np.float32), str(path), ROWS, DIM)
        size = path.stat().st_size
        run = [sys.executable, "-c", FIT, str(path)]
        out = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
    result = {
        "command": "make bench-python",
        "machine": machine(),
        "python": platform.python_version(),
        "data": f"{ROWS:,} x {DIM} float16, memory-mapped",
        "file_bytes": size,
        **json.loads(out),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    (Path(args.results) / "python_memory.json").write_text(text)


if __name__ == "__main__":
    main()
