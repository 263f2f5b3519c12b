"""Which steps of a measurement count: those that come after its warm-up, looked for in every session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fathom_onnx.runtime.traces.trace import StepTimes

from .steps import WarmUp, warm_up

__all__ = ["CountedSteps", "count_steps"]


@dataclass(frozen=True)
class CountedSteps:
    """The steps that count.

    Attributes:
        times: Times of the profiled steps that count.
        step_us: Their wall times.
        control_us: Wall times of the unprofiled steps that count.
        dropped: Places of the profiled steps that turned out to be warm-up.
        skipped: Runs at the start of each trace that do not count, the warm-up that was asked for included.
        dropped_control_us: Wall times of the unprofiled steps that turned out to be warm-up.
        profiled: What was found in each profiling session.
        control: What was found in the unprofiled session.
    """

    times: StepTimes
    step_us: tuple[float, ...]
    control_us: tuple[float, ...]
    dropped: tuple[int, ...]
    skipped: tuple[int, ...]
    dropped_control_us: tuple[float, ...]
    profiled: tuple[WarmUp, ...]
    control: WarmUp

    def facts(self) -> dict[str, Any]:
        """What a run's manifest says of them."""
        return {
            "steps": len(self.step_us),
            "control_steps_us": list(self.control_us),
            "dropped_control_steps_us": list(self.dropped_control_us),
            "warmup_check": {"profiled": [asdict(w) for w in self.profiled], "control": [asdict(self.control)]},
        }


def count_steps(
    times: StepTimes,
    step_us: Sequence[float],
    control_us: Sequence[float],
    session_steps: Sequence[int],
    warmup: int,
) -> CountedSteps:
    """Drop what is still warm-up beyond the steps that were not to be counted anyway.

    Args:
        times: Times of the profiled steps of all sessions, one after the other.
        step_us: Their wall times.
        control_us: Wall times of the unprofiled steps.
        session_steps: Profiled steps of each session.
        warmup: Runs at the start of each session's trace that are not in ``times``.
    """
    starts = np.cumsum([0, *session_steps[:-1]])
    found = [warm_up(times.run_us[start : start + n]) for start, n in zip(starts, session_steps, strict=True)]
    dropped = {int(start) + i for start, check in zip(starts, found, strict=True) for i in range(check.steps)}
    control = warm_up(control_us)
    return CountedSteps(
        times=times.without(dropped),
        step_us=tuple(us for i, us in enumerate(step_us) if i not in dropped),
        control_us=tuple(control_us[control.steps :]),
        dropped=tuple(sorted(dropped)),
        skipped=tuple(warmup + check.steps for check in found),
        dropped_control_us=tuple(control_us[: control.steps]),
        profiled=tuple(found),
        control=control,
    )
