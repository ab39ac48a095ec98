"""The engine: the crate `twinlearn`, called with arrays."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

__all__ = [
    "Advised",
    "Found",
    "Job",
    "Model",
    "TwinlearnError",
    "__version__",
    "advise",
    "evaluate",
    "fit",
    "hyperparameters",
    "knn_graph",
    "pca",
    "report",
    "resolve",
    "write_file",
]

__version__: str

class TwinlearnError(ValueError): ...

@final
class Job:
    def __new__(
        cls,
        *,
        threads: int | None = None,
        memory: int | None = None,
        tell: Callable[[str, str, float], object] | None = None,
        warnings: list[str] | None = None,
    ) -> Self: ...

@final
class Model:
    @staticmethod
    def from_bytes(bytes: bytes) -> Model: ...
    @staticmethod
    def load(path: Path) -> Model: ...
    def to_bytes(self) -> bytes: ...
    def save(self, path: Path) -> None: ...
    def prefix(self, n_components: int) -> Model: ...
    def transform(self, x: NDArray[Any], l2_norm: bool, job: Job) -> NDArray[np.float32]: ...
    def encode(
        self, x: NDArray[Any], job: Job, *, bits: int | None = None
    ) -> NDArray[np.uint8]: ...
    def decode(
        self, z: NDArray[np.uint8], job: Job, *, bits: int | None = None, codes: bool = False
    ) -> NDArray[np.float32]: ...
    def codec_facts(self, *, bits: int | None = None) -> tuple[str, int, bool]: ...
    def turned(self, z: NDArray[np.float32], *, bits: int | None = None) -> NDArray[np.float32]: ...
    def search(
        self,
        z: NDArray[np.uint8],
        queries: NDArray[Any],
        k: int,
        job: Job,
        *,
        bits: int | None = None,
        codes: bool = False,
        rescore: NDArray[Any] | None = None,
        candidates: int | None = None,
    ) -> NDArray[np.int64]: ...
    def arrays(self) -> dict[str, NDArray[np.float32]]: ...
    def linear_map(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None: ...
    def params(self) -> dict[str, Any]: ...
    def training(self) -> dict[str, Any]: ...
    def without_projector(self) -> Model: ...
    @property
    def has_projector(self) -> bool: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_components(self) -> int: ...

@final
class Found:
    def values(self) -> dict[str, Any]: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str) -> Self: ...

@final
class Advised:
    def values(self) -> dict[str, Any]: ...
    def params(self) -> dict[str, Any] | None: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str) -> Self: ...

def fit(
    x: NDArray[Any],
    parameters: dict[str, Any],
    job: Job,
    *,
    graph: NDArray[np.int64] | None = None,
    lists: list[list[int]] | None = None,
    model: Model | None = None,
    validation: NDArray[Any] | None = None,
    queries: NDArray[Any] | None = None,
    folder: Path | None = None,
    every: int = 1,
    resume: bool = False,
    on_step: Callable[[int, int, float, float], bool] | None = None,
    on_epoch: Callable[[int, int, float, float | None], bool] | None = None,
) -> tuple[Model, NDArray[np.int64] | None]: ...
def knn_graph(
    x: NDArray[Any],
    k: tuple[int, str],
    metric: object,
    method: object,
    approximation: object | None,
    seed: int,
    job: Job,
) -> NDArray[np.int64]: ...
def pca(
    x: NDArray[Any], n_components: int, power: float, job: Job
) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def evaluate(
    x: NDArray[Any],
    names: list[str],
    models: list[Model | None],
    reduced: list[NDArray[Any] | None],
    reduced_queries: list[NDArray[Any] | None],
    job: Job,
    *,
    queries: NDArray[Any] | None = None,
    labels: list[int] | None = None,
    query_labels: list[int] | None = None,
    qrels: list[tuple[int, int, int]] | None = None,
    metric: str,
    n_neighbors: int,
    n_queries: int,
    max_rows: int,
    baselines: bool,
    curves: bool,
    bits: int | None,
    codes: bool,
    rescore: int | None,
    seed: int,
) -> Found: ...
def advise(
    x: NDArray[Any],
    job: Job,
    *,
    keep: float,
    bytes: int | None,
    rescore: int | None,
    metric: str,
    n_neighbors: int,
    n_queries: int,
    max_rows: int,
    fit_rows: int,
    seed: int,
) -> Advised: ...
def report(
    title: str,
    job: Job,
    *,
    model: Model | None = None,
    losses: list[tuple[int, float]] = ...,
    recalls: list[tuple[int, float]] = ...,
    evaluation: Found | None = None,
    advice: Advised | None = None,
    reduced: NDArray[Any] | None = None,
    labels: list[str] | None = None,
    texts: list[str] | None = None,
    seed: int = 0,
) -> str: ...
def write_file(path: str | os.PathLike[str], content: bytes, endings: list[str]) -> None: ...
def hyperparameters() -> list[tuple[str, str, str]]: ...
def resolve(given: dict[str, Any]) -> dict[str, Any]: ...
