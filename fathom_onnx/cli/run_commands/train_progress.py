"""What ``fathom-onnx train`` tells on stderr while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from fathom_onnx.cli.lines import tell

__all__ = ["TrainProgress"]

_EVERY_S = 0.1
"""Time between two texts of the progress line: a step may take less time than telling of it."""


class TrainProgress:
    """The progress line of a terminal, and a line that stays for every evaluation.

    Args:
        say: Sets the text of the progress line.
        advance: Adds steps to its bar.
        steps: Number of the last step.
    """

    def __init__(self, say: Callable[[str], None], advance: Callable[[int], None], steps: int) -> None:
        self._say, self._advance, self._steps = say, advance, steps
        self._shown = self._number = 0
        self._metrics = ""
        self._begun: tuple[int, float] | None = None
        self._due = 0.0

    def step(self, number: int, loss: float) -> None:
        """A step was taken."""
        now = time.monotonic()
        self._number = number
        self._begun = self._begun or (number, now)
        if now < self._due and number < self._steps:
            return
        self._due = now + _EVERY_S
        self._say("; ".join(part for part in (f"loss {loss:z.4g}", self._metrics, self._pace(now)) if part))
        self._advance(number - self._shown)
        self._shown = number

    def evaluated(self, number: int, metrics: Mapping[str, float]) -> None:
        """The run was evaluated after a step."""
        self._metrics = ", ".join(f"{name} {value:z.4g}" for name, value in metrics.items())
        told = "; ".join(part for part in (self._metrics, self._pace(time.monotonic())) if part)
        tell(f"step {number} of {self._steps}: {told}", err=True)

    def _pace(self, now: float) -> str:
        """Steps a second since the first one, evaluations and checkpoints included, and the time that is left."""
        if self._begun is None or self._number == self._begun[0] or now == self._begun[1]:
            return ""
        pace = (self._number - self._begun[0]) / (now - self._begun[1])
        left = (self._steps - self._number) / pace
        return f"{pace:.3g} steps/s" + (f", {_duration(left)} to go" if left else "")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
