"""Cuts the small data set in data/ out of the full WordNet embeddings.

The rows of the full set are in random order, so the cut is its head: the first 4000 training rows
and the first 1000 test rows, with their classes and texts. Run from the root of the repository:

    python scripts/cut_data.py FOLDER_OF_THE_FULL_SET data
"""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np

ROWS = {"train": 4000, "test": 1000}


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(exist_ok=True)
    for part, n in ROWS.items():
        for kind in ("x", "y"):
            rows = np.load(source / f"{part}_{kind}.npy", mmap_mode="r")[:n]
            np.save(target / f"{part}_{kind}.npy", np.ascontiguousarray(rows))
        with gzip.open(source / f"{part}.txt.gz", "rt", encoding="utf-8") as f:
            texts = [next(f) for _ in range(n)]
        (target / f"{part}.txt").write_text("".join(texts), encoding="utf-8")
    with gzip.open(source / "classes.txt.gz", "rt", encoding="utf-8") as f:
        (target / "classes.txt").write_text(f.read(), encoding="utf-8")
    shutil.copyfile(source / "NOTICE", target / "NOTICE")


if __name__ == "__main__":
    main()
