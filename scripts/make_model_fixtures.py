"""Records what models of the current schema version give, for the tests of later versions.

Run once with each new schema version: python scripts/make_model_fixtures.py BINARY VERSION
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "crates/twinlearn/tests/fixtures"
MODELS = {
    "linear": ["-d", "4", "--loss", "KL", "--epochs", "2"],
    "flinear": [
        *["-d", "3", "--encoder", "flinear-1-8", "--norm-layer", "LN", "--epochs", "2"],
        *["--projector", "mlp-1-8", "--retain-projector"],
    ],
}


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def main() -> None:
    binary, version = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        rows, reduced = Path(folder, "x.npy"), Path(folder, "z.npy")
        np.save(rows, np.load(ROOT / "data/test_x.npy")[:5])
        for name, options in MODELS.items():
            model = FIXTURES / f"model_v{version}_{name}.safetensors"
            run(binary, "fit", ROOT / "data/train_x.npy", "-o", model, *options)
            run(binary, "transform", model, rows, "-o", reduced)
            outputs[name] = np.load(reduced).astype(float).round(7).tolist()
    text = json.dumps(outputs) + "\n"
    (FIXTURES / f"model_v{version}.json").write_text(text)


main()
