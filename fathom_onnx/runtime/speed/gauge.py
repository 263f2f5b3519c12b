"""The speed gauge: a loop of fixed arithmetic, timed between the steps of a run, that shows a machine changing speed.

The loop takes as long as the core's clock and its neighbours on the machine let it, whatever the graph does. It runs
after a step and outside of the step's time, at the start and the end of every series of steps, and in between where
:data:`EVERY_S` have passed. It takes 1 % of the time at most, and shorter steps follow each other undisturbed.

A reading takes less than a millisecond, and one that something delayed is no change of speed: what counts are the
medians of three readings in a row. Measured in 81 runs of a study, of 6 steps or so with 1 and 2 threads, on two cores
of a virtual Intel Xeon that little else used: their spread was 1 % in the middle, above 4 % in a quarter of the runs
and above :data:`TOLERANCE` in two. The spread of the readings themselves was above it in sixteen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .waiting import CROWDED, ThreadTimes, Waiting, thread_times

__all__ = ["EVERY_S", "TOLERANCE", "Gauge", "Progress", "crowded", "doubt", "gauge_line", "gauge_summary", "loop_s"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

TOLERANCE = 0.1
"""Largest spread (:attr:`Gauge.spread`) of a machine that kept its speed."""

EVERY_S = 0.15
"""Seconds between two readings within a series of steps."""

LOOPS = 5
"""Loops of a reading, which is their median: a loop that the system interrupted does not decide it."""

WINDOW = 3
"""Readings in a row whose median counts: one that was delayed does not decide."""

_VALUES = np.linspace(0.1, 1.5, 4096)
_REPEATS = 8


def loop_s() -> float:
    """Seconds that the loop takes on one core, about 0.3 ms: sines of values that the first cache holds."""
    started = time.perf_counter()
    x = _VALUES
    for _ in range(_REPEATS):
        x = np.sin(x)
    return time.perf_counter() - started


class Gauge:
    """The readings of one run.

    Args:
        loop: What is timed; returns seconds.
        clock: Seconds from any start.
        times: What the threads of this process ran and waited.
    """

    def __init__(
        self,
        loop: Callable[[], float] = loop_s,
        clock: Callable[[], float] = time.monotonic,
        times: Callable[[], ThreadTimes] = thread_times,
    ) -> None:
        self._loop, self._clock = loop, clock
        self._waiting = Waiting(times)
        self._last = -np.inf
        self._series = ""
        self.readings_us: list[float] = []

    def read(self) -> None:
        """Take a reading."""
        self.readings_us.append(float(np.median([self._loop() for _ in range(LOOPS)])) * 1e6)
        self._waiting.look()
        self._last = self._clock()

    def around(self, progress: Progress | None) -> Progress:
        """The same report of progress, with the readings between the steps that it is told of."""

        def told(what: str, done: int, total: int) -> None:
            if what != self._series or done == total or self._clock() - self._last >= EVERY_S:
                self.read()
            self._series = what
            if progress is not None:
                progress(what, done, total)

        return told

    @property
    def spread(self) -> float | None:
        """The slowest over the fastest, less 1, of the medians of three readings in a row; None where none is known.

        With two or three readings, of the readings: one of so few may be all that shows of a change.
        """
        if len(self.readings_us) < 2:
            return None
        readings = np.asarray(self.readings_us)
        if len(readings) > WINDOW:
            readings = np.median(sliding_window_view(readings, WINDOW), axis=-1)
        return float(readings.max() / readings.min() - 1)

    def facts(self) -> dict[str, Any]:
        """The entry ``gauge`` of a manifest: ``readings_us``, ``spread``, ``steady``, ``waited``; None where unknown.

        ``waited`` is the share of their time that the threads stood in line for a core (:mod:`.waiting`).
        """
        spread = self.spread
        steady = None if spread is None else spread <= TOLERANCE
        return {"readings_us": self.readings_us, "spread": spread, "steady": steady, "waited": self._waiting.share}


def gauge_summary(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """``spread``, ``steady`` and ``waited`` of a manifest's gauge; None for a run without one, as of a trace."""
    gauge = manifest.get("gauge")
    return {name: gauge.get(name) for name in ("spread", "steady", "waited")} if gauge else None


def gauge_line(summary: Mapping[str, Any]) -> str:
    """Whether the machine changed speed or was shared, in words; empty where that is not known."""
    gauge = summary.get("gauge")
    if wrong := doubt(gauge):
        return "; ".join((*wrong, "times of this run may not be comparable, profile again"))
    return f"the machine kept its speed: {_spread(gauge)}" if gauge and gauge["steady"] else ""


def doubt(gauge: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What makes the times of a run doubtful, by its gauge or the summary of it; none in a quiet run."""
    found = []
    if gauge and gauge.get("steady") is False:
        found.append(f"the machine changed speed: {_spread(gauge)}")
    if gauge and crowded(gauge):
        found.append(f"other processes ran: its threads waited for a core {gauge['waited']:.0%} of their time")
    return tuple(found)


def crowded(gauge: Mapping[str, Any]) -> bool:
    """Whether other processes took the cores that a run needed, by its gauge or the summary of it."""
    return (gauge.get("waited") or 0.0) > CROWDED


def _spread(gauge: Mapping[str, Any]) -> str:
    return f"a loop of fixed arithmetic took up to {gauge['spread']:.0%} longer at times"
