"""The estimator: the original's interface, ours beside it, and what it is worth."""

from __future__ import annotations

import inspect
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import twinlearn
from program import BINARY
from sklearn.decomposition import PCA
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.neighbors import NearestNeighbors
from twinlearn import TLDR, TwinlearnError, _twinlearn
from twinlearn._twinlearn import resolve

DATA = Path(__file__).parents[2] / "data"
SMALL: dict[str, Any] = {"n_components": 4, "loss": "KL", "epochs": 3, "batch_size": 64}


@pytest.fixture(scope="module")
def x() -> Any:
    return np.load(DATA / "train_x.npy")[:500].astype(np.float32)


@pytest.fixture(scope="module")
def fitted(x: Any) -> TLDR:
    return TLDR(**SMALL).fit(x)


def recall(before: tuple[Any, Any], after: tuple[Any, Any]) -> float:
    """recall@10: queries and base, before and after."""

    def neighbours(queries: Any, base: Any) -> Any:
        search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(base)
        return search.kneighbors(queries, return_distance=False)

    pairs = zip(neighbours(*before), neighbours(*after), strict=True)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in pairs]))


def test_the_originals_readme(tmp_path: Path) -> None:
    """Its steps, with the import changed and fewer rows."""
    x = np.random.default_rng(0).random((1000, 64))
    tldr = TLDR(n_components=32, encoder="linear", projector="mlp-1-128", device="cpu")
    assert tldr.fit(x, epochs=3, batch_size=200, output_folder=tmp_path, print_every=2) is tldr
    z = tldr.transform(x, l2_norm=True)
    assert z.shape == (1000, 32) and z.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)

    tldr.save(tmp_path / "model.pth")
    other = TLDR()
    other.load(tmp_path / "model.pth", init=True)
    assert (other.transform(x, l2_norm=True) == z).all()

    tldr.save_knn(tmp_path / "knn.npy")
    other = TLDR(n_components=32, projector="mlp-1-128", epochs=3, batch_size=200)
    other.load_knn(tmp_path / "knn.npy")
    assert (other.fit(x).transform(x, l2_norm=True) == z).all()
    other.fit(x, knn_graph=np.load(tmp_path / "knn.npy"))
    assert (other.transform(x, l2_norm=True) == z).all()
    other.fit(x, knn_graph=str(tmp_path / "knn.npy"))
    assert (other.transform(x, l2_norm=True) == z).all()


def test_the_reference_recipe_is_the_originals() -> None:
    own = {"recipe": "reference", "projector": "mlp-1-2048"}
    params = resolve(own)
    want = {
        "n_components": 32,
        "encoder": "linear",
        "projector": "mlp-1-2048",
        "n_neighbors": 5,
        "knn_approximation": None,
        "batch_size": 1024,
        "scale_loss": 1 / 32,
        "lambd": 3.9e-3,
        "epochs": 100,
        "learning_rate": 0.2,
        "warmup_epochs": 10,
        "norm_layer": "BN",
        "loss": "BT",
        "gaussian": False,
    }
    assert {name: params[name] for name in want} == want
    tldr = TLDR(recipe="reference")
    assert {name for name in want if getattr(tldr, name) not in (want[name], None)} == set()


# Barlow Twins is about level with PCA on these few rows.
@pytest.mark.parametrize(("loss", "ahead"), [("BT", -0.005), (None, 0.02)])
def test_as_many_neighbours_are_kept_as_by_pca_or_more(loss: str | None, ahead: float) -> None:
    x, q = (np.load(DATA / f"{name}_x.npy").astype(np.float32) for name in ("train", "test"))
    tldr = TLDR(n_components=16, loss=loss).fit(x)
    ours = recall((q, x), (tldr.transform(q), tldr.transform(x)))
    pca = PCA(16).fit(x)
    theirs = recall((q, x), (pca.transform(q), pca.transform(x)))
    weight, bias = twinlearn.pca(x, 16)
    same = recall((q, x), (q @ weight.T + bias, x @ weight.T + bias))
    assert abs(same - theirs) < 0.003
    assert ours > theirs + ahead
    assert tldr.validation_ is not None
    # It is of other rows than those by which the best step was chosen.
    assert tldr.validation_["recall"] >= tldr.validation_["start_recall"] - 0.01
    gain = tldr.validation_["gain"]
    assert gain["low"] <= gain["value"] <= gain["high"]


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_rows_far_from_the_origin_lose_nothing_under_l2(offset: float) -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((30, 32))
    near = centres[rng.integers(30, size=1200)] + 0.5 * rng.standard_normal((1200, 32))
    x = near + offset
    tldr = TLDR(n_components=8, metric="l2").fit(x)
    z = tldr.transform(x)

    def lists(rows: Any) -> Any:
        search = NearestNeighbors(n_neighbors=10).fit(rows)
        return search.kneighbors(return_distance=False)

    hits = [len(set(a) & set(b)) for a, b in zip(lists(near), lists(z), strict=True)]
    assert np.mean(hits) / 10 > 0.3


