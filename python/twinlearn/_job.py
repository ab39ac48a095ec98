"""How the engine is called."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ._twinlearn import Job, TwinlearnError

if TYPE_CHECKING:
    from collections.abc import Callable

# How many seeds there are.
SEEDS = 2**64


def whole(name: str, value: Any, most: int = sys.maxsize) -> int:
    """`value`, where it is a whole number from 0 to `most`, that which the engine can hold."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if is_whole and 0 <= value <= most:
        return int(value)
    end = f" to {most}" if is_whole and value > 0 else ""
    raise TwinlearnError(f"{name}: expected a whole number from 0{end}, got {value!r}")


def as_seed(value: Any) -> int:
    """`value`, where it can be a seed."""
    if isinstance(value, (int, np.integer)) and value >= SEEDS:
        raise TwinlearnError(f"random_state: expected a whole number below 2^64, got {value}")
    return whole("random_state", value, SEEDS - 1)


def job(
    n_jobs: int | None,
    memory: int | None = None,
    tell: Callable[[str, str, float], object] | None = None,
    warnings: list[str] | None = None,
) -> Job:
    """How to make a call. `n_jobs` is as in scikit-learn, but None means all cores.

    Warnings are issued at the end of the call, or left in the list where there is one.
    """
    if n_jobs is None or n_jobs == -1:
        threads = None
    elif isinstance(n_jobs, (int, np.integer)) and n_jobs < 0:
        threads = max(1, (os.cpu_count() or 1) + 1 + int(n_jobs))
    else:
        threads = whole("n_jobs", n_jobs)
    memory = None if memory is None else whole("memory", memory)
    return Job(threads=threads, memory=memory, tell=tell, warnings=warnings)
