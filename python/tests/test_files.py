"""The files that the command line writes, read by the libraries their users have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import ROOT, run
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TRAIN = ROOT / "data" / "train_x.npy"
TEST = ROOT / "data" / "test_x.npy"


def arrays(path: Path) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    with safe_open(path, framework="numpy") as f:  # type: ignore[no-untyped-call]
        named = {name: f.get_tensor(name).astype(np.float64) for name in f.keys()}  # noqa: SIM118
        return named, json.loads(f.metadata()["twinlearn"])


def distances(q: NDArray[Any], x: NDArray[Any], metric: str) -> NDArray[np.float64]:
    q, x = q.astype(np.float64), x.astype(np.float64)
    if metric == "cosine":
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    products: NDArray[np.float64] = q @ x.T
    if metric == "l2":
        squares: NDArray[np.float64] = np.square(q).sum(1)[:, None] + np.square(x).sum(1)
        return squares - 2 * products
    return -products


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_knn_equals_numpy(tmp_path: Path, metric: str, dtype: type) -> None:
    x = (np.load(TRAIN)[:1500].astype(np.float64) * np.linspace(0.5, 2, 1500)[:, None]).astype(
        dtype
    )
    np.save(tmp_path / "x.npy", x)
    run("knn", tmp_path / "x.npy", "-k", 8, "-o", tmp_path / "knn.npy", "--metric", metric)
    found = np.load(tmp_path / "knn.npy")
    assert found.dtype == np.int64 and found.shape == (1500, 8)
    # The vectors are read as float32.
    d = distances(x.astype(np.float32), x.astype(np.float32), metric)
    np.fill_diagonal(d, np.inf)
    best = np.sort(d, axis=1)[:, :8]
    np.testing.assert_allclose(np.take_along_axis(d, found, 1), best, rtol=0, atol=1e-12)


def test_a_linear_model_is_one_product(tmp_path: Path) -> None:
    model, out = tmp_path / "m.safetensors", tmp_path / "z.npy"
    run("fit", TEST, "-o", model, "-d", 24, "--projector", "mlp-1-64", "--epochs", 2)
    run("transform", model, TRAIN, "-o", out)
    named, metadata = arrays(model)
    ends = [f"{of}ranges.{end}" for of in ["", "unit_"] for end in ["high", "low"]]
    codes = ["codes.centre", "codes.lengths"]
    assert sorted(named) == [*codes, "encoder.0.bias", "encoder.0.weight", *ends]
    assert metadata["schema_version"] == 4 and metadata["n_features"] == 384
    z = np.load(out)
    assert z.dtype == np.float32 and z.flags["C_CONTIGUOUS"]
    want = np.load(TRAIN).astype(np.float64) @ named["encoder.0.weight"].T + named["encoder.0.bias"]
    np.testing.assert_allclose(z, want, atol=1e-5 * np.abs(want).max())


def test_an_mlp_model_is_its_layers_in_evaluation_mode(tmp_path: Path) -> None:
    model, out = tmp_path / "m.safetensors", tmp_path / "z.npy"
    spec = ["--encoder", "mlp-1-32", "--projector", "mlp-1-64", "--epochs", 2, "--retain-projector"]
    run("fit", TEST, "-o", model, "-d", 8, *spec)
    run("transform", model, TRAIN, "-o", out)
    w, metadata = arrays(model)
    assert metadata["has_projector"] and w["projector.1.weight"].shape == (64, 64)
    h = np.load(TRAIN).astype(np.float64) @ w["encoder.0.weight"].T
    h = (h - w["encoder.0.norm.running_mean"]) / np.sqrt(w["encoder.0.norm.running_var"] + 1e-5)
    h = np.maximum(h * w["encoder.0.norm.weight"] + w["encoder.0.norm.bias"], 0)
    want = h @ w["encoder.1.weight"].T
    np.testing.assert_allclose(np.load(out), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_pca_start_is_numpys_pca(tmp_path: Path, metric: str) -> None:
    """A vanishing learning rate leaves the start in the model."""
    model = tmp_path / "m.safetensors"
    run(
        "fit",
        TEST,
        "-o",
        model,
        "-d",
        6,
        "--projector",
        "mlp-1-8",
        "--epochs",
        1,
        "--learning-rate",
        1e-30,
        "--pca-power",
        1,
        "--validation-fraction",
        0,
        "--metric",
        metric,
    )
    named, _ = arrays(model)
    z = np.load(TEST).astype(np.float64) @ named["encoder.0.weight"].T + named["encoder.0.bias"]
    # Cosines are about the origin, which stays.
    off = named["encoder.0.bias"] if metric == "cosine" else z.mean(0)
    np.testing.assert_allclose(off, 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(6), atol=1e-4)
    x = np.load(TEST).astype(np.float64)
    _, _, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    own = named["encoder.0.weight"] / np.linalg.norm(named["encoder.0.weight"], axis=1)[:, None]
    np.testing.assert_allclose(np.abs((own * axes[:6]).sum(1)), 1, atol=1e-4)


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    events, log = tmp_path / "events", tmp_path / "log.jsonl"
    args = ("--loss", "KL", "-d", 8, "--epochs", 3, "--tensorboard", events, "--log", log)
    run("fit", TEST, "-o", tmp_path / "m.safetensors", *args)
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    told = EventAccumulator(str(events))
    told.Reload()
    losses = told.Scalars("step/loss")
    assert [event.step for event in losses] == [step["step"] for step in steps]
    wanted = [np.float32(step["loss"]) for step in steps]
    assert [np.float32(event.value) for event in losses] == wanted
    recalls = told.Scalars("epoch/recall")
    assert [event.step for event in recalls] == [7, 14, 21]
    assert all(0 < event.value < 1 for event in recalls)


def test_checkpoints_are_arrays_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run("fit", TEST, "-d", 8, "--loss", "KL", "--epochs", 2, "--output-folder", folder)
    named, metadata = arrays(folder / "latest.safetensors")
    assert named["training.encoder.0.weight"].shape == (8, 384)
    assert named["best.encoder.0.weight"].shape == (8, 384)
    # First and second moments of the weight, which has no bias beside it, and of the loss's scale.
    assert [named[f"optimizer.{i}"].shape[0] for i in range(4)] == [3072, 3072, 1, 1]
    assert named["mean.0.weight"].shape == (8, 384)
    assert metadata["state"]["progress"]["epoch"] == 2
    assert np.load(folder / "knn.npy").shape == (1000, 64)