def test_pca_keeps_small_axes_beside_a_large_one() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    base = (rng.standard_normal((1000, 64)) * np.arange(1, 65) ** -1.0) @ turn
    direction = rng.standard_normal((1, 64))
    x = (base + 1000 * np.sign(rng.standard_normal((1000, 1))) * direction).astype(np.float32)
    weight, _ = twinlearn.pca(x, 8)
    wide = x.astype(np.float64)
    want = np.linalg.eigh(np.cov(wide.T))[1][:, -8:]
    # The cosines of the angles between the two subspaces.
    cosines = np.linalg.svd(weight.astype(np.float64) @ want)[1]
    assert cosines.min() > 0.999


def test_a_graph_of_too_many_neighbours_names_what_was_given(x: Any) -> None:
    with pytest.raises(TwinlearnError, match=r"^k: expected a number from 1 to 499"):
        twinlearn.knn_graph(x, k=500)
    with pytest.raises(TwinlearnError, match=r"^n_neighbors: expected a number from 1 to 499"):
        TLDR(n_neighbors=500).compute_knn(x)


def test_the_graph_equals_scikit_learns(x: Any) -> None:
    x = x.astype(np.float64)
    for metric, theirs in [("cosine", "cosine"), ("l2", "euclidean")]:
        search = NearestNeighbors(n_neighbors=7, metric=theirs).fit(x)
        want = search.kneighbors(return_distance=False)
        graph = twinlearn.knn_graph(x, 7, metric=metric)  # type: ignore[arg-type]
        assert graph.dtype == np.int64
        # Vectors are read as float32: ties of float64 may fall otherwise.
        assert (graph == want).mean() > 0.999
        tldr = TLDR(n_neighbors=7, metric=metric).compute_knn(x)
        np.testing.assert_array_equal(np.asarray(tldr.get_knn()), graph)


def test_a_computed_graph_serves_one_fit(x: Any, fitted: TLDR) -> None:
    tldr = TLDR(**SMALL).compute_knn(x)
    tldr.fit(x)
    assert (tldr.transform(x) == fitted.transform(x)).all()
    # The fit's own graph does not go on to other rows.
    tldr.fit(x[:300])
    graph = tldr.get_knn()
    assert graph is not None and graph.shape == (300, 64)


def test_lists_of_any_length_are_pairs(x: Any) -> None:
    pairs = [[(i + 1) % 500] if i % 2 else [(i + 1) % 500, (i + 2) % 500] for i in range(500)]
    tldr = TLDR(**SMALL).fit(x, knn_graph=pairs)
    assert tldr.get_knn() is None and tldr.transform(x).shape == (500, 4)


def test_projectors_are_kept_where_asked(x: Any) -> None:
    tldr = TLDR(n_components=4, projector="mlp-1-16", epochs=2, batch_size=64)
    tldr.fit(x, retain_projector=True)
    names = set(tldr.parameters())
    assert "encoder.0.weight" in names and "projector.0.weight" in names
    assert tldr.parameters()["encoder.0.weight"].shape == (4, 384)
    z = tldr.transform(x)
    tldr.remove_projector()
    assert not any(name.startswith("projector") for name in tldr.parameters())
    assert (tldr.transform(x) == z).all()


def test_rows_to_watch(x: Any) -> None:
    other = np.load(DATA / "test_x.npy")[:50]
    tldr = TLDR(**SMALL).fit(x, dataset_val=other)
    assert tldr.validation_ is not None and tldr.validation_["n_rows"] == 25
    with pytest.raises(TwinlearnError, match="validation_rows: expected at least 1 row of dim"):
        TLDR(**SMALL).fit(x, dataset_val=other[:, :5])


