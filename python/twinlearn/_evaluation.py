"""What a reduction keeps, and which dimension to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _twinlearn
from ._arrays import rows
from ._job import as_seed, job, whole
from ._page import Report, page, words
from ._tldr import TLDR
from ._twinlearn import Advised, Found, TwinlearnError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._functions import Metric
    from ._twinlearn import Model


Engine = TypeVar("Engine", bound="Found | Advised")


class Estimate(NamedTuple):
    """A mean and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def _with_estimates(value: Any) -> Any:
    """`value` with its estimates as such."""
    if isinstance(value, list):
        return [_with_estimates(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"value", "low", "high"}:
        return Estimate(**value)
    return {name: _with_estimates(item) for name, item in value.items()}


class _Result(Generic[Engine]):
    """What the engine found."""

    def __init__(self, found: Engine) -> None:
        self._found = found
        for name, value in found.values().items():
            setattr(self, name, _with_estimates(value))

    def __repr__(self) -> str:
        return str(self._found)

    def to_json(self) -> str:
        """Everything, as JSON."""
        return self._found.to_json()


class Evaluation(_Result[Found]):
    """What reductions keep. Printed, it is a table.

    Attributes
    ----------
    methods : list of dict
        One for the full vectors, for each reduction as given, and for each baseline: `name`,
        `kind` (full, given, other_format or baseline), `n_components`, `format` (f32, int8, sq2,
        pq:16, Hamming, signs), `bytes_per_vector`, `shared_bytes` (of what all vectors share), and
        as `Estimate` or None `recall`, `rescored`, `recall_behind_first`, `accuracy`, `ndcg_at_10`,
        `average_precision`, `recall_at_100`, `trustworthiness`, `continuity`, `effective_rank`.
    curves : list of dict
        The baselines' recall against dimension, where it was asked for.
    n_rows, n_queries, n_features, n_neighbors, candidates, metric, seed
        What was measured on.
    unseen : bool
        Whether nothing was fitted on the queries, as far as is known. Only then is there a verdict.
    rival : str or None
        The baseline of the verdict, where the model's fit chose it by other rows that it held out;
        with None it is the one that keeps most here.
    notes : list of str
        What was sampled, in words.
    """

    methods: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    n_rows: int
    n_queries: int
    n_features: int
    n_neighbors: int
    candidates: int | None
    metric: str
    seed: int
    unseen: bool
    rival: str | None
    notes: list[str]

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The method of this name, or name and format (``"full vectors int8"``)."""
        for method in self.methods:
            if name in {method["name"], f"{method['name']} {method['format']}"}:
                return method
        names = ", ".join(f"{method['name']} {method['format']}" for method in self.methods)
        raise KeyError(f"expected one of {names}, got {name}")

    def report(self, title: str = "What is kept") -> Report:
        """A page about it."""
        return page(title, evaluation=self._found)


class Advice(_Result[Advised]):
    """How to keep vectors. Printed, it is the curves and the verdict.

    Attributes
    ----------
    verdict : {"tldr", "pca-is-enough", "int8-is-enough", "signs-are-enough", "keep-all"}
    sentence : str
        The verdict in words.
    choice : dict or None
        What to take: `method`, `n_components`, `format` (f32, int8, signs, sq1 to sq8, pq:M),
        `bytes_per_vector`, and as `Estimate` `recall` of held-out rows that it was not chosen by;
        None where the vectors should stay as they are.
    choices : list of dict
        The same of the best of TLDR, of PCA, and of the full vectors as int8, as signs (by Hamming
        distance) and as signs/f32 (with float queries); with `behind`, the recall of `choice` minus
        theirs, an `Estimate` or None.
    params : dict or None
        Arguments of a `TLDR` that makes the best of TLDR and PCA.
    n_components, pca_n_components : int or None
        The smallest d below `n_features` that keeps the share as float32, of TLDR and of the best
        form of PCA; None where bytes were asked.
    n_components_interval, pca_n_components_interval : list of two int or None
        Between which dimensions they lie: where the upper and the lower ends of the 95 % intervals
        of recall reach the share.
    bytes_per_vector, reduced_bytes_per_vector : int
        As float32 before, and after.
    curves : list of dict
        `name`, `format`, and `points`: of each `n_components`, `bytes_per_vector` and `recall`, an
        `Estimate`.
    keep, bytes, candidates, n_rows, n_features, n_neighbors, metric, seed
        What was asked, of what.
    notes : list of str
        What was sampled, in words.
    """

    verdict: str
    sentence: str
    choice: dict[str, Any] | None
    choices: list[dict[str, Any]]
    n_components: int | None
    pca_n_components: int | None
    n_components_interval: list[int] | None
    pca_n_components_interval: list[int] | None
    bytes_per_vector: int
    reduced_bytes_per_vector: int
    curves: list[dict[str, Any]]
    keep: float | None
    bytes: int | None
    candidates: int | None
    n_rows: int
    n_features: int
    n_neighbors: int
    metric: str
    seed: int
    notes: list[str]

    @property
    def params(self) -> dict[str, Any] | None:
        """Arguments of a `TLDR` that makes the best of TLDR and PCA."""
        values = self._found.params()
        if values is None:
            return None
        names = ("n_components", "metric", "solver", "codes")
        # A model without product codes does not name them.
        given = {name: values[name] for name in names if values.get(name) is not None}
        return given | {"random_state": self.seed}

    def report(self, title: str = "How to keep vectors") -> Report:
        """A page about it."""
        return page(title, advice=self._found)


def _numbered(*labels: Any) -> list[list[int] | None]:
    """Classes of any type as numbers, the same ones in all lists."""
    given = [np.asarray(values).ravel() for values in labels if values is not None]
    if not given:
        return [None] * len(labels)
    numbers = iter(
        np.split(
            np.unique(np.concatenate(given), return_inverse=True)[1],
            np.cumsum([len(values) for values in given])[:-1],
        )
    )
    return [None if values is None else next(numbers).tolist() for values in labels]


def _judgements(qrels: Any) -> list[tuple[int, int, int]] | None:
    """(query, row, relevance) from a mapping {query: {row: relevance}} or rows of two or three."""
    if qrels is None:
        return None
    if isinstance(qrels, Mapping):
        return [(int(q), int(r), int(v)) for q, judged in qrels.items() for r, v in judged.items()]
    array = np.asarray(qrels)
    if array.ndim != 2 or array.shape[1] not in {2, 3} or array.dtype.kind not in "iu":
        raise TwinlearnError(
            "qrels: expected whole numbers in rows of query, row, relevance, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.shape[1] == 2:
        array = np.column_stack([array, np.ones(len(array), dtype=array.dtype)])
    return [(int(q), int(r), int(v)) for q, r, v in array]


def evaluate(
    X: ArrayLike,
    reduced: TLDR | ArrayLike | Mapping[str, Any],
    *,
    queries: ArrayLike | None = None,
    reduced_queries: ArrayLike | Mapping[str, Any] | None = None,
    labels: Sequence[Any] | NDArray[Any] | None = None,
    query_labels: Sequence[Any] | NDArray[Any] | None = None,
    qrels: ArrayLike | Mapping[int, Mapping[int, int]] | None = None,
    metric: Metric | None = None,
    n_neighbors: int = 10,
    n_queries: int = 1000,
    max_rows: int = 1_000_000,
    baselines: bool = True,
    curves: bool = False,
    bits: int | None = None,
    codes: bool = False,
    rescore: int | None = None,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> Evaluation:
    """Tell what reductions keep, beside PCA and other baselines at the same dimension.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The original vectors.
    reduced : TLDR, array of shape (n_samples, n_components), or a dict of such by name
        Fitted estimators, or rows reduced by anything. The first is what others are compared with.
    queries : array of shape (n_queries, n_features), optional
        Rows whose neighbours in `X` are to be kept, best those that nothing was fitted on. Without
        them some rows of `X` are the queries, and the others are searched.
    reduced_queries : array, or a dict of such by name, optional
        The queries reduced, where `reduced` has rows.
    labels, query_labels : sequence, optional
        A class for each row, and for each query: adds the accuracy of neighbours' votes.
    qrels : array of (query, row, relevance), or {query: {row: relevance}}, optional
        Relevance judgements: adds nDCG@10, mean average precision and recall@100.
    metric : {"cosine", "ip", "l2"}, optional
        How near rows are; None takes the first estimator's, else cosine.
    n_neighbors : int, default=10
        k of recall, accuracy, trustworthiness and continuity.
    n_queries, max_rows : int, default=1000 and 1_000_000
        Queries, and rows searched, at most; more are sampled. Among fewer rows than all, recall is
        another, and the order of methods may be. With `qrels` all rows are searched.
    baselines : bool, default=True
        Judge truncation, random projection, every form of PCA, and the spectral
        solution, fitted on `X` without the queries.
    curves : bool, default=False
        Measure the baselines at other dimensions too, for a picture.
    bits : {1, 2, 4, 8}, optional
        Judge codes of so many bits a number, beside the same reductions kept as int8, as floats
        and with 1 bit by Hamming distance, and beside codes of as many bytes: int8 and sign bits
        of the full vectors, PCA with bits, OPQ.
    codes : bool, default=False
        The same of the product code that estimators were fitted with.
    rescore : int, optional
        Tell recall also after so many candidates were put in order by the full vectors.
    random_state : int, default=0
        The seed of what is drawn.
    n_jobs : int, optional
        Threads; None and -1 mean all cores. The result does not depend on it.

    Returns
    -------
    Evaluation

    Raises
    ------
    TwinlearnError
        When sizes do not fit, or a value is not usable.

    Examples
    --------
    >>> import numpy as np
    >>> from twinlearn import evaluate
    >>> X = np.random.default_rng(0).standard_normal((400, 16))
    >>> found = evaluate(X, {"first eight": X[:, :8]})
    >>> found["first eight"]["recall"] == found["truncation"]["recall"]
    True
    """
    given: Mapping[str, Any] = reduced if isinstance(reduced, Mapping) else {"reduced": reduced}
    if reduced_queries is None:
        also: Mapping[str, Any] = {}
    elif queries is None:
        raise TwinlearnError("reduced_queries: expected None without queries, got some")
    elif isinstance(reduced_queries, Mapping):
        also = reduced_queries
    else:
        also = dict.fromkeys(given, reduced_queries)
    models: list[Model | None] = []
    for value in given.values():
        if isinstance(value, TLDR):
            check_is_fitted(value, "_model")
            models.append(value._model)
        else:
            models.append(None)
    if metric is None:
        fitted = [model for model in models if model is not None]
        metric = fitted[0].params()["metric"] if fitted else "cosine"
    array = rows(X)
    numbered = _numbered(labels, query_labels)
    return Evaluation(
        _twinlearn.evaluate(
            array,
            list(given),
            models,
            [
                None if model is not None else rows(value, name)
                for (name, value), model in zip(given.items(), models, strict=True)
            ],
            [
                rows(also[name], name) if name in also and model is None else None
                for name, model in zip(given, models, strict=True)
            ],
            job(n_jobs),
            queries=None if queries is None else rows(queries, "queries"),
            labels=numbered[0],
            query_labels=numbered[1],
            qrels=_judgements(qrels),
            metric=metric,
            n_neighbors=whole("n_neighbors", n_neighbors),
            n_queries=whole("n_queries", n_queries),
            max_rows=whole("max_rows", max_rows),
            baselines=bool(baselines),
            curves=bool(curves),
            bits=None if bits is None else whole("bits", bits),
            codes=bool(codes),
            rescore=None if rescore is None else whole("rescore", rescore),
            seed=as_seed(random_state),
        )
    )


def advise(
    X: ArrayLike,
    keep: float | None = None,
    *,
    bytes: int | None = None,
    rescore: int | None = None,
    metric: Metric = "cosine",
    n_neighbors: int = 10,
    n_queries: int = 1000,
    max_rows: int = 1_000_000,
    fit_rows: int = 20_000,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> Advice:
    """Find how to keep vectors: enough neighbours in few bytes, or most in so many.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The vectors.
    keep : float, optional
        The share of each held-out row's nearest neighbours that is to stay, between 0 and 1, in the
        fewest bytes; 0.9 where neither it nor `bytes` is given.
    bytes : int, optional
        The bytes that a row may take, in which as many neighbours as possible are to stay.
    rescore : int, optional
        Count what is kept after so many candidates were put in order by the full vectors.
    metric : {"cosine", "ip", "l2"}, default="cosine"
        How near rows are.
    n_neighbors : int, default=10
        The neighbours of a row.
    n_queries, max_rows, fit_rows : int, default=1000, 1_000_000 and 20_000
        Held-out rows, rows among which neighbours are looked for, and rows that everything is
        fitted on, at most; more are sampled.
    random_state : int, default=0
        The seed of samples and of training.
    n_jobs : int, optional
        Threads; None and -1 mean all cores. The result does not depend on it.

    Returns
    -------
    Advice

    Raises
    ------
    TwinlearnError
        When `keep`, `bytes` or a value of `X` is not usable.

    Examples
    --------
    >>> import numpy as np
    >>> from twinlearn import TLDR, advise
    >>> X = np.random.default_rng(0).standard_normal((400, 16))
    >>> X[:, 8:] *= 1e-6
    >>> advise(X).pca_n_components
    8
    >>> found = advise(X, bytes=4)
    >>> found.choice["bytes_per_vector"]
    4
    >>> tldr = TLDR(**found.params).fit(X)
    """
    if keep is not None and bytes is not None:
        raise TwinlearnError(f"keep: expected None beside bytes, got {keep!r}")
    return Advice(
        _twinlearn.advise(
            rows(X),
            job(n_jobs),
            keep=0.9 if keep is None else float(keep),
            bytes=None if bytes is None else whole("bytes", bytes),
            rescore=None if rescore is None else whole("rescore", rescore),
            metric=metric,
            n_neighbors=whole("n_neighbors", n_neighbors),
            n_queries=whole("n_queries", n_queries),
            max_rows=whole("max_rows", max_rows),
            fit_rows=whole("fit_rows", fit_rows),
            seed=as_seed(random_state),
        )
    )


def report(
    tldr: TLDR,
    X: ArrayLike | None,
    queries: ArrayLike | None,
    labels: Sequence[Any] | NDArray[Any] | None,
    texts: Sequence[str] | None,
) -> Report:
    """The page of `TLDR.report`."""
    check_is_fitted(tldr, "_model")
    params = tldr._model.params()
    title = f"TLDR: {tldr._model.n_features} → {tldr._model.n_components}"
    history = getattr(tldr, "_history", [])
    about: dict[str, Any] = {
        "model": tldr._model,
        "losses": [(step, loss) for step, loss, _ in history],
        "recalls": [(step, recall) for step, _, recall in history if recall is not None],
    }
    if X is not None:
        array = rows(X)
        found = evaluate(array, {"TLDR": tldr}, queries=queries, curves=True, n_jobs=tldr.n_jobs)
        about |= {
            "evaluation": found._found,
            "reduced": tldr._model.transform(array, params["metric"] == "cosine", job(tldr.n_jobs)),
            "labels": words(labels),
            "texts": words(texts),
            "seed": int(params["seed"]),
        }
    return page(title, tldr.n_jobs, **about)
