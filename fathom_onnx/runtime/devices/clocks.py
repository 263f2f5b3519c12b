"""Two clocks read side by side: converting one's times into the other's, with a bound on the error.

onnxruntime's trace is on the system's real-time clock on Linux (``std::chrono::high_resolution_clock`` of libstdc++):
its origin is what ``get_profiling_start_time_ns`` returns. CUPTI has a clock of its own. Reading it between two
readings of the first bounds the distance of both to half of what the readings are apart.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fathom_onnx.errors import RunError

__all__ = ["ClockPair", "clock_error_ns", "read_clocks", "to_host_ns"]

READINGS = 7
"""Readings of which the tightest is kept: the thread may lose its core in any of them."""


class ClockPair(NamedTuple):
    """One instant on both clocks, nanoseconds; they are apart by what they say within ``error_ns``."""

    device_ns: int
    host_ns: int
    error_ns: int


def read_clocks(
    device: Callable[[], int], host: Callable[[], int] = time.time_ns, readings: int = READINGS
) -> ClockPair:
    """Read both clocks as close together as can be.

    Args:
        device: Reads the device tool's clock, in nanoseconds.
        host: Reads the host's clock, in nanoseconds.
        readings: How often, 1 or more.
    """
    pairs = []
    for _ in range(readings):
        before = host()
        device_ns = device()
        after = host()
        pairs.append(ClockPair(device_ns, (before + after) // 2, (after - before + 1) // 2))
    return min(pairs, key=lambda pair: pair.error_ns)


def to_host_ns(device_ns: npt.NDArray[np.int64], clock: Sequence[ClockPair]) -> npt.NDArray[np.int64]:
    """Times of the device tool's clock on the host's, by the distance of the clocks between the nearest readings.

    Args:
        device_ns: Times, any shape.
        clock: Readings in order of time.

    Raises:
        RunError: There is no reading.
    """
    if not clock:
        raise RunError("the clocks of host and device were never read together", "record again")
    read = np.array([pair.device_ns for pair in clock], np.int64)
    apart = np.array([pair.host_ns - pair.device_ns for pair in clock], np.int64)
    # nanoseconds since 1970 do not fit a double: only differences from the first reading are interpolated
    moved = np.interp((device_ns - read[0]).astype(float), (read - read[0]).astype(float), (apart - apart[0]))
    host_ns: npt.NDArray[np.int64] = device_ns + apart[0] + np.rint(moved).astype(np.int64)
    return host_ns


def clock_error_ns(clock: Sequence[ClockPair]) -> int:
    """How far a time may be off: the worst reading, and the most that the clocks moved apart between two readings."""
    apart = [pair.host_ns - pair.device_ns for pair in clock]
    moved = max((abs(b - a) for a, b in itertools.pairwise(apart)), default=0)
    return max(pair.error_ns for pair in clock) + moved
