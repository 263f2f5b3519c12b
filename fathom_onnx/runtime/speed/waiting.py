"""How long the threads of a process waited for a core: what other processes took from it meanwhile.

Linux counts, for each thread, the time on a core and the time of standing in line for one. The share of the second in
both is what other load took; it is exact for a run of milliseconds too, and says nothing of what a machine's neighbours
do. Source: Documentation/scheduler/sched-stats.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["CROWDED", "ThreadTimes", "Waiting", "thread_times"]

CROWDED = 0.05
"""Largest share of waiting that is let pass: times are then too long by about as much.

Chosen, not measured on a quiet machine. Where some fifteen other processes wanted two cores, profiles of a training
step waited 0.72 to 0.76 of their time with one thread, 0.87 with two.
"""

ThreadTimes = Mapping[int, tuple[int, int]]
"""Thread to its nanoseconds on a core, and in line for one."""

_TASKS = Path("/proc/self/task")


def thread_times() -> ThreadTimes:
    """The times of all threads of this process; empty on systems that do not tell."""
    found = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):  # a thread that ended meanwhile, or a system without the file
            ran, waited, _ = (task / "schedstat").read_text().split()
            found[int(task.name)] = (int(ran), int(waited))
    return found


class Waiting:
    """The share of waiting between the first look and the last.

    A thread that ended between two looks counts until the one before.

    Args:
        times: Tells the times of the threads.
    """

    def __init__(self, times: Callable[[], ThreadTimes] = thread_times) -> None:
        self._times = times
        self._last: ThreadTimes | None = None
        self._ran = self._waited = 0

    def look(self) -> None:
        """Count what passed since the last look."""
        now = self._times()
        if self._last is not None:
            for thread, (ran, waited) in now.items():
                before = self._last.get(thread, (0, 0))
                self._ran += ran - before[0]
                self._waited += waited - before[1]
        self._last = now

    @property
    def share(self) -> float | None:
        """Time in line for a core, of that and the time on one; None where it is not known."""
        whole = self._ran + self._waited
        return self._waited / whole if whole else None
