"""Estimators written to files, pickles and folders of runs, and what is read from them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import twinlearn
from program import ROOT
from sklearn.exceptions import NotFittedError
from twinlearn import TLDR, TwinlearnError, _twinlearn

SMALL: dict[str, Any] = {"n_components": 4, "loss": "KL", "epochs": 3, "batch_size": 64}


@pytest.fixture(scope="module")
def x() -> Any:
    return np.load(ROOT / "data/train_x.npy")[:500].astype(np.float32)


@pytest.fixture(scope="module")
def fitted(x: Any) -> TLDR:
    return TLDR(**SMALL).fit(x)


def test_a_loaded_model_is_gone_on_from_with_its_own_settings(x: Any, tmp_path: Path) -> None:
    first = TLDR(n_components=6, tau=0.07, centre_target=True, whiten=0.25, metric="ip", epochs=1)
    first.fit(x).save(tmp_path / "m")
    second = TLDR(init="model", epochs=1).load(tmp_path / "m").fit(x)
    second.save(tmp_path / "n")
    made = _twinlearn.Model.load(tmp_path / "n").params()
    assert (made["n_components"], made["tau"], made["metric"]) == (6, 0.07, "ip")
    assert (made["centre_target"], made["whiten"], made["init"]) == (True, 0.25, "model")


def test_files(fitted: TLDR, x: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    other = TLDR(n_components=4).load(path)
    assert (other.transform(x) == fitted.transform(x)).all()
    assert other.n_steps_ == fitted.n_steps_ and other.n_features_in_ == 384
    with pytest.raises(TwinlearnError, match=r"n_components: expected 32 \(or init=True\), got 4"):
        TLDR(n_components=32).load(path)
    assert (TLDR().load(path).transform(x) == fitted.transform(x)).all()
    with pytest.raises(FileNotFoundError, match=r"cannot read.*absent"):
        TLDR().load(tmp_path / "absent")
    (tmp_path / "other").write_bytes(b"pickle")
    with pytest.raises(TwinlearnError, match="expected a twinlearn model"):
        TLDR().load(tmp_path / "other")
    with pytest.raises(NotFittedError):
        TLDR().save(tmp_path / "unfitted")


def test_going_on_from_a_model(x: Any, fitted: TLDR, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    tldr = TLDR(**SMALL, learning_rate=1e-9, init="model").load(tmp_path / "m")
    tldr.fit(x)
    np.testing.assert_allclose(tldr.transform(x), fitted.transform(x), atol=1e-4)
    with pytest.raises(TwinlearnError, match="init: expected a fitted or loaded estimator"):
        TLDR(**SMALL, init="model").fit(x)


def test_a_broken_run_goes_on_with_the_same_bits(x: Any, fitted: TLDR, tmp_path: Path) -> None:
    def fail(report: dict[str, Any]) -> None:
        if report["step"] == 10:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        TLDR(**SMALL, output_folder=tmp_path, callbacks=[fail]).fit(x)
    tldr = TLDR(**SMALL, output_folder=tmp_path, resume=True, n_jobs=1).fit(x)
    assert (tldr.transform(x) == fitted.transform(x)).all()
    assert (
        TLDR(n_components=4).load(tmp_path / "final.safetensors").transform(x)
        == fitted.transform(x)
    ).all()


def test_pickles_hold_the_model_but_not_the_graph_of_its_rows() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 8)).astype("f4")
    tldr = TLDR(n_components=2, epochs=1).fit(x)
    dumped = pickle.dumps(tldr)
    assert len(dumped) < 50_000
    assert (pickle.loads(dumped).transform(x) == tldr.transform(x)).all()
    # One that was computed for the next fit goes along.
    ahead = TLDR(n_neighbors=3).compute_knn(x)
    assert (pickle.loads(pickle.dumps(ahead)).get_knn() == ahead.get_knn()).all()


@pytest.mark.parametrize("name", ["m.pkl", "m.npy", "m.PT"])
def test_the_name_of_a_model_says_what_it_is(name: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((120, 8)).astype("f4")
    tldr = TLDR(n_components=2, epochs=1).fit(x)
    with pytest.raises(TwinlearnError, match=r"a name that ends in \.safetensors"):
        tldr.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_model_is_saved_into_a_folder_that_is_made_and_loaded(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((200, 8)).astype("f4")
    tldr = TLDR(n_components=2, encoder="mlp-1-8", epochs=1).fit(x)
    path = tmp_path / "models" / "new" / "m.safetensors"
    tldr.save(path)
    loaded = twinlearn.load(path)
    assert (loaded.transform(x) == tldr.transform(x)).all()
    assert loaded.n_components == 2


def test_a_model_is_loaded_by_the_class_too(x: Any, fitted: TLDR, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    loaded = TLDR.load(path)
    assert type(loaded) is TLDR
    assert (loaded.transform(x) == fitted.transform(x)).all()
    with pytest.raises(TwinlearnError, match="n_components: expected 3"):
        TLDR(n_components=3).load(path)
