"""`evaluate` and `advise` as users call them; their figures are tested in the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier
from twinlearn import TLDR, Estimate, TwinlearnError, advise, evaluate

DATA = Path(__file__).parents[2] / "data"
X, Q = (np.load(DATA / f"{part}_x.npy").astype(np.float32) for part in ("train", "test"))
Y, QY = (np.load(DATA / f"{part}_y.npy") for part in ("train", "test"))


@pytest.fixture(scope="module")
def fitted() -> TLDR:
    return TLDR(n_components=16, loss="KL", epochs=2).fit(X)


def test_estimators_and_their_rows_are_judged_alike(fitted: TLDR) -> None:
    z, qz = fitted.transform(X), fitted.transform(Q)
    found = evaluate(
        X,
        {"estimator": fitted, "rows": z},
        queries=Q,
        reduced_queries={"rows": qz},
        labels=Y,
        query_labels=QY,
        baselines=False,
    )
    by_model, by_rows = found["estimator"], found["rows"]
    for name in ("recall", "accuracy", "trustworthiness", "continuity", "effective_rank"):
        assert isinstance(by_model[name], Estimate)
        assert by_model[name] == by_rows[name]
        assert by_model[name].low <= by_model[name].high
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, qz)]
    votes = KNeighborsClassifier(10).fit(unit[0], Y).score(unit[1], QY)
    assert by_model["accuracy"].value == pytest.approx(votes, abs=2e-3)
    assert [m["name"] for m in found.methods] == ["full vectors", "estimator", "rows"]
    assert repr(found).startswith("method ") and "recall@10 [95 %]" in repr(found)
    assert json.loads(found.to_json())["n_queries"] == 1000
    with pytest.raises(
        KeyError, match="expected one of full vectors f32, estimator f32, rows f32, got no"
    ):
        found["no"]


def test_classes_and_judgements_of_any_kind(fitted: TLDR) -> None:
    z, qz = fitted.transform(X), fitted.transform(Q)
    names, query_names = Y.astype(str), QY.astype(str)
    qrels = np.array([[0, 5, 2], [1, 7, 1]])
    given: dict[str, Any] = {"queries": Q, "reduced_queries": qz, "baselines": False}
    by_number = evaluate(X, z, labels=Y, query_labels=QY, qrels=qrels, **given)
    by_name = evaluate(
        pd.DataFrame(X),
        pd.DataFrame(z),
        labels=names,
        query_labels=query_names,
        qrels={0: {5: 2}, 1: {7: 1}},
        **given,
    )
    assert by_number["reduced"]["ndcg_at_10"] == by_name["reduced"]["ndcg_at_10"]
    # Ties between classes go to the smaller one, and names have another order.
    gap = by_number["reduced"]["accuracy"].value - by_name["reduced"]["accuracy"].value
    assert abs(gap) < 0.03
    two = evaluate(X, z, qrels=qrels[:, :2], **given)
    assert two["reduced"]["recall_at_100"] == by_number["reduced"]["recall_at_100"]


@pytest.mark.parametrize("asked", [{"bytes": 200}, {"keep": 0.2}, {"bytes": 8}])
def test_advice_gives_arguments_whatever_it_chose(asked: dict[str, Any]) -> None:
    params = advise(X[:600], **asked).params
    assert params is None or TLDR(**params).fit(X[:600]).n_components == params["n_components"]


def test_reduced_queries_need_queries(fitted: TLDR) -> None:
    with pytest.raises(TwinlearnError, match="reduced_queries: expected None without queries"):
        evaluate(X, fitted, reduced_queries=fitted.transform(Q))


def test_baselines_are_beside_it(fitted: TLDR) -> None:
    found = evaluate(X, fitted, curves=True, n_queries=200)
    names = {m["name"] for m in found.methods if m["kind"] == "baseline"}
    assert {"truncation", "random projection", "PCA", "PCA uncentred γ=0.1", "spectral"} < names
    assert {curve["name"] for curve in found.curves} >= {"PCA", "spectral", "truncation"}
    assert found.metric == "cosine" and found.n_queries == 200
    # The same at any number of threads.
    assert evaluate(X, fitted, curves=True, n_queries=200, n_jobs=1).to_json() == found.to_json()


def test_advice() -> None:
    x = np.random.default_rng(0).standard_normal((600, 24))
    x[:, 6:] *= 1e-5
    found = advise(x, 0.9)
    assert (found.verdict, found.pca_n_components) == ("pca-is-enough", 6)
    low, high = found.pca_n_components_interval or []
    assert 4 <= low <= 6 <= high <= 7
    # A byte or less for each of six numbers, and perhaps a length.
    assert found.choice and found.reduced_bytes_per_vector == found.choice["bytes_per_vector"] <= 8
    assert f"in {found.reduced_bytes_per_vector} bytes a row (" in found.sentence
    assert repr(found).endswith("MB less for 600 rows.")
    assert found.curves[0]["points"][0]["recall"].value > 0


def test_advice_on_bytes() -> None:
    found = advise(X, bytes=16, rescore=50, n_queries=300)
    assert found.bytes == 16 and found.keep is None and found.candidates == 50
    assert found.choice and found.choice["bytes_per_vector"] <= 16
    assert found.choice["recall"].value > 0.8 and found.choice["behind"] is None
    assert {choice["method"] for choice in found.choices} == {"TLDR", "PCA", "full vectors"}
    assert TLDR(**(found.params or {})).n_components == found.choice["n_components"]
    assert "after 50 candidates are put in order" in found.sentence
    with pytest.raises(TwinlearnError, match="bytes: expected at least 1 a row, got 0"):
        advise(X, bytes=0)
    with pytest.raises(TwinlearnError, match=r"keep: expected None beside bytes, got 0\.5"):
        advise(X, 0.5, bytes=8)
    with pytest.raises(TwinlearnError, match="rescore: expected a number from n_neighbors"):
        advise(X, bytes=8, rescore=5)


def test_codes_are_judged(fitted: TLDR) -> None:
    found = evaluate(X, fitted, queries=Q, bits=1, rescore=50)
    formats = [(m["name"], m["format"], m["bytes_per_vector"]) for m in found.methods]
    d = int(fitted.n_components or 0)
    assert formats[:4] == [
        ("full vectors", "f32", 1536),
        ("reduced", "sq1", d // 8),
        ("reduced", "Hamming", d // 8),
        ("reduced", "int8", d),
    ]
    assert ("full vectors", "signs", 48) in formats and found.candidates == 50
    assert all(m["rescored"].value >= m["recall"].value for m in found.methods)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"labels": Y[:-1]}, "labels: expected 4000 labels, one for each row, got 3999"),
        ({"queries": Q}, "reduced: expected 1000 queries, as the original has, got no"),
        ({"qrels": np.zeros((2, 3), int)}, "qrels: expected queries that they belong to, got none"),
        ({"qrels": np.zeros(3)}, "qrels: expected whole numbers in rows of query, row, relevance"),
        ({"n_neighbors": -1}, "n_neighbors: expected a whole number from 0, got -1"),
    ],
)
def test_what_does_not_fit_is_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(TwinlearnError, match=message):
        evaluate(X, X[:, :8], **kwargs)
    with pytest.raises(TwinlearnError, match="keep: expected a share between 0 and 1, got 2"):
        advise(X, 2)
