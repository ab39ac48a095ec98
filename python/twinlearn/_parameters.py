"""The constructor's arguments, and what the engine makes of them.

They are described where users look: at the class `TLDR`.
"""

from __future__ import annotations

import inspect
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.utils import check_random_state

from . import _twinlearn
from ._architecture import describe
from ._job import as_seed
from ._twinlearn import TwinlearnError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Path_ = str | os.PathLike[str]

# Arguments of the constructor that the engine knows by the same name; the seed is `random_state`.
_ENGINE = [name for name, _, _ in _twinlearn.hyperparameters() if name != "seed"]


class Parameters(BaseEstimator):
    """What every estimator of the package is given."""

    def __init__(
        self,
        n_components: int | None = None,
        encoder: str | None = None,
        projector: str | None = None,
        n_neighbors: int | None = None,
        device: str = "cpu",
        pin_memory: bool = False,
        knn_approximation: str | None = None,
        knn_graph: Any = None,
        batch_size: int | None = None,
        scale_loss: float = 1 / 32,
        lambd: float = 3.9e-3,
        epochs: int | None = None,
        learning_rate: float | None = None,
        warmup_epochs: int | None = None,
        norm_layer: str | None = None,
        loss: str | None = None,
        gaussian: bool = False,
        output_folder: Path_ | None = None,
        snapshot_freq: int = 0,
        resume: bool = False,
        save_best: bool = False,
        verbose: int = 0,
        random_state: Any = None,
        writer: Any = None,
        *,
        metric: str | None = None,
        init: str | None = None,
        recipe: str = "default",
        solver: str = "sgd",
        optimizer: str | None = None,
        knn_method: str | None = None,
        tau: float | None = None,
        centre_target: bool | None = None,
        noise: float | None = None,
        pca_power: float | None = None,
        whiten: float | None = None,
        validation_fraction: float | None = None,
        query_share: float | None = None,
        nested: Sequence[int] = (),
        codes: str | None = None,
        retain_projector: bool = False,
        memory: int | None = None,
        n_jobs: int | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], bool | None]] | None = None,
        inputdim: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.encoder = encoder
        self.projector = projector
        self.n_neighbors = n_neighbors
        self.device = device
        self.pin_memory = pin_memory
        self.knn_approximation = knn_approximation
        self.knn_graph = knn_graph
        self.batch_size = batch_size
        self.scale_loss = scale_loss
        self.lambd = lambd
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.warmup_epochs = warmup_epochs
        self.norm_layer = norm_layer
        self.loss = loss
        self.gaussian = gaussian
        self.output_folder = output_folder
        self.snapshot_freq = snapshot_freq
        self.resume = resume
        self.save_best = save_best
        self.verbose = verbose
        self.random_state = random_state
        self.writer = writer
        self.metric = metric
        self.init = init
        self.recipe = recipe
        self.solver = solver
        self.optimizer = optimizer
        self.knn_method = knn_method
        self.tau = tau
        self.centre_target = centre_target
        self.noise = noise
        self.pca_power = pca_power
        self.whiten = whiten
        self.validation_fraction = validation_fraction
        self.query_share = query_share
        self.nested = nested
        self.codes = codes
        self.retain_projector = retain_projector
        self.memory = memory
        self.n_jobs = n_jobs
        self.callbacks = callbacks
        self.inputdim = inputdim

    # Python names it in its errors; what users construct is a TLDR.
    __init__.__qualname__ = "TLDR.__init__"

    def _n_components(self, own: dict[str, Any], n_features: int) -> int | None:
        """d, where a start from axes of X cannot have more than X has."""
        params = _twinlearn.resolve(own)
        d: int = params["n_components"]
        if d <= n_features or params["init"] not in {"best", "pca", "spectral"}:
            return own.get("n_components")
        warnings.warn(
            f"n_components: lowered from {d} to {n_features}, the number of features",
            DataDimensionalityWarning,
            stacklevel=5,
        )
        return n_features

    def _seed(self) -> int:
        if self.random_state is None:
            return 0
        if isinstance(self.random_state, (int, np.integer)):
            return as_seed(self.random_state)
        if isinstance(self.random_state, np.random.Generator):
            return int(self.random_state.integers(2**31))
        return int(check_random_state(self.random_state).randint(2**31))

    @staticmethod
    def _check_device(device: Any) -> None:
        if str(device) != "cpu":
            raise TwinlearnError(
                f"device: expected cpu, which is what this version has, got {device}"
            )

    def _own(self) -> dict[str, Any]:
        """The constructor's arguments that the engine knows and that are not the defaults."""
        signature = inspect.signature(Parameters.__init__).parameters
        own = {name: getattr(self, name) for name in _ENGINE}
        if not isinstance(self.nested, (str, int)):
            own["nested"] = () if self.nested is None else tuple(self.nested)
        return {name: value for name, value in own.items() if value != signature[name].default}

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        first: str = super().__repr__(N_CHAR_MAX)
        try:
            model = getattr(self, "_model", None)
            params = _twinlearn.resolve(self._own()) if model is None else model.params()
            lines = describe(params, getattr(self, "n_features_in_", "D"))
        except TwinlearnError:
            # What is wrong with the parameters is for `fit` to say.
            return first
        return "\n  ".join([first, *lines])
