"""Progress of a study or a sweep on stderr: a line a job and, on a terminal, the running job and the time to go."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fathom_onnx.cli.lines import tell

if TYPE_CHECKING:
    from fathom_onnx.study import Event

__all__ = ["Pace", "print_events", "print_waiting", "span"]


def span(seconds: float) -> str:
    """Seconds in words: ``8 s``, ``2 min 10 s``, ``1 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass
class Pace:
    """An estimate of the time that a stage still needs: its time so far over the jobs done, times the jobs left.

    Jobs with a stored result took no time and are not counted. Stages may be under way side by side, and come again.

    Attributes:
        since: When the first job of each stage started, in seconds.
        worked: How many jobs of each were done.
        finished: How many jobs of each were done or needed nothing.
    """

    since: dict[str, float] = field(default_factory=dict)
    worked: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)

    def left(self, event: Event, now: float) -> float | None:
        """Seconds until the end of the event's stage, or None before its first job is done.

        Args:
            event: The latest event.
            now: The time in seconds, from any start.
        """
        stage = event.stage
        if event.number < self.finished[stage]:  # it has begun again
            self.since.pop(stage, None)
            self.worked[stage] = 0
        self.finished[stage] = event.number
        if event.kind == "started":
            self.since.setdefault(stage, now)
        if event.kind == "done" or (event.kind == "failed" and event.seconds):
            self.worked[stage] += 1
        if stage not in self.since or not self.worked[stage]:
            return None
        return (now - self.since[stage]) / self.worked[stage] * (event.total - event.number)


def _line(event: Event) -> str:
    """A finished job in words."""
    took = f" in {event.seconds:.1f} s" if event.seconds else ""
    detail = f": {event.detail}" if event.detail else ""
    return f"{event.stage} {event.number}/{event.total} {event.what} {event.kind}{took}{detail}"


@contextlib.contextmanager
def print_events() -> Iterator[Callable[[Event], None]]:
    """Gives the function to call with each event."""
    from fathom_onnx.cli.render import progress

    pace = Pace()
    with progress() as (say, _):

        def on_event(event: Event) -> None:
            left = pace.left(event, time.monotonic())
            waiting = event.total - event.number
            to_go = "" if left is None or not waiting else f", about {span(left)}"
            say(f"{event.stage}: {event.what} ({waiting} of {event.total} left{to_go})")
            if event.kind != "started":
                tell(_line(event), err=True)

        yield on_event


def print_waiting(text: str) -> None:
    """Say that another measurement must end first."""
    tell(text, err=True)
