"""What going through Python costs: fits and transforms beside the command line, one row beside
scikit-learn's PCA, imports, and how soon Ctrl-C stops a call.

Both sides read the same .npy file and write their result, in turn, with the same threads; the
command line's time is that of its process, Python's that of the calls within a running one.

    python_overhead.py BINARY RESULTS_FOLDER
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import twinlearn
from common import fashion_mnist, machine
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from twinlearn import TLDR

ROUNDS = 3
THREADS = 2


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(sides: dict[str, Callable[[], object]]) -> dict[str, Any]:
    """Medians of `ROUNDS` runs of each side, one after the other, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(ROUNDS + 1):
        for name, work in sides.items():
            took = seconds(work)
            if round_:
                times[name].append(took)
    medians = {name: statistics.median(values) for name, values in times.items()}
    row: dict[str, Any] = {f"{name}_seconds": round(value, 4) for name, value in medians.items()}
    row["ratio"] = round(medians["python"] / medians["command_line"], 4)
    return row


def beside_command_line(binary: str, x: NDArray[np.float32], folder: Path) -> dict[str, Any]:
    source, model, out = folder / "x.npy", folder / "model.safetensors", folder / "z.npy"
    graph = folder / "knn.npy"
    np.save(source, x)
    own = TLDR(n_components=64, loss="KL", n_jobs=THREADS)

    def command(*args: object) -> Callable[[], object]:
        line = [binary, *map(str, args), "--threads", str(THREADS)]
        return lambda: subprocess.run(line, check=True, capture_output=True)

    def fit(knn: Path | None) -> None:
        mapped = np.load(source, mmap_mode="r")
        own.fit(mapped, knn_graph=None if knn is None else np.load(knn)).save(model)

    def transform() -> None:
        np.save(out, TLDR(n_jobs=THREADS).load(model, init=True).transform(np.load(source, "r")))

    options = ("-d", 64, "--loss", "KL")
    results = {
        "fit": in_turn(
            {
                "command_line": command("fit", source, "-o", model, *options),
                "python": lambda: fit(None),
            }
        )
    }
    own.save_knn(graph)
    results["fit with a graph"] = in_turn(
        {
            "command_line": command("fit", source, "-o", model, *options, "--knn", graph),
            "python": lambda: fit(graph),
        }
    )
    results["transform"] = in_turn(
        {"command_line": command("transform", model, source, "-o", out), "python": transform}
    )
    return results


def one_row(dim: int, d: int) -> dict[str, Any]:
    """Median time of a transform of one row, in microseconds, of both in turn."""
    x = np.random.default_rng(0).standard_normal((4000, dim), dtype=np.float32)
    sides = {
        "twinlearn": TLDR(n_components=d, loss="KL", epochs=1, warmup_epochs=0).fit(x),
        "scikit-learn PCA": PCA(d).fit(x),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    row = x[:1]
    for _ in range(3000):
        for name, side in sides.items():
            times[name].append(seconds(partial(side.transform, row)))
    micro = {name: round(1e6 * statistics.median(t), 1) for name, t in times.items()}
    return {"dim": dim, "d": d, "microseconds": micro}


def import_seconds() -> dict[str, float]:
    """How long the imports take in fresh processes: medians of five."""
    code = (
        "import time; a = time.perf_counter(); import numpy, sklearn.base;"
        "import sklearn.utils.validation;"
        "b = time.perf_counter(); import twinlearn; c = time.perf_counter(); print(b - a, c - b)"
    )
    run = [sys.executable, "-c", code]
    both = [
        list(
            map(
                float,
                subprocess.run(run, check=True, capture_output=True, text=True).stdout.split(),
            )
        )
        for _ in range(5)
    ]
    before, ours = (round(statistics.median(times), 4) for times in zip(*both, strict=True))
    return {"numpy and scikit-learn": before, "twinlearn after them": ours}


INTERRUPTED = """
import signal, sys, time, numpy as np
from twinlearn import TLDR
# A shell starts what runs in the background with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
x = np.random.default_rng(0).standard_normal((300_000, 256), dtype=np.float32)
tldr = TLDR(64, loss="KL", epochs=100_000, validation_fraction=0.0, knn_method="exact")
graph = np.arange(len(x))[:, None] ^ np.arange(1, 6)
try:
    if sys.argv[1] == "fit":
        tldr.set_params(callbacks=[lambda r: r["step"] == 20 and print("busy", flush=True)])
        tldr.fit(x, knn_graph=graph)
    else:
        print("busy", flush=True)
        tldr.compute_knn(x)
except KeyboardInterrupt:
    print(time.time(), flush=True)
"""


def interrupt_seconds() -> dict[str, float]:
    """From the signal of Ctrl-C to KeyboardInterrupt, the longest of ten moments."""
    longest = {}
    for what in ("fit", "compute_knn"):
        times = []
        for moment in range(10):
            run = [sys.executable, "-c", INTERRUPTED, what]
            with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(0.25 * moment)
                sent = time.time()
                process.send_signal(signal.SIGINT)
                times.append(float(process.stdout.readline()) - sent)
        longest[what] = round(max(times), 3)
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("results")
    args = parser.parse_args()
    x, _ = fashion_mnist("train")
    with tempfile.TemporaryDirectory() as folder:
        compared = beside_command_line(args.binary, x, Path(folder))
    result = {
        "command": "make bench-python",
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {
            "twinlearn": twinlearn.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "threads": THREADS,
        "rounds": ROUNDS,
        "data": "Fashion-MNIST, 60,000 x 784 float32",
        "beside_command_line": compared,
        "one_row": [one_row(384, 64), one_row(2048, 128)],
        "import_seconds": import_seconds(),
        "interrupt_seconds": interrupt_seconds(),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    (Path(args.results) / "python_overhead.json").write_text(text)


if __name__ == "__main__":
    main()
