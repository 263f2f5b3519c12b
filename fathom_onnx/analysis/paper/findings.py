"""Findings of a set of runs, each one line with its numbers.

Whether the choice of framework matters (Adolf et al., IISWC 2016, section III-C) is answered in
:mod:`fathom_onnx.analysis.similarity`; the extremes are reported here. Claim OV (section V-A): time outside operations
is under 1 to 2%.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fathom_onnx.analysis.runs.roofline import Roofline
from fathom_onnx.analysis.similarity.similarity import FrameworkEffect, RunLabel

__all__ = ["attribution_finding", "distance_finding", "outside_finding", "overhead_finding", "roof_finding"]

Summary = Mapping[str, Any]

_CLAIM_OUTSIDE = 0.02  # the upper of the paper's "1 to 2%"


def distance_finding(effect: FrameworkEffect) -> str:
    """The largest distance within a workload and the smallest between two; empty where there is no framework pair."""
    if not effect.framework_pairs:
        return ""
    what = "op class" if effect.grouping == "class" else "op"
    far = effect.framework_pairs[0]
    text = f"By {what} the largest distance between the frameworks of one workload is {far.distance:.3f} ({far})"
    if not effect.workload_pairs:
        return f"{text}."
    near = effect.workload_pairs[0]
    return (
        f"{text}, the smallest between two workloads {near.distance:.3f} ({near}); "
        f"the nearest run is another framework's of the same workload in {effect.hits} of {effect.runs}."
    )


def _sorted_shares(summaries: Sequence[Summary], part: str, whole: str) -> list[tuple[float, str]]:
    """(share, run) for the runs with both numbers, the smallest share first."""
    return sorted(
        (float(s[part]) / float(s[whole]), str(RunLabel.of(s)))
        for s in summaries
        if s.get(part) is not None and s.get(whole)
    )


def outside_finding(summaries: Sequence[Summary]) -> str:
    """Share of the profiled steps outside nodes, against the paper's 1 to 2%; empty where no run has the numbers."""
    shares = _sorted_shares(summaries, "outside_us", "run_time_us")
    if not shares:
        return ""
    (low, _), (high, worst) = shares[0], shares[-1]
    within = sum(share <= _CLAIM_OUTSIDE for share, _ in shares)
    return (
        f"Time outside ops is {100 * low:.1f}% to {100 * high:.1f}% of a profiled step (most in {worst}); "
        f"it is within the paper's 2% in {within} of {len(shares)} runs."
    )


def overhead_finding(summaries: Sequence[Summary]) -> str:
    """What profiling adds to an unprofiled step; empty where no run has the numbers."""
    shares = _sorted_shares(summaries, "profiling_overhead_us", "control_us")
    if not shares:
        return ""
    (low, _), (high, worst) = shares[0], shares[-1]
    return f"Profiling adds {100 * low:.1f}% to {100 * high:.1f}% to an unprofiled step (most in {worst})."


def attribution_finding(summaries: Sequence[Summary]) -> str:
    """The largest share of node time that stands for no op; empty where no run has the numbers."""
    shares = _sorted_shares(summaries, "unattributed_us", "node_time_us")
    if not shares:
        return ""
    high, worst = shares[-1]
    if high <= 0:
        return f"All node time of all {len(shares)} runs is attributed to ops."
    return f"At most {100 * high:.2g}% of a run's node time is attributed to no op (most in {worst})."


def roof_finding(rooflines: Mapping[str, Roofline]) -> str:
    """Share of their time that the runs' nodes would take at the machine's ceilings; empty without rooflines.

    Args:
        rooflines: Run to its roofline by node.
    """
    shares = sorted((r.total["share"], run) for run, r in rooflines.items() if r.total["us"])
    if not shares:
        return ""
    (low, worst), (high, best) = shares[0], shares[-1]
    return (
        f"At the machine's measured ceilings nodes would take {100 * low:.1f}% (least, in {worst}) to "
        f"{100 * high:.1f}% (most, in {best}) of their time."
    )
