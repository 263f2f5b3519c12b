"""The work of one step on a device: what launched it, how long it took, and when the device was idle.

All times are whole nanoseconds, and for every step, exactly::

    busy + idle = span                                  from the first work's start to the last one's end
    kernels + copies + sets = busy + overlap            overlap: what several streams did at once counts again
    kernels + copies + sets = in nodes + outside nodes
    idle = sum of the gaps                              a gap belongs to the work that ended it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .records import DeviceActivity

__all__ = ["DeviceStep", "Work", "device_step", "gaps"]


@dataclass(frozen=True, slots=True)
class Work:
    """One activity and who launched it.

    Attributes:
        activity: What the device did.
        node: Place of the launching node among the run's executions; None: launched in no node.
        linked: Whether the call that launched it is known.
        gap_ns: How long the device had nothing to do before it.
    """

    activity: DeviceActivity
    node: int | None
    linked: bool = True
    gap_ns: int = 0

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.activity.end_ns - self.activity.start_ns


@dataclass(frozen=True)
class DeviceStep:
    """Sums of a step, nanoseconds and counts.

    Attributes:
        span_ns: From the start of the first work to the end of the last.
        busy_ns: When at least one stream had work.
        idle_ns: The rest of the span.
        overlap_ns: What more than one stream did at once, counted once for each stream beyond the first.
        kernel_ns: Time of kernels.
        copy_ns: Time of copies.
        set_ns: Time of sets.
        attributed_ns: Time of all work that nodes launched.
        outside_nodes_ns: Time of all other work.
        unlinked_ns: Of that, what no recorded call launched.
        host_ns: Time of the step's nodes that ran on the host.
        launches: Calls that launched something.
        ambiguous_launches: Calls at a border, that another node could have made as well.
        other_thread_launches: Calls of other threads than the one that ran the nodes.
        kernels: Number of kernels.
        copies: Number of copies.
        sets: Number of sets.
    """

    span_ns: int
    busy_ns: int
    idle_ns: int
    overlap_ns: int
    kernel_ns: int
    copy_ns: int
    set_ns: int
    attributed_ns: int
    outside_nodes_ns: int
    unlinked_ns: int
    host_ns: int
    launches: int
    ambiguous_launches: int
    other_thread_launches: int
    kernels: int
    copies: int
    sets: int


def gaps(start_ns: npt.NDArray[np.int64], end_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How long nothing was at work right before each interval; 0 for the first, and where something else was.

    Args:
        start_ns: Starts, rising.
        end_ns: Ends, each at or after its start.
    """
    if not len(start_ns):
        return np.zeros(0, np.int64)
    worked_until = np.concatenate([start_ns[:1], np.maximum.accumulate(end_ns)[:-1]])
    idle: npt.NDArray[np.int64] = np.maximum(start_ns - worked_until, 0)
    return idle


def device_step(
    work: Sequence[Work], launches: int = 0, ambiguous: int = 0, elsewhere: int = 0, host_ns: int = 0
) -> tuple[DeviceStep, tuple[Work, ...]]:
    """The sums of a step, and its work in order of time with its gaps.

    Args:
        work: What the device did.
        launches: Calls that launched it.
        ambiguous: Of these, those that another node could have made as well.
        elsewhere: Of these, those of other threads than the one that ran the nodes.
        host_ns: Time of the step's nodes that ran on the host.
    """
    ordered = sorted(work, key=lambda w: (w.activity.start_ns, w.activity.end_ns))
    starts = np.array([w.activity.start_ns for w in ordered], np.int64)
    ends = np.array([w.activity.end_ns for w in ordered], np.int64)
    before = gaps(starts, ends)
    span = int(ends.max() - starts[0]) if ordered else 0
    idle = int(before.sum())
    total = int((ends - starts).sum())
    kinds = {kind: [w.duration_ns for w in ordered if w.activity.kind == kind] for kind in ("kernel", "copy", "set")}
    attributed = sum(w.duration_ns for w in ordered if w.node is not None)
    step = DeviceStep(
        span_ns=span,
        busy_ns=span - idle,
        idle_ns=idle,
        overlap_ns=total - (span - idle),
        kernel_ns=sum(kinds["kernel"]),
        copy_ns=sum(kinds["copy"]),
        set_ns=sum(kinds["set"]),
        attributed_ns=attributed,
        outside_nodes_ns=total - attributed,
        unlinked_ns=sum(w.duration_ns for w in ordered if not w.linked),
        host_ns=host_ns,
        launches=launches,
        ambiguous_launches=ambiguous,
        other_thread_launches=elsewhere,
        kernels=len(kinds["kernel"]),
        copies=len(kinds["copy"]),
        sets=len(kinds["set"]),
    )
    with_gaps = (Work(w.activity, w.node, w.linked, int(gap)) for w, gap in zip(ordered, before, strict=True))
    return step, tuple(with_gaps)