def test_callbacks_are_told_and_can_stop(x: Any) -> None:
    told: list[dict[str, Any]] = []
    written: list[tuple[str, float, int]] = []

    class Writer:
        def add_scalar(self, tag: str, value: float, step: int) -> None:
            written.append((tag, value, step))

    def stop(report: dict[str, Any]) -> bool:
        told.append(report)
        return bool(report["step"] == 4)

    tldr = TLDR(**SMALL, callbacks=[stop], writer=Writer()).fit(x)
    assert [report["step"] for report in told] == [1, 2, 3, 4]
    assert all(report["loss"] > 0 and report["learning_rate"] > 0 for report in told)
    assert tldr.n_steps_ == 4
    assert ("loss", told[2]["loss"], 3) in written
    assert len(TLDR(**SMALL).fit(x).loss_curve_) == 3


def test_a_failing_callback_is_raised(x: Any) -> None:
    def fail(report: dict[str, Any]) -> None:
        raise RuntimeError(f"step {report['step']}")

    tldr = TLDR(**SMALL, callbacks=[fail])
    with pytest.raises(RuntimeError, match="step 1"):
        tldr.fit(x)
    tldr.callbacks = None
    assert tldr.fit(x).transform(x).shape == (500, 4)


def test_verbose(x: Any, capfd: Any) -> None:
    TLDR(**SMALL).fit(x)
    assert capfd.readouterr() == ("", "")
    TLDR(**SMALL, verbose=1).fit(x)
    out, err = capfd.readouterr()
    assert out == "" and "train [##############################] 100 %" in err
    TLDR(**SMALL, verbose=2).fit(x, print_every=5, eval_every=2)
    out, _ = capfd.readouterr()
    assert "knn: " in out and "epoch 1, step 5: loss " in out
    assert "epoch 2, step 14: mean loss " in out and "epoch 1, step 7" not in out


def test_repr_shows_the_architecture(fitted: TLDR, x: Any) -> None:
    assert repr(fitted).endswith("\n  encoder:   Linear(384 → 4)")
    assert repr(TLDR(encoder="mlp-2-64", projector="mlp-2-64-128", norm_layer="LN")).split(
        "\n"
    ) == [
        "TLDR(encoder='mlp-2-64', norm_layer='LN', projector='mlp-2-64-128')",
        "  encoder:   Linear(D → 64, bias=False), LN, ReLU, "
        "Linear(64 → 64, bias=False), LN, ReLU, Linear(64 → 32, bias=False)",
        "  projector: Linear(32 → 64, bias=False), LN, ReLU, "
        "Linear(64 → 128, bias=False), LN, ReLU, Linear(128 → 128, bias=False)",
    ]
    assert repr(TLDR(n_components=0)) == "TLDR(n_components=0)"


