"""Progress of a study or a sweep on stderr: a line a job and, on a terminal, the running job and the time to go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

    Jobs with a stored result took no time and are not counted.

    Attributes:
        stage: The stage that is under way.
        since: When its first job started, in seconds; None before that.
        worked: How many of its jobs were done.
    """

    stage: str = ""
    since: float | None = None
    worked: int = 0

    def left(self, event: Event, now: float) -> float | None:
        """Seconds until the stage's end, or None before its first job is done.

        Args:
            event: The latest event.
            now: The time in seconds, from any start.
        """
        if event.stage != self.stage:
            self.stage, self.since, self.worked = event.stage, None, 0
        if event.kind == "started" and self.since is None:
            self.since = now
        if event.kind == "done" or (event.kind == "failed" and event.seconds):
            self.worked += 1
        if self.since is None or not self.worked:
            return None
        return (now - self.since) / self.worked * (event.total - event.number)


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
