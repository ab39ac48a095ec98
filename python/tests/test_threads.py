"""Threads, signals and memory, most of it in processes of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twinlearn import TLDR

DATA = Path(__file__).parents[2] / "data"


def test_ten_threads_get_the_same_bits() -> None:
    x = np.load(DATA / "train_x.npy").astype(np.float32)
    tldr = TLDR(n_components=16, loss="KL", epochs=1, warmup_epochs=0).fit(x)
    want, first = tldr.transform(x), tldr.transform(x[:3])
    start = threading.Barrier(10)

    def work(_: int) -> bool:
        start.wait()
        same = [(tldr.transform(x) == want).all() for _ in range(5)]
        few = [(tldr.transform(x[:3]) == first).all() for _ in range(50)]
        return all(same) and all(few)

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(work, range(10)))


def test_other_threads_run_while_the_engine_works() -> None:
    x = np.load(DATA / "train_x.npy").astype(np.float32)
    steps = 0
    done = threading.Event()

    def count() -> None:
        nonlocal steps
        while not done.is_set():
            steps += 1

    counter = threading.Thread(target=count)
    counter.start()
    before = steps
    TLDR(n_components=16, loss="KL", epochs=2).fit(x)
    during = steps - before
    done.set()
    counter.join()
    # With the GIL held it would stand still but for the moments before and after.
    assert during > 10_000


INTERRUPTED = """
import sys, time, threading, numpy as np
from twinlearn import TLDR
x = np.random.default_rng(0).standard_normal((40_000, 64)).astype(np.float32)
tldr = TLDR(n_components=8, loss="KL", epochs=100_000, validation_fraction=0.0, knn_method="exact")
def say(report):
    if report["step"] == 20:
        print("training", flush=True)
try:
    if sys.argv[1] == "fit":
        graph = np.random.default_rng(0).integers(0, 40_000, (40_000, 5))
        tldr.set_params(callbacks=[say]).fit(x, knn_graph=graph)
    else:
        print("training", flush=True)
        big = np.random.default_rng(0).standard_normal((1_000_000, 64)).astype(np.float32)
        TLDR(n_neighbors=5, knn_method="exact").compute_knn(big)
except KeyboardInterrupt:
    print("interrupted", flush=True)
z = tldr.set_params(epochs=1, warmup_epochs=0, callbacks=None).fit(x[:2000]).transform(x)
print(z.shape)
"""


@pytest.mark.parametrize("what", ["fit", "compute_knn"])
def test_ctrl_c_stops_and_leaves_the_estimator_usable(what: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, what], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    assert rest.split("\n")[:2] == ["interrupted", "(40000, 8)"]
    assert process.returncode == 0


def run(code: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_nothing_is_imported_that_is_not_needed() -> None:
    imported = run(
        "import numpy, sklearn.base, sklearn.utils.validation, sys; before = set(sys.modules);"
        "import twinlearn;"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before})"
    )
    assert set(imported.split()) <= {"twinlearn"} | set(sys.stdlib_module_names)
