"""scikit-learn's contract: its own checks, and what pipelines do with an estimator."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from twinlearn import TLDR

DATA = Path(__file__).parents[2] / "data"


# Their data have as few as 2 features.
@pytest.mark.filterwarnings("ignore:n_components. lowered from 32 to")
@pytest.mark.filterwarnings("ignore:encoder. mlp-1-16 (with norm_layer BN cannot begin|is not)")
@parametrize_with_checks(
    expected_failed_checks=lambda estimator: (
        {}
        if estimator.recipe == "reference"
        else {"check_estimators_dtypes": "its integers have a row of zeros, which has no cosine"}
    ),
    estimators=[
        TLDR(),
        TLDR(loss="KL", encoder="mlp-1-16"),
        TLDR(recipe="reference", epochs=2, warmup_epochs=1, projector="mlp-1-32"),
    ],
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore:n_components. lowered from 32 to")
def test_scikit_learns_own_checks_pass_whole_by_distance() -> None:
    check_estimator(TLDR(metric="l2"))


@pytest.fixture(scope="module")
def x() -> Any:
    return np.load(DATA / "train_x.npy")[:600].astype(np.float32)


@pytest.fixture(scope="module")
def fitted(x: Any) -> TLDR:
    return TLDR(n_components=8, loss="KL", epochs=3).fit(x)


def test_search_over_a_pipeline() -> None:
    x, y = np.load(DATA / "train_x.npy")[:900], np.load(DATA / "train_y.npy")[:900]
    common = np.isin(y, np.flatnonzero(np.bincount(y) > 20))
    x, y = x[common], y[common]
    pipeline = make_pipeline(TLDR(loss="KL", epochs=2), KNeighborsClassifier(metric="cosine"))
    search = GridSearchCV(pipeline, {"tldr__n_components": [1, 16]}, cv=2, n_jobs=2).fit(x, y)
    assert search.best_params_ == {"tldr__n_components": 16}
    assert search.predict(x).shape == y.shape


def test_frames_out(fitted: TLDR, x: Any) -> None:
    names = [f"tldr{i}" for i in range(8)]
    assert list(fitted.get_feature_names_out()) == names
    want = fitted.transform(x)
    tldr = copy.deepcopy(fitted)
    frame = tldr.set_output(transform="pandas").transform(x)
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == names
    assert frame.dtypes.eq(np.float32).all() and (frame.to_numpy() == want).all()
    frame = tldr.set_output(transform="polars").transform(x)
    assert isinstance(frame, pl.DataFrame) and frame.columns == names
    assert (frame.to_numpy() == want).all()


def test_names_in(x: Any) -> None:
    frame = pd.DataFrame(x[:, :6], columns=list("abcdef"))
    tldr = TLDR(n_components=2, loss="KL", epochs=1, warmup_epochs=0).fit(frame)
    assert list(tldr.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names should match"):
        tldr.transform(frame.rename(columns={"a": "z"}))


def test_linear_encoders_show_their_map(fitted: TLDR, x: Any) -> None:
    assert fitted.components_.shape == (8, 384) and fitted.mean_.shape == (384,)
    want = (x - fitted.mean_.astype(np.float64)) @ fitted.components_.T
    np.testing.assert_allclose(fitted.transform(x), want, atol=2e-5)
    mlp = TLDR(n_components=8, encoder="mlp-1-32", loss="KL", epochs=1, warmup_epochs=0).fit(x)
    assert not hasattr(mlp, "components_") and not hasattr(mlp, "mean_")


def test_copies_are_the_same_model(fitted: TLDR, x: Any) -> None:
    want = fitted.transform(x)
    stored = pickle.dumps(fitted)
    for other in (pickle.loads(stored), copy.deepcopy(fitted)):
        assert (other.transform(x) == want).all()
        assert other.get_params() == fitted.get_params()
        assert other.loss_curve_ == fitted.loss_curve_
    # The weights travel as a model file.
    assert b"schema_version" in stored
    with pytest.raises(NotFittedError):
        clone(fitted).transform(x)


def test_fitting_again_is_the_same_fit(fitted: TLDR, x: Any) -> None:
    again = clone(fitted).set_params(n_jobs=1).fit(x)
    assert (again.transform(x) == fitted.transform(x)).all()
    other = clone(fitted).set_params(random_state=1).fit(x)
    assert (other.transform(x) != fitted.transform(x)).any()
    state = np.random.RandomState(3)
    drawn = clone(fitted).set_params(random_state=state).fit(x)
    named = clone(fitted).set_params(random_state=np.random.RandomState(3)).fit(x)
    assert (drawn.transform(x) == named.transform(x)).all()


def test_a_subset_is_reduced_as_the_whole(fitted: TLDR, x: Any) -> None:
    whole = fitted.transform(x)
    assert (fitted.transform(x[17:18]) == whole[17:18]).all()
    assert (fitted.transform(x[100:399]) == whole[100:399]).all()
