"""How the engine is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._twinlearn import TwinlearnError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ._twinlearn import Model


@dataclass
class Job:
    """Threads, a bound on memory, whom the engine calls while it works, and its warnings.

    Warnings are issued at the end of a call, or left in the list where there is one.
    """

    threads: int | None = None
    memory: int | None = None
    tell: Callable[[str, str, float], object] | None = None
    warnings: list[str] | None = None


@dataclass
class Given:
    """What a fit is given beside vectors and parameters."""

    graph: NDArray[np.int64] | None = None
    lists: list[list[int]] | None = None
    model: Model | None = None
    validation: NDArray[Any] | None = None
    queries: NDArray[Any] | None = None
    folder: Path | None = None
    every: int = 1
    resume: bool = False
    on_step: Callable[[int, int, float, float], bool] | None = None
    on_epoch: Callable[[int, int, float, float | None], bool] | None = None


def whole(name: str, value: Any) -> int:
    """`value`, where it is a whole number from 0."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise TwinlearnError(f"{name}: expected a whole number from 0, got {value!r}")


def job(
    n_jobs: int | None,
    memory: int | None = None,
    tell: Callable[[str, str, float], object] | None = None,
) -> Job:
    """How to make a call. `n_jobs` is as in scikit-learn, but None means all cores."""
    if n_jobs is None or n_jobs == -1:
        threads = None
    elif isinstance(n_jobs, (int, np.integer)) and n_jobs < 0:
        threads = max(1, (os.cpu_count() or 1) + 1 + int(n_jobs))
    else:
        threads = whole("n_jobs", n_jobs)
    memory = None if memory is None else whole("memory", memory)
    return Job(threads, memory, tell)
