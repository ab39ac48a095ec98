"""A model file as an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._tldr import TLDR

if TYPE_CHECKING:
    from ._parameters import Path_


def load(path: Path_) -> TLDR:
    """Read a model, with its architecture.

    Parameters
    ----------
    path : path
        A file of `TLDR.save` or ``twinlearn fit``.

    Returns
    -------
    TLDR
        Fitted.

    Raises
    ------
    TwinlearnError
        When the file is no model.
    OSError
        When it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import twinlearn
    >>> X = np.random.default_rng(0).standard_normal((100, 8))
    >>> tldr = twinlearn.TLDR(n_components=2).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tldr.save(f"{folder}/model.safetensors")
    ...     other = twinlearn.load(f"{folder}/model.safetensors")
    >>> bool((other.transform(X) == tldr.transform(X)).all())
    True
    """
    model: TLDR = TLDR.load(path)
    return model
