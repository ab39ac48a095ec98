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
import signal, sys, time, threading, numpy as np
from twinlearn import TLDR
# A shell starts what runs in the background with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
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


def run(code: str, *arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


MAPPED = r"""
import re, sys
from pathlib import Path
import numpy as np
from twinlearn import TLDR

def resident():
    # Not ru_maxrss, in which the process that started this one has a share.
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024

x = np.load(sys.argv[1], mmap_mode="r")
graph = np.arange(len(x))[:, None] ^ 1
before = resident()
stop = lambda report: report["step"] == 20
tldr = TLDR(n_components=8, n_neighbors=1, loss="KL", init="random", callbacks=[stop])
z = tldr.fit(x, knn_graph=graph).transform(x)
grown = resident() - before
assert (z[-100:] == tldr.transform(np.array(x[-100:]))).all()
print(grown)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is resident")
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_mapped_files_do_not_fill_memory(dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, 1024)).astype(dtype)
    path = tmp_path / "x.npy"
    shape = ((1200 << 20) // rows.nbytes * 1000, 1024)
    x = np.lib.format.open_memmap(path, "w+", dtype, shape)  # type: ignore[no-untyped-call]
    for block in range(0, len(x), 1000):
        x[block : block + 1000] = rows
    x.flush()
    del x
    # What may stay is 256 MiB; the file has more than a gigabyte.
    assert int(run(MAPPED, str(path))) < 800 << 20


def test_nothing_is_imported_that_is_not_needed() -> None:
    imported = run(
        "import numpy, sklearn.base, sklearn.utils.validation, sys; before = set(sys.modules);"
        "import twinlearn;"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before})"
    )
    assert set(imported.split()) <= {"twinlearn"} | set(sys.stdlib_module_names)
