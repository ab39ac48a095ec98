"""What tests of files begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from program import ROOT, ROWS, Array, run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    run("fit", ROOT / "data/train_x.npy", "-o", path, "-d", 8, "--epochs", 1, "--loss", "KL")
    return path


@pytest.fixture(scope="session")
def x() -> Array:
    rows: Array = np.load(ROOT / "data/test_x.npy")[:ROWS].astype(np.float32)
    return rows