def test_devices(x: Any, fitted: TLDR) -> None:
    assert fitted.to("cpu") is fitted
    for use in (fitted.to, lambda device: TLDR(device=device).fit(x)):
        with pytest.raises(TwinlearnError, match=r"device: expected cpu.*, got cuda"):
            use("cuda")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"n_components": 0}, "n_components: expected at least 1, got 0"),
    ({"n_components": 2.5}, r"n_components: expected a whole number from 0, got 2\.5"),
    ({"n_components": -3}, "n_components: expected a whole number from 0, got -3"),
    ({"encoder": "mlp"}, "encoder: expected"),
    ({"encoder": None, "loss": "XX"}, 'loss: expected BT, KL, MSE or auto, got "XX"'),
    ({"projector": "mlp-1-8", "loss": "KL"}, "projector: expected none with loss KL"),
    ({"learning_rate": "fast"}, "learning_rate: expected a number, got 'fast'"),
    ({"gaussian": "yes"}, "gaussian: expected True or False, got 'yes'"),
    ({"n_neighbors": 500}, "n_neighbors: expected "),
    ({"n_components": True}, "n_components: expected a whole number from 0, got True"),
    ({"tau": True}, "tau: expected a number, got True"),
    ({"random_state": -1}, "random_state: expected a whole number from 0, got -1"),
    ({"random_state": 2**64}, r"random_state: expected a whole number below 2\^64, got 1844674"),
    ({"n_jobs": 0}, "n_jobs: expected a number from 1 to 1024, got 0"),
    ({"knn_graph": [[0.5]]}, "knn_graph: expected a 2-D array of whole numbers, got float64"),
    ({"knn_graph": np.zeros((3, 5), int)}, "knn_graph: expected 500 rows"),
    ({"resume": True}, "output_folder: expected that of the run to resume, got None"),
    ({"snapshot_freq": -1}, "snapshot_freq: expected a whole number from 0, got -1"),
    ({"memory": -1}, "memory: expected a whole number from 0, got -1"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_parameters_are_named(wrong: dict[str, Any], message: str, x: Any) -> None:
    with pytest.raises(TwinlearnError, match=message) as caught:
        TLDR(**wrong).fit(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("power", [float("nan"), float("inf"), -1.0, 4.5])
def test_a_power_of_pca_out_of_range_is_refused(x: Any, power: float) -> None:
    with pytest.raises(TwinlearnError, match=r"^power: expected a number from 0 to 4, got"):
        twinlearn.pca(x, 2, power)


@pytest.mark.parametrize("name", ["print_every", "eval_every"])
@pytest.mark.parametrize("value", [0, -1, "a", 1.5])
def test_how_often_to_print_is_a_number_from_one(x: Any, name: str, value: Any) -> None:
    with pytest.raises(TwinlearnError, match=rf"^{name}: expected a whole number from"):
        TLDR(**SMALL).fit(x, **{name: value})


def test_no_nested_sizes_may_be_none(x: Any) -> None:
    tldr = TLDR(**SMALL, nested=None)  # type: ignore[arg-type]
    assert "nested=None" in repr(tldr)
    assert not tldr.fit(x)._model.params().get("nested")


def test_an_unknown_parameter_is_refused_by_the_class_that_was_called() -> None:
    message = r"TLDR\.__init__\(\) got an unexpected keyword argument 'n_component'"
    with pytest.raises(TypeError, match=message):
        TLDR(n_component=3)  # type: ignore[call-arg]


def test_a_batch_above_the_rows_is_told(x: Any) -> None:
    with pytest.warns(UserWarning, match="batch_size: lowered from 9999 to 450"):
        TLDR(loss="KL", epochs=1, warmup_epochs=0, batch_size=9999).fit(x)


def test_more_components_than_features_are_lowered(x: Any) -> None:
    with pytest.warns(DataDimensionalityWarning, match="n_components: lowered from 4 to 3"):
        tldr = TLDR(**SMALL).fit(x[:, :3])
    assert tldr.transform(x[:, :3]).shape == (500, 3)


def test_zero_rows_have_no_cosine(x: Any) -> None:
    x = x.copy()
    x[7] = 0
    with pytest.raises(TwinlearnError, match="got all zeros in row 7"):
        TLDR(**SMALL).fit(x)
    assert TLDR(**SMALL, metric="l2").fit(x).transform(x).shape == (500, 4)


def test_frames_of_nested_sizes(x: Any) -> None:
    tldr = TLDR(n_components=8, nested=(2,), epochs=1).fit(x).set_output(transform="pandas")
    frame = tldr.transform(x, n_components=2)
    assert list(frame.columns) == ["tldr0", "tldr1"]
    assert tldr.transform(x).shape[1] == len(tldr.get_feature_names_out()) == 8
    np.testing.assert_array_equal(frame, tldr.set_output().transform(x, n_components=2))


def test_every_hyper_parameter_of_the_engine_is_an_argument_with_its_default() -> None:
    """What the library's table says is what the signature and the docstring say."""
    signature = inspect.signature(TLDR.__init__).parameters
    table = {name: default for name, _, default in _twinlearn.hyperparameters()}
    assert {"n_components", "loss", "tau", "seed"} < set(table)
    defaults = _twinlearn.resolve({})
    doc = inspect.getdoc(TLDR) or ""
    arguments = dict(re.findall(r"^(\w+) : (.*(?:\n    .*)*)", doc.split("Attributes")[0], re.M))
    for name, default in table.items():
        if name == "seed":
            assert "seed 0" in arguments["random_state"]
            continue
        given = signature[name].default
        if given is not None and given != ():
            # A default that is not None is that of the engine.
            assert defaults[name] == given, name
        # Numbers and names of the table's default stand in the argument's text.
        for word in re.findall(r"[\w.-]*\d[\w.-]*|BN|KL", default):
            value = word.rstrip(".")
            shown = {value, {"0.0039": "3.9e-3", "0.03125": "1/32"}.get(value, value)}
            assert any(text in arguments[name] for text in shown), (name, word)


def test_nested_sizes(x: Any) -> None:
    sizes: Any = np.array([2, 4])
    tldr = TLDR(n_components=8, nested=sizes, epochs=2).fit(x)
    z = tldr.transform(x)
    assert np.array_equal(tldr.transform(x, n_components=4), z[:, :4])
    unit = z[:, :4] / np.linalg.norm(z[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(tldr.transform(x, l2_norm=True, n_components=4), unit, atol=1e-6)
    assert tldr.validation_ is not None
    assert [told["n_components"] for told in tldr.validation_["nested"]] == [2, 4]
    with pytest.raises(TwinlearnError, match=r"n_components: expected one of 2, 4, 8 .* got 3"):
        tldr.transform(x, n_components=3)
    with pytest.raises(TwinlearnError, match="nested: expected sizes from 1 to 7, rising, got 4"):
        TLDR(n_components=8, nested=(4, 2)).fit(x)
    sizes = "4,2"
    with pytest.raises(TwinlearnError, match="nested: expected a sequence of whole numbers"):
        TLDR(nested=sizes).fit(x)


def test_fit_for_queries(x: Any, tmp_path: Path) -> None:
    queries = x[:60, ::-1].astype(np.float64)
    tldr = TLDR(n_components=4, epochs=2).fit(x, queries=queries)
    told = tldr.queries_
    assert told is not None
    assert (told["n_queries"], told["n_trained"]) == (60, 54)
    assert set(told["validation"]["rows_alone"]) == {"recall", "gain", "row_recall", "row_gain"}
    # As the command line does.
    for name, rows in [("x", x), ("q", queries)]:
        np.save(tmp_path / f"{name}.npy", rows)
    command = [str(BINARY), "fit", "x.npy", "-o", "m.safetensors", "-d", "4"]
    command += ["--epochs", "2", "--queries", "q.npy"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    tldr.save(tmp_path / "own.safetensors")
    written = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("m", "own")]
    assert written[0] == written[1]
    assert TLDR(n_components=4, epochs=1).fit(x).queries_ is None
    with pytest.raises(TwinlearnError, match="query_share: expected none without queries"):
        TLDR(query_share=0.5).fit(x)
    with pytest.raises(TwinlearnError, match="queries: expected at least 1 row of dimension 384"):
        TLDR().fit(x, queries=queries[:, :5])


def test_a_fit_that_fails_leaves_the_estimator_as_it_was() -> None:
    x = np.random.default_rng(0).standard_normal((300, 16)).astype("f4")
    tldr = TLDR(n_components=4, epochs=1).fit(x)
    before = tldr.transform(x[:3])
    with pytest.raises(TwinlearnError):
        tldr.fit(np.full((300, 8), np.nan))
    assert tldr.n_features_in_ == 16
    assert (tldr.transform(x[:3]) == before).all()


def test_what_the_originals_scripts_say() -> None:
    x = np.random.default_rng(0).standard_normal((200, 8)).astype("f4")
    z = TLDR(n_components=2, epochs=1).fit_transform(x, l2_norm=True)
    assert np.allclose(np.linalg.norm(z, axis=1), 1)


def test_a_warning_made_an_error_does_not_lose_the_fit(x: Any) -> None:
    tldr = TLDR(n_components=4, encoder="mlp-1-5", epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="cannot begin as a linear encoder"):
            tldr.fit(x)
    assert tldr.transform(x).shape == (len(x), 4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tldr.fit(x)
    assert "cannot begin as a linear encoder" in str(told[0].message)
    assert {line.filename for line in told} == {__file__}, "the caller's line is named"


def test_what_the_original_has_and_this_needs_not(x: Any, fitted: TLDR) -> None:
    assert (fitted.transform(x, batching_threshold=10) == fitted.transform(x)).all()
    tldr = TLDR(n_components=2, loss="KL", epochs=2, inputdim=x.shape[1])
    assert tldr.fit(x, l2_norm_eval=True).transform(x).shape == (len(x), 2)
    with pytest.raises(TwinlearnError, match="inputdim: expected 24, the number of features"):
        TLDR(n_components=2, inputdim=25).fit(x[:, :24])
