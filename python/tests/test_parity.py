"""The package and the program are one: same names, same bits, same results.

The library is held to the same settings by crates/twinlearn-cli/tests/parity.rs.
"""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import BINARY, ROOT, run
from twinlearn import TLDR, _twinlearn, advise, evaluate, knn_graph

X = ROOT / "data/test_x.npy"
SETTINGS: list[dict[str, Any]] = json.loads(
    (ROOT / "crates/twinlearn-cli/tests/fixtures/parity.json").read_text()
)


def flags(settings: dict[str, Any]) -> list[str]:
    """The settings as the program takes them."""
    given = []
    for name, value in settings.items():
        given.append("--" + name.replace("_", "-"))
        if isinstance(value, list):
            given.append(",".join(map(str, value)))
        elif value is not True:
            given.append(str(value))
    return given


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(flags(settings)))
def test_fits_are_the_programs_byte_for_byte(settings: dict[str, Any], tmp_path: Path) -> None:
    named = {"random_state" if name == "seed" else name: v for name, v in settings.items()}
    TLDR(**named).fit(np.load(X)).save(tmp_path / "python.safetensors")
    run("fit", X, "-o", tmp_path / "program.safetensors", *flags(settings))
    made = [(tmp_path / f"{face}.safetensors").read_bytes() for face in ("python", "program")]
    assert made[0] == made[1]


def test_every_hyper_parameter_has_one_name() -> None:
    helped = subprocess.run([BINARY, "fit", "--help"], check=True, capture_output=True, text=True)
    arguments = inspect.signature(TLDR.__init__).parameters
    for name, _, _ in _twinlearn.hyperparameters():
        assert f"--{name.replace('_', '-')} " in helped.stdout.replace("\n", " \n"), name
        assert name in arguments or name == "seed", name


def test_results_are_the_programs(tmp_path: Path) -> None:
    x = np.load(X)
    base, queries = x[:-100], x[-100:]
    np.save(tmp_path / "x.npy", base)
    np.save(tmp_path / "q.npy", queries)
    given = tmp_path / "x.npy"
    run("knn", given, "-k", "7", "--metric", "l2", "-o", tmp_path / "knn.npy")
    assert np.array_equal(np.load(tmp_path / "knn.npy"), knn_graph(base, 7, "l2"))

    tldr = TLDR(n_components=8, epochs=2).fit(base)
    tldr.save(tmp_path / "m.safetensors")
    run("transform", tmp_path / "m.safetensors", given, "-o", tmp_path / "z.npy")
    assert np.array_equal(np.load(tmp_path / "z.npy"), tldr.transform(base))

    also = ["--queries", tmp_path / "q.npy", "--json", tmp_path / "eval.json"]
    run("eval", "--original", given, "--model", tmp_path / "m.safetensors", *also)
    found = evaluate(base, {"m.safetensors": tldr}, queries=queries)
    assert json.loads((tmp_path / "eval.json").read_text()) == json.loads(found.to_json())

    run(
        "eval",
        "--original",
        given,
        "--model",
        tmp_path / "m.safetensors",
        *also,
        "--bits",
        "1",
        "--rescore",
        "50",
    )
    found = evaluate(base, {"m.safetensors": tldr}, queries=queries, bits=1, rescore=50)
    assert json.loads((tmp_path / "eval.json").read_text()) == json.loads(found.to_json())

    run("advise", given, "--json", tmp_path / "advise.json")
    assert json.loads((tmp_path / "advise.json").read_text()) == json.loads(advise(base).to_json())

    run("advise", given, "--bytes", "8", "--rescore", "30", "--json", tmp_path / "advise.json")
    advised = advise(base, bytes=8, rescore=30)
    assert json.loads((tmp_path / "advise.json").read_text()) == json.loads(advised.to_json())
    # A fit in so many bytes is the one that is advised.
    run("fit", given, "-o", tmp_path / "m8.safetensors", "--bytes", "8", "--rescore", "30")
    TLDR(**(advised.params or {})).fit(base).save(tmp_path / "p8.safetensors")
    made = [(tmp_path / f"{name}8.safetensors").read_bytes() for name in "mp"]
    assert made[0] == made[1]
