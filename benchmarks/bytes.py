"""What keeps most neighbours in so many bytes a row, beside FAISS and other quantisers.

    python benchmarks/bytes.py BINARY WORDNET_FOLDER RESULTS [--set NAME] [--bytes 8 32] [--missing]

Needs the Debian package dataset-fashion-mnist and benchmarks/requirements-knn.txt; the folder holds
train_x.npy and test_x.npy. Neighbours by cosine of 2000 queries, the first of the test rows, none
of which anything is learned from. Two ways: codes are learned on the rows that are searched
(`same`), or on the other half of them (`other`). Cells that are not asked for stay as they are in
bytes.json.

Ours is `fit --bytes B`, then transform and search: what `advise` chose on the rows that it learns
from. A rival is given its stronger score: FAISS's own by inner product of rows at length 1, and
where it has decoded rows also the cosine to these ("cosine"). Its PQ is "np", which leaves out an
order of the codes that only its filter by Hamming distance needs and that takes most of its time.
Bytes count every constant of a row.
Re-ranking 20, 50 or 100 candidates finds the neighbours that are among them. Times are seconds of
processor, of all threads together: what a machine that does other things beside it changes little.
For ours they are of the whole command, advice and judgement with it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common import fashion_mnist, machine, quick_kmeans, unit
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]
# From rows to learn from, rows to search and queries: what is found, by how it is scored, and the
# seconds of processor that learning took.
Rival = Callable[[Rows, Rows, Rows], tuple[dict[str, Ids], float]]

BYTES = [8, 16, 32, 48, 64, 96, 128, 192]
SETS = ["wordnet", "fashion-mnist"]
WAYS = ["same", "other"]
QUERIES, K, CANDIDATES = 2000, 10, [20, 50, 100]
LEARNED_FROM = 65_536
# Additive quantisers take minutes to learn 8 bytes, and the longer the more bytes.
ADDITIVE_UP_TO = 32


def flat(base: Rows, queries: Rows, k: int) -> Ids:
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(base)
    return np.asarray(index.search(queries, k)[1])


def kept(truth: Ids, found: Ids) -> dict[str, Any]:
    """Recall of the first ten, its standard error, and of more candidates once re-ranked."""
    share = [
        [len(np.intersect1d(t, f[:n])) / K for t, f in zip(truth, found, strict=True)]
        for n in [K, *CANDIDATES]
    ]
    return {
        "recall": round(float(np.mean(share[0])), 4),
        "standard_error": round(float(np.std(share[0])) / len(truth) ** 0.5, 4),
        "rescored": {
            str(n): round(float(np.mean(s)), 4) for n, s in zip(CANDIDATES, share[1:], strict=True)
        },
    }


def by_factory(text: str, decodes: bool = True) -> Rival:
    """An index of FAISS, searched by it, and by the cosine to what its codes stand for."""

    def found(learn: Rows, base: Rows, queries: Rows) -> tuple[dict[str, Ids], float]:
        # Signs after ITQ are compared by Hamming distance, which it lists as one of L2.
        metric = faiss.METRIC_L2 if "LSH" in text else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(base.shape[1], text, metric)
        start = time.process_time()
        index.train(learn)
        seconds = time.process_time() - start
        index.add(base)
        scored = {"": np.asarray(index.search(queries, CANDIDATES[-1])[1])}
        if decodes:
            decoded = np.asarray(index.sa_decode(index.sa_encode(base)))
            scored[" cosine"] = flat(unit(decoded), queries, CANDIDATES[-1])
        return scored, seconds

    return found


def truncated(n_bytes: int) -> Rival:
    """The first numbers, as int8 by their ranges."""

    def found(learn: Rows, base: Rows, queries: Rows) -> tuple[dict[str, Ids], float]:
        low, high = learn[:, :n_bytes].min(axis=0), learn[:, :n_bytes].max(axis=0)
        step = np.maximum((high - low) / 255, 1e-12)
        decoded = np.clip(np.round((base[:, :n_bytes] - low) / step), 0, 255) * step + low
        first = queries[:, :n_bytes].copy()
        return {"": flat(unit(decoded.astype(np.float32)), first, CANDIDATES[-1])}, 0.0

    return found


def signs(learn: Rows, base: Rows, queries: Rows) -> tuple[dict[str, Ids], float]:
    """The binary quantisation of databases: signs of both sides, by Hamming distance."""
    packed = [
        np.packbits(np.pad(x > 0, ((0, 0), (0, -x.shape[1] % 8))), axis=1) for x in (base, queries)
    ]
    index = faiss.IndexBinaryFlat(8 * packed[0].shape[1])
    index.add(packed[0])
    return {"": np.asarray(index.search(packed[1], CANDIDATES[-1])[1])}, 0.0


def rotated_levels(bits: int) -> Rival:
    """EDEN and TurboQuant: a random rotation, and the best levels for normal numbers (Lloyd)."""

    def found(learn: Rows, base: Rows, queries: Rows) -> tuple[dict[str, Ids], float]:
        random = np.random.default_rng(0)
        dim = base.shape[1]
        rotation = np.linalg.qr(random.standard_normal((dim, dim)))[0].astype(np.float32)
        normal = np.sort(random.standard_normal(200_000))
        levels = np.quantile(normal, (np.arange(2**bits) + 0.5) / 2**bits)
        for _ in range(100):
            of = np.searchsorted((levels[1:] + levels[:-1]) / 2, normal)
            levels = np.array([normal[of == i].mean() for i in range(len(levels))])
        turned = base @ rotation.T * dim**0.5
        decoded = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, turned)]
        turned_queries = queries @ rotation.T
        return {"": flat(unit(decoded.astype(np.float32)), turned_queries, CANDIDATES[-1])}, 0.0

    return found


def rivals(dim: int, n_bytes: int) -> Iterator[tuple[str, int, Rival]]:
    """Name, bytes of a row, and how it is found."""

    def strings() -> Iterator[str]:
        multiple = dim // n_bytes * n_bytes
        for d in sorted({min(4 * n_bytes, multiple), min(multiple, 512)}):
            if d >= n_bytes:
                yield f"OPQ{n_bytes}_{d},PQ{n_bytes}np"
        if dim % n_bytes == 0:
            yield f"PQ{n_bytes}np"
        if n_bytes <= ADDITIVE_UP_TO:
            yield f"RQ{n_bytes}x8"
            yield f"LSQ{n_bytes}x8"
            yield f"PRQ4x{n_bytes // 4}x8"
        if n_bytes <= dim:
            yield f"PCA{n_bytes},SQ8"
        if 2 * n_bytes <= dim:
            yield f"PCAR{2 * n_bytes},SQ4"

    for text in strings():
        yield text, n_bytes, by_factory(text)
    if dim % (2 * n_bytes) == 0:
        yield f"PQ{2 * n_bytes}x4fs", n_bytes, by_factory(f"PQ{2 * n_bytes}x4fs", decodes=False)
    if 8 * (n_bytes - 8) in range(8, dim + 1):
        text = f"PCAR{8 * (n_bytes - 8)},RaBitQ"
        yield text, n_bytes, by_factory(text, decodes=False)
    if 8 * n_bytes <= dim:
        text = f"ITQ{8 * n_bytes},LSHt"
        yield text, n_bytes, by_factory(text, decodes=False)
    if n_bytes <= dim:
        yield f"truncation to {n_bytes}, int8", n_bytes, truncated(n_bytes)
    if 8 * n_bytes == dim:
        yield "signs, Hamming", n_bytes, signs
    for bits in (1, 2, 4):
        if 8 * n_bytes == bits * dim:
            yield f"EDEN / TurboQuant, {bits} bits", n_bytes, rotated_levels(bits)


def run(*args: object) -> str:
    done = subprocess.run(list(map(str, args)), check=True, capture_output=True, text=True)
    return done.stdout


def processor_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(
    binary: str, folder: Path, n_bytes: int, learn: Rows, base: Rows, queries: Rows
) -> tuple[Ids, dict[str, Any]]:
    for name, rows in (("learn", learn), ("base", base), ("queries", queries)):
        np.save(folder / f"{name}.npy", rows)
    model, codes, found = (folder / n for n in ("m.safetensors", "codes.npy", "found.npy"))
    before = processor_of_children()
    said = run(binary, "fit", folder / "learn.npy", "-o", model, "--bytes", n_bytes)
    seconds = processor_of_children() - before
    step = next(line for line in said.splitlines() if line.startswith("twinlearn transform"))
    flag = step.split("codes.npy", 1)[1].split() if "codes.npy" in step else []
    run(binary, "transform", model, folder / "base.npy", "-o", codes, *flag)
    also = ["--queries", folder / "queries.npy", "-k", CANDIDATES[-1], "-o", found]
    run(binary, "search", model, codes, *also, *flag)
    taken = int(np.load(codes, mmap_mode="r").shape[1])
    inspected = json.loads(run(binary, "inspect", model, "--json"))
    params = inspected["hyperparameters"]
    how = (
        f"{params['solver']} {params['n_components']}, {' '.join(flag)} {params.get('codes') or ''}"
    )
    return np.asarray(np.load(found)), {
        "bytes": taken,
        "processor_seconds": round(seconds, 1),
        "choice": how.strip(),
    }


def rows_of(name: str, wordnet: Path) -> tuple[Rows, Rows]:
    if name == "wordnet":
        x, queries = np.load(wordnet / "train_x.npy"), np.load(wordnet / "test_x.npy")
    else:
        x, queries = fashion_mnist("train")[0], fashion_mnist("t10k")[0]
    return unit(x.astype(np.float32)), unit(queries[:QUERIES].astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--set", choices=SETS, help="this set alone")
    parser.add_argument("--way", choices=WAYS, help="this way alone")
    parser.add_argument("--bytes", type=int, nargs="+", default=BYTES, help="these alone")
    parser.add_argument("--missing", action="store_true", help="what bytes.json lacks")
    parser.add_argument("--only", nargs="+", default=[], help="methods whose names begin so")
    args = parser.parse_args()
    quick_kmeans()
    path = args.results / "bytes.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cells": []}
    version = run(args.binary, "--version").split()[-1]
    record |= {
        "command": "make bench-bytes",
        "machine": machine(),
        "versions": {p: importlib.metadata.version(p) for p in ("faiss-cpu", "numpy")}
        | {"twinlearn": version},
    }
    for name in [args.set] if args.set else SETS:
        x, queries = rows_of(name, args.wordnet)
        half = np.random.default_rng(0).permutation(len(x)) < len(x) // 2
        for way in [args.way] if args.way else WAYS:
            learn, base = (x, x) if way == "same" else (x[half].copy(), x[~half].copy())
            truth = flat(base, queries, K)
            for n_bytes in args.bytes:
                place = {"set": name, "way": way, "budget": n_bytes}

                def told(method: str, cell: dict[str, Any], place: dict[str, Any] = place) -> None:
                    key = place | {"method": method}
                    others = [c for c in record["cells"] if any(c[k] != v for k, v in key.items())]
                    record["cells"] = [*others, key | cell]
                    path.write_text(json.dumps(record, indent=1) + "\n")
                    print(key | cell, flush=True)

                def wanted(method: str, place: dict[str, Any] = place) -> bool:
                    key = place | {"method": method}
                    if args.missing and any(
                        key.items() <= cell.items() for cell in record["cells"]
                    ):
                        return False
                    return not args.only or any(method.startswith(o) for o in args.only)

                if wanted("ours"):
                    with tempfile.TemporaryDirectory() as folder:
                        found, cell = ours(args.binary, Path(folder), n_bytes, learn, base, queries)
                    told("ours", cell | kept(truth, found))
                for method, taken, rival in rivals(x.shape[1], n_bytes):
                    if wanted(method):
                        scored, seconds = rival(learn[:LEARNED_FROM], base, queries)
                        cell = {"bytes": taken, "processor_seconds": round(seconds, 1)}
                        for how, found in scored.items():
                            told(method + how, cell | kept(truth, found))


if __name__ == "__main__":
    main()
