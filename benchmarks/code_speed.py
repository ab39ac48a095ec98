"""How fast codes are learned, written and searched, beside FAISS: one thread, one process.

    python benchmarks/code_speed.py WORDNET_FOLDER RESULTS

Needs the package of this tree (`make wheel`) and benchmarks/requirements-knn.txt; the folder holds
train_x.npy and test_x.npy. Each side learns once, from the first 20,000 rows; a fit of ours is all
of it, with its closed forms and its product code. Rows that are written and searched are all of
train_x.npy, queries those of test_x.npy, all of length 1 and in memory; ours takes rows of the full
dimension in both, and reduces them within the time that is measured. The sides run in turn, medians
of `ROUNDS`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common import machine, quick_kmeans, unit
from numpy.typing import NDArray
from twinlearn import TLDR

Rows = NDArray[np.float32]
# Learned, then rows to codes, then codes and queries to what is found.
Encode = Callable[[Rows], Any]
Search = Callable[[Any, Rows], NDArray[np.int64]]

ROUNDS, K, LEARNED_FROM = 5, 10, 20_000
# Bytes of a row, and FAISS's name.
FAISS = [
    (16, "OPQ16_64,PQ16np"),
    (32, "OPQ32_128,PQ32np"),
    (32, "PQ32np"),
    (32, "PQ64x4fs"),
    (32, "OPQ64_128,PQ64x4fs"),
    (56, "RaBitQ"),
    (32, "PCAR192,RaBitQ"),
    (64, "PCA128,SQ4"),
]
# Dimensions and bits of our scalar codes, or the groups of product codes.
BITS = [(64, 2), (64, 4), (96, 2), (128, 1), (128, 2), (128, 4), (128, 8)]
PRODUCT = [(64, 16), (96, 24), (128, 32)]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def by_faiss(learn: Rows) -> dict[str, tuple[int, float, Encode, Search]]:
    def side(n_bytes: int, text: str) -> tuple[int, float, Encode, Search]:
        index = faiss.index_factory(learn.shape[1], text, faiss.METRIC_INNER_PRODUCT)
        took, _ = seconds(lambda: index.train(learn))

        def encode(x: Rows) -> Any:
            index.reset()
            index.add(x)
            return index

        return n_bytes, took, encode, lambda codes, q: np.asarray(codes.search(q, K)[1])

    sides = {}
    for n_bytes, text in FAISS:
        sides[text] = side(n_bytes, text)
        print(text, "learned", round(sides[text][1], 1), flush=True)
    return sides


def by_us(learn: Rows) -> dict[str, tuple[int, float, Encode, Search]]:
    def side(
        tldr: TLDR, took: float, n_bytes: int, **code: Any
    ) -> tuple[int, float, Encode, Search]:
        def encode(x: Rows) -> Any:
            return tldr.transform(x, **code)

        return n_bytes, took, encode, lambda codes, q: tldr.search(codes, q, K, **code)

    sides = {}
    for dim, groups in PRODUCT:
        estimator = TLDR(n_components=dim, codes=f"pq:{groups}", n_jobs=1)
        took, tldr = seconds(lambda e=estimator: e.fit(learn))  # type: ignore[misc]
        sides[f"ours, {dim} as pq:{groups}"] = side(tldr, took, groups, codes=True)
    for dim in sorted({dim for dim, _ in BITS}):
        plain = TLDR(n_components=dim, n_jobs=1)
        took, tldr = seconds(lambda e=plain: e.fit(learn))  # type: ignore[misc]
        for of, bits in BITS:
            if of == dim:
                n_bytes = tldr.transform(learn[:1], bits=bits).shape[1]
                sides[f"ours, {dim} at {bits} bits"] = side(tldr, took, n_bytes, bits=bits)
    return sides


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("results", type=Path)
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    quick_kmeans()
    base = unit(np.load(args.wordnet / "train_x.npy").astype(np.float32))
    queries = unit(np.load(args.wordnet / "test_x.npy").astype(np.float32))
    flat = faiss.IndexFlatIP(base.shape[1])
    flat.add(base)
    truth = flat.search(queries, K)[1]
    sides = by_us(base[:LEARNED_FROM]) | by_faiss(base[:LEARNED_FROM])
    times: dict[str, dict[str, list[float]]] = {s: {"encode": [], "search": []} for s in sides}
    recall = {}
    for _ in range(ROUNDS):
        for name, (_, _, encode, search) in sides.items():
            took, codes = seconds(lambda e=encode: e(base))  # type: ignore[misc]
            times[name]["encode"].append(took)
            took, found = seconds(lambda s=search, c=codes: s(c, queries))  # type: ignore[misc]
            times[name]["search"].append(took)
            kept = [len(np.intersect1d(t, f)) / K for t, f in zip(truth, found, strict=True)]
            recall[name] = float(np.mean(kept))
    record = {
        "command": "make bench-code-speed",
        "machine": machine(),
        "versions": {p: importlib.metadata.version(p) for p in ("twinlearn", "faiss-cpu", "numpy")},
        "rows": len(base),
        "dim": base.shape[1],
        "queries": len(queries),
        "learned_from": LEARNED_FROM,
        "sides": [
            {
                "method": name,
                "bytes": n_bytes,
                "recall": round(recall[name], 4),
                "learning_seconds": round(took, 1),
                "rows_per_second": round(len(base) / statistics.median(times[name]["encode"])),
                "queries_per_second": round(
                    len(queries) / statistics.median(times[name]["search"])
                ),
            }
            for name, (n_bytes, took, _, _) in sides.items()
        ],
    }
    path = args.results / "code-speed.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    for row in record["sides"]:
        print(row)


if __name__ == "__main__":
    main()
