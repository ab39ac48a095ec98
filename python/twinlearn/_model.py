"""The model that an estimator has: its files, what is in it, and what the original has for it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _twinlearn
from ._graph import WithGraph
from ._twinlearn import TwinlearnError
from ._whole import on_class_too, or_as_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ._page import Report
    from ._parameters import Path_


class WithModel(WithGraph):
    """What every estimator of the package does with its model."""

    def _take(self, model: _twinlearn.Model) -> None:
        """Makes a model this estimator's."""
        self._model = model
        self.n_features_in_ = model.n_features
        training = model.training()
        self.n_steps_ = training["steps"]
        self.validation_ = training["validation"]
        self.queries_ = training.get("queries")
        for name in ("components_", "mean_", "_bias"):
            self.__dict__.pop(name, None)
        linear = model.linear_map()
        if linear is not None:
            self.components_, self._bias = linear

    @cached_property
    def mean_(self) -> NDArray[np.float32]:
        """The shortest vector that a linear encoder maps to 0."""
        # Not with the model: after a product the threads of a BLAS spin for a while, which would
        # halve the speed of a transform that follows.
        if not hasattr(self, "components_"):
            raise AttributeError("mean_: expected a fitted linear encoder")
        weight = self.components_.astype(np.float64)
        shift = np.linalg.lstsq(weight @ weight.T, self._bias, rcond=None)[0] @ weight
        return np.asarray(-shift, dtype=np.float32)

    @property
    def _n_features_out(self) -> int:
        return int(self._model.n_components)

    def save(self, path: Path_) -> None:
        """Write the model: a safetensors file, which executes nothing when it is loaded.

        Parameters
        ----------
        path : path
            A name that ends in ``.safetensors`` (or, as the original's, ``.pth``; the bytes are the
            same), or without an ending. Its folder is made where there is none; an older file is
            replaced when the new one is whole.

        Raises
        ------
        NotFittedError
            Before `fit` or `load`.
        OSError
            When the file cannot be written.
        """
        check_is_fitted(self, "_model")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._model.save(Path(path))

    @on_class_too
    @or_as_before
    def load(self, path: Path_, init: bool = False) -> Self:
        """Read a model. On the class itself, ``TLDR.load(path)``, as `twinlearn.load`.

        Parameters
        ----------
        path : path
        init : bool, default=False
            Take the architecture from the file. Without it the file must have what the constructor
            was given of it.

        Returns
        -------
        self : TLDR

        Raises
        ------
        TwinlearnError
            When the file is no model, or one of another architecture.
        OSError
            When it cannot be read.

        See Also
        --------
        twinlearn.load : the same with ``init=True``, and an example.
        """
        model = _twinlearn.Model.load(Path(path))
        stored = model.params()
        if init:
            for name in ("n_components", "encoder", "norm_layer", "loss", "projector"):
                setattr(self, name, None if name == "norm_layer" else stored[name])
        for name in ("n_components", "encoder", "norm_layer"):
            own = getattr(self, name)
            if own is not None and stored[name] != own:
                raise TwinlearnError(
                    f"{name}: expected {own} (or init=True), got {stored[name]} "
                    f"in {os.fspath(path)}"
                )
        self._take(model)
        return self

    def remove_projector(self) -> Self:
        """Drop the projector, if it was retained."""
        check_is_fitted(self, "_model")
        self._model = self._model.without_projector()
        return self

    def report(
        self,
        X: Any = None,
        *,
        queries: Any = None,
        labels: Any = None,
        texts: Sequence[str] | None = None,
    ) -> Report:
        """A page about the model, which a notebook shows inline.

        Parameters
        ----------
        X : array of shape (n_samples, n_features), optional
            Rows to tell what is kept of, beside the baselines, and to draw a map of.
        queries : array of shape (n_queries, n_features), optional
            Rows whose neighbours in `X` are to be kept, best those that were not trained on.
        labels : sequence of length n_samples, optional
            Classes, which colour the map.
        texts : sequence of str of length n_samples, optional
            What the map shows of a row that is pointed at.

        Returns
        -------
        Report

        Examples
        --------
        >>> import numpy as np
        >>> from twinlearn import TLDR
        >>> X = np.random.default_rng(0).standard_normal((200, 8))
        >>> tldr = TLDR(n_components=2, loss="KL", batch_size=32).fit(X)
        >>> "<h1>TLDR: 8 → 2</h1>" in tldr.report(X, texts=["a text"] * 200).html
        True
        """
        from ._evaluation import report

        return report(self, X, queries, labels, texts)

    def parameters(self) -> dict[str, NDArray[np.float32]]:
        """Every array of the model file by its name; weights are out × in."""
        check_is_fitted(self, "_model")
        return self._model.arrays()

    def to(self, device: Any) -> Self:
        """Accepted for the original's sake; an error for anything but ``"cpu"``."""
        self._check_device(device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "_model" in state:
            state["_model"] = state["_model"].to_bytes()
        if not state.get("_knn_is_given"):
            # The graph of the training rows is no part of the model.
            state.pop("_knn", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "_model" in state:
            state["_model"] = _twinlearn.Model.from_bytes(state["_model"])
        super().__setstate__(state)
