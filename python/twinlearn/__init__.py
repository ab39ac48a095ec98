"""Twin learning for dimensionality reduction (TLDR; Kalantidis et al., arXiv 2110.09455).

An encoder that makes vectors smaller and keeps neighbours together, learned without labels.

>>> import numpy as np
>>> from twinlearn import TLDR
>>> X = np.random.default_rng(0).standard_normal((500, 20)).astype(np.float32)
>>> TLDR(n_components=4, loss="KL", epochs=2).fit_transform(X).shape
(500, 4)
"""

from ._evaluation import Advice, Estimate, Evaluation, advise, evaluate
from ._functions import knn_graph, pca
from ._load import load
from ._page import Report
from ._tldr import TLDR
from ._twinlearn import TwinlearnError, __version__

__all__ = [
    "TLDR",
    "Advice",
    "Estimate",
    "Evaluation",
    "Report",
    "TwinlearnError",
    "__version__",
    "advise",
    "evaluate",
    "knn_graph",
    "load",
    "pca",
]
