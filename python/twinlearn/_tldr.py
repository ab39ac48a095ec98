"""The estimator."""

from __future__ import annotations

import warnings
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _twinlearn
from ._arrays import as_given, borrowable, from_columns, rows
from ._faiss import WithFaiss
from ._graph import as_graph
from ._job import job, whole
from ._progress import Progress
from ._reports import Reports
from ._twinlearn import TwinlearnError
from ._whole import or_as_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from sklearn.utils import Tags

    from ._parameters import Path_


class TLDR(ClassNamePrefixFeaturesOutMixin, TransformerMixin, WithFaiss):
    """Learn an encoder that makes vectors smaller and keeps neighbours together.

    Parameters that are None take the value of the recipe: ours, or with ``recipe="reference"`` that
    of the paper's code, which stands in brackets below.

    Parameters
    ----------
    n_components : int or None, default=None
        d, the dimension of the reduced vectors: 32. Lowered to that of `X`, with a warning, where
        an encoder starts from axes of `X` and it is above.
    encoder : str or None, default=None
        ``linear``, which is the default, ``flinear-H-W`` or ``mlp-H-W``: H hidden layers of width
        W.
    projector : str or None, default=None
        As `encoder`; ``"none"`` trains without one. None is no projector with loss KL, else
        ``mlp-1-256`` (``mlp-2-2048``). A projector means loss BT where `loss` is None.
    n_neighbors : int or None, default=None
        The length of each row's list of neighbours with loss KL, 64 or as many other rows as there
        are; else the neighbours that a row may be paired with, 5.
    device : str, default="cpu"
        This version computes on CPUs; anything else is an error.
    pin_memory : bool, default=False
        Without meaning on CPUs.
    knn_approximation : {"low", "medium", "high"} or None, default=None
        Finds neighbours by product quantisation of this level.
    knn_graph : array of shape (n_samples, >= n_neighbors), list of lists, path or None
        A graph computed before, instead of a search; also a pair of neighbours and distances, or
        a sparse matrix of distances (scikit-learn's ``kneighbors_graph``).
    batch_size : int or None, default=None
        Anchors in a step: 128 with loss KL, 512 with BT, 256 with MSE (1024).
    scale_loss : float, default=1/32
        The factor of loss BT.
    lambd : float, default=3.9e-3
        The weight of the off-diagonal part of loss BT.
    epochs : int or None, default=None
        Passes over the rows, at most: with loss KL as many as make 1000 steps and at least 8, else
        8 (100).
    learning_rate : float or None, default=None
        0.2 for a batch of 256 with LARS; with AdamW 0.001, with loss KL 5/d and at most 0.1.
    warmup_epochs : int or None, default=None
        Epochs over which the learning rate rises: a tenth of all steps with loss KL, else 1 (10).
    norm_layer : {"BN", "LN"} or None, default=None
        The normalisation in hidden layers: BN.
    loss : {"KL", "BT", "MSE", "auto"} or None, default=None
        Neighbourhoods, Barlow Twins or reconstruction; auto is KL with nothing chosen by hand. None
        is KL, and BT where a projector is given (BT).
    gaussian : bool, default=False
        Pair rows with themselves and noise, not with neighbours.
    output_folder : path or None, default=None
        Where the run is kept: ``latest``, ``best`` and ``final``.
    snapshot_freq : int, default=0
        Epochs after which ``latest`` is written anew; 0 counts as 1.
    resume : bool, default=False
        Go on with the run in `output_folder`.
    save_best : bool, default=False
        Accepted for the original's sake: the best model is always kept in `output_folder`.
    verbose : int, default=0
        1 shows progress, 2 also prints what is done.
    random_state : int, RandomState, Generator or None, default=None
        The seed. None is the seed 0, or with ``init="model"`` that of the model: a fit repeats
        itself bit for bit unless asked otherwise.
    writer : object with ``add_scalar(tag, value, step)`` or None, default=None
        Is told the loss and the learning rate of every step, as a TensorBoard writer.
    metric : {"cosine", "ip", "l2"} or None, default=None
        How near two rows are: cosine (ip). Cosine refuses rows of zeros.
    init : {"best", "pca", "spectral", "random", "model"} or None, default=None
        Where the encoder starts: a linear one from the closed form that keeps most held-out
        neighbours (best); one with hidden layers, where they can carry it (an ``mlp``: 2d units,
        batch norm), from the linear encoder that the same fit gives with loss KL (best), else from
        PCA; others at random: with loss KL that encoder takes their place unless they keep more.
        ``"model"`` goes on from the model that this estimator has, fitted or loaded; what
        is None is as that was made, but epochs, warmup_epochs and learning_rate as in a new fit.
    recipe : {"default", "reference"}, default="default"
        What None stands for.
    solver : {"sgd", "pca", "spectral"}, default="sgd"
        Training; or without it the best form of PCA that looks at rows alone, or the closed form of
        twin learning.
    optimizer : {"lars", "adamw"} or None, default=None
        LARS for loss BT, else AdamW.
    knn_method : {"auto", "exact", "descent", "pq"} or None, default=None
        How neighbours are found: auto, exact while that takes minutes. Of more than 202,000 rows
        with loss KL it looks for those of a sample, in the clusters near each.
    tau : float or None, default=None
        The temperature of loss KL; None is chosen by a short race on held-out rows.
    centre_target : bool or None, default=None
        Whether loss KL compares with cosines about the mean.
    noise : float or None, default=None
        The length of the noise of gaussian pairs, in units of the rows' distance from their mean:
        0.5.
    pca_power : float or None, default=None
        γ of a PCA start, which it implies: each axis is divided by σ^γ. 0.25 with loss BT, else
        0.5.
    whiten : float or None, default=None
        γ of the output: reduced vectors are turned to their principal axes and divided by σ^γ; 0.
    validation_fraction : float or None, default=None
        The share of rows held out: a tenth, at most 2000. By half of them the best step is
        chosen, by the others it is judged. Of queries likewise; none of fewer than 20. Below 100
        rows none is held out and loss KL keeps its closed form; 0 trains on them.
    query_share : float or None, default=None
        The share of a step's anchors that are queries, where `fit` is given some: 0.5.
    nested : sequence of int, default=()
        Sizes below `n_components`, rising: the first so many numbers of a reduced vector are then a
        good reduction of their own (``transform(X, n_components=16)``).
    codes : str or None, default=None
        ``"pq:16"``, say: a product code of so many bytes, at most `n_components`, is learned
        beside the encoder (``transform(X, codes=True)``).
    retain_projector : bool, default=False
        Keep the projector, to go on training.
    memory : int or None, default=None
        A bound on the working memory of neighbour search, in bytes.
    n_jobs : int or None, default=None
        Threads; None and -1 mean all cores. The result does not depend on it.
    callbacks : sequence of callables or None, default=None
        Each is called after a step with a dict of ``step``, ``epoch``, ``loss`` and
        ``learning_rate``, on the thread that trains; training ends where one returns True.
    inputdim : int or None, default=None
        D, for the original's sake: rows of another dimension are an error.

    Attributes
    ----------
    n_features_in_ : int
        D.
    feature_names_in_ : ndarray of str
        Where `X` had names.
    components_, mean_ : ndarray of shape (n_components, n_features) and (n_features,)
        Of linear encoders: reduced vectors are ``(X - mean_) @ components_.T``. Of all vectors for
        which that holds, `mean_` is the shortest.
    n_steps_ : int
        Steps that were trained.
    loss_curve_ : list of float
        The mean loss of each epoch of the last `fit`.
    validation_ : dict or None
        recall@10 on held-out rows by which nothing was chosen: ``recall`` of the model,
        ``start_recall`` of its start, ``pca_recall`` of the best closed form (``closed_form`` names
        it), and ``gain``, the difference of the two row by row with its 95 % interval; under
        ``nested`` the same of each nested size.
    queries_ : dict or None
        Of a fit for queries: ``n_queries``, ``n_trained``, ``held_out`` and, of held-out queries
        under ``validation``, ``n_queries``, ``k``, ``recall``, ``pca_recall`` and ``gain``; its
        ``rows_alone`` tells what the same fit gives without queries (``recall``, and
        ``row_recall`` of held-out rows), and what they add (``gain``, ``row_gain``).

    Notes
    -----
    scikit-learn's `check_estimator` passes whole with ``metric="l2"`` or ``"ip"``. With cosine, the
    default, ``check_estimators_dtypes`` fails: its integers have a row of zeros, which has no
    direction, and such rows are refused rather than given an arbitrary one.

    Examples
    --------
    >>> import numpy as np
    >>> from twinlearn import TLDR
    >>> X = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    >>> tldr = TLDR(n_components=4).fit(X)
    >>> tldr.transform(X).shape
    (400, 4)
    >>> print(tldr)
    TLDR(n_components=4)
      encoder:   Linear(16 → 4)
    """

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int | None = None,
        warmup_epochs: int | None = None,
        batch_size: int | None = None,
        knn_graph: Any = None,
        queries: Any = None,
        output_folder: Path_ | None = None,
        snapshot_freq: int | None = None,
        print_every: int | None = None,
        retain_projector: bool | None = None,
        dataset_val: Any = None,
        eval_every: int | None = None,
        l2_norm_eval: bool = False,
    ) -> TLDR:
        """Learn the encoder from the rows of `X`.

        Parameters
        ----------
        X : array, tensor, data frame or column of vectors, of shape (n_samples, n_features)
            Arrays of numbers in C order are borrowed, memory-mapped ones too; others are copied.
            float64 and integers are rounded to float32 block by block. Sparse matrices are refused.
        y : ignored
        epochs, warmup_epochs, batch_size, output_folder, snapshot_freq, retain_projector : optional
            Instead of what the constructor was given.
        knn_graph : optional
            As in the constructor. Without one, the graph of a `compute_knn` or `load_knn` since the
            last fit is used.
        queries : array-like of shape (n_queries, n_features), optional
            Queries whose nearest rows should be found in the reduced space: they are trained on
            beside the rows (`query_share`). `queries_` tells what that was worth, by queries held
            out, which takes a second training on the rows alone.
        print_every : int, optional
            Prints the loss every so many steps.
        dataset_val : array-like of shape (n_rows, n_features), optional
            Rows whose recall is watched, instead of a share of `X` held out.
        eval_every : int, optional
            Prints the held-out recall every so many epochs; it is watched after every one anyway.
        l2_norm_eval : bool, default=False
            Accepted for the original's sake: recall is by `metric`, to which lengths mean nothing
            where it is cosine.

        Returns
        -------
        self : TLDR

        Raises
        ------
        TwinlearnError
            When a parameter, a value or a file is not usable; it is a ValueError.
        """
        instead = {
            "epochs": epochs,
            "warmup_epochs": warmup_epochs,
            "batch_size": batch_size,
            "retain_projector": retain_projector,
        }
        instead = {name: value for name, value in instead.items() if value is not None}
        folder = self.output_folder if output_folder is None else output_folder
        every = self.snapshot_freq if snapshot_freq is None else snapshot_freq
        for name, value in (("print_every", print_every), ("eval_every", eval_every)):
            if value is not None and whole(name, value) == 0:
                raise TwinlearnError(f"{name}: expected a whole number from 1, got 0")
        printed = (print_every, eval_every)
        lines = self._fit(X, instead, knn_graph, queries, dataset_val, (folder, every), printed)
        # The fit is whole: a filter that makes one of these an error does not throw it away.
        for line in lines:
            warnings.warn(line, UserWarning, stacklevel=2)
        return self

    @or_as_before
    def _fit(
        self,
        X: Any,
        instead: dict[str, Any],
        knn_graph: Any,
        queries: Any,
        dataset_val: Any,
        kept: tuple[Path_ | None, int],
        printed: tuple[int | None, int | None],
    ) -> list[str]:
        """What `fit` does. Returns what is to be warned of."""
        self._check_device(self.device)
        array = self._validated(X, reset=True)
        if self.inputdim is not None and whole("inputdim", self.inputdim) != array.shape[1]:
            raise TwinlearnError(
                f"inputdim: expected {array.shape[1]}, the number of features, got {self.inputdim}"
            )
        own = {**self._own(), **instead}
        model = getattr(self, "_model", None) if self.init == "model" else None
        if self.init == "model" and model is None:
            raise TwinlearnError(
                'init: expected a fitted or loaded estimator with "model", got one without a model'
            )
        # With None a model is gone on from with its own seed, which holds the same rows out.
        own["seed"] = None if model and self.random_state is None else self._seed()
        if model is None:
            own["n_components"] = self._n_components(own, array.shape[1])
        graphs = (knn_graph, self.knn_graph, self._given_knn())
        graph, lists = as_graph(next((g for g in graphs if g is not None), None))
        folder, every = kept
        if folder is None and self.resume:
            raise TwinlearnError("output_folder: expected that of the run to resume, got None")
        told: list[str] = []
        with Progress(self.verbose) as progress:
            reports = Reports(self, progress, *printed)
            tell = progress.tell if self.verbose else None
            model, found = _twinlearn.fit(
                array,
                own,
                job(self.n_jobs, self.memory, tell, told),
                graph=graph,
                lists=lists,
                model=model,
                validation=None if dataset_val is None else rows(dataset_val, "dataset_val"),
                queries=None if queries is None else rows(queries, "queries"),
                folder=None if folder is None else Path(folder),
                every=whole("snapshot_freq", every),
                resume=bool(self.resume),
                on_step=reports.on_step,
                on_epoch=reports.on_epoch,
            )
        self._take(model)
        self._knn = found
        self._knn_is_given = False
        self.loss_curve_ = reports.losses
        self._history = reports.history
        return told

    def transform(
        self,
        X: Any,
        l2_norm: bool = False,
        *,
        n_components: int | None = None,
        bits: int | None = None,
        codes: bool = False,
        batching_threshold: int | None = None,
    ) -> Any:
        """Reduce rows, to numbers or to codes of a few bytes.

        Parameters
        ----------
        X : as in `fit`, of shape (n_samples, n_features)
        l2_norm : bool, default=False
            Scale every reduced vector to length 1.
        n_components : int, optional
            The first so many numbers of reduced vectors, scaled as such: a nested size of the
            model; any below its own with solver pca or spectral.
        bits : {1, 2, 4, 8}, optional
            Give scalar codes of so many bits a number instead, as bytes (``decode``, ``search``).
            Under cosine they are of rows at length 1.
        codes : bool, default=False
            Give the product codes that the model was fitted with.
        batching_threshold : int, optional
            Accepted for the original's sake: rows are always reduced block by block.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components), float32
            A tensor where `X` is one; what `set_output` says otherwise. The bits of a row depend on
            nothing but that row. Codes are a uint8 array of shape (n_samples, bytes), whatever
            `X` is.

        Raises
        ------
        NotFittedError
            Before `fit` or `load`.
        TwinlearnError
            When a value is not finite, or the model was not fitted for `n_components`.
        """
        check_is_fitted(self, "_model")
        array = self._validated(X, reset=False)
        return as_given(self._model.transform(array, bool(l2_norm), job(self.n_jobs)), X)

    def forward(self, X: Any) -> Any:
        """`transform`, by the name that networks have for it."""
        return self.transform(X)

    def fit_transform(self, X: Any, y: Any = None, l2_norm: bool = False, **fit_params: Any) -> Any:
        """`fit`, then `transform` of the same rows."""
        return self.fit(X, y, **fit_params).transform(X, l2_norm)

    def _validated(self, X: Any, reset: bool) -> NDArray[Any]:
        """Checks as scikit-learn wants them; values are checked by the engine, once."""
        array = validate_data(
            self,
            from_columns(X),
            reset=reset,
            dtype="numeric",
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
        )
        return borrowable(array)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _of_a_size(transform: Callable[..., Any]) -> Callable[..., Any]:
    """`transform` of the first numbers by an estimator that has no others.

    What `set_output` makes of reduced vectors has one name for each number that the estimator
    gives. scikit-learn wraps the method when the class is made, so this comes after.
    """

    @wraps(transform)
    def of_a_size(
        self: TLDR,
        X: Any,
        l2_norm: bool = False,
        *,
        n_components: int | None = None,
        bits: int | None = None,
        codes: bool = False,
        **rest: Any,
    ) -> Any:
        self = self._first(n_components)
        if bits is None and not codes:
            return transform(self, X, l2_norm, **rest)
        # Codes are bytes, of which no container knows what they mean.
        return self._encode(self._validated(X, reset=False), l2_norm, bits, codes)

    return of_a_size


TLDR.transform = _of_a_size(TLDR.transform)  # type: ignore[method-assign]
