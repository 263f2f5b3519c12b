"""The control loop: a fixed piece of arithmetic whose time shows whether the machine changed speed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

__all__ = ["TOLERANCE", "control_s", "disturbed", "free_gb"]

TOLERANCE = 0.12
"""How much slower than at its fastest the control loop may be, and how far those before and after a round may differ,
before the round counts as disturbed."""

_VALUES = np.linspace(0.1, 1.5, 20_000)
_REPEATS = 40


def _loop(_: int) -> None:
    x = _VALUES
    for _ in range(_REPEATS):  # NumPy lets go of the interpreter's lock meanwhile, so that threads run side by side
        x = np.sin(x)


def control_s(threads: int) -> float:
    """Seconds that the control loop takes on each of so many threads at once."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_loop, range(threads)))  # the threads exist
        started = time.perf_counter()
        list(pool.map(_loop, range(threads)))
        return time.perf_counter() - started


def disturbed(before: float, after: float, fastest: float) -> bool:
    """Whether the machine changed speed in a round, or was slower than it can be, by its controls in seconds."""
    slowest = max(before, after)
    return slowest > min(before, after) * (1 + TOLERANCE) or slowest > fastest * (1 + TOLERANCE)


def free_gb() -> float:
    """GB of memory that processes could still take."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e6
