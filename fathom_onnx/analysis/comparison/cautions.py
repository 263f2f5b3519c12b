"""What has to be said before the times of two runs are compared: conditions that differ, machines that were busy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fathom_onnx.runtime.speed.gauge import TOLERANCE, doubt

from .run_facts import causes, differences

__all__ = ["cautions"]


def cautions(
    manifests: tuple[Mapping[str, Any], Mapping[str, Any]],
    drifts: tuple[float | None, float | None] = (None, None),
    names: tuple[str, str] = ("A", "B"),
) -> tuple[str, ...]:
    """What makes the comparison of two runs doubtful, a sentence each.

    Args:
        manifests: Those of the runs.
        drifts: Relative change of the step's time over each; 0 without a trend, None where unknown.
        names: What the runs are called.
    """
    found = _conditions(causes(differences(*manifests)))
    gauges = tuple(manifest.get("gauge") or {} for manifest in manifests)
    for name, gauge, drift in zip(names, gauges, drifts, strict=True):
        found += [f"in {name} {line}" for line in doubt(gauge)]
        if drift:
            found.append(
                f"{name} drifts: its step takes {drift:+.0%} at the end; the test takes all its steps for alike"
            )
    return (*found, *_speeds(manifests, gauges, names))


def _conditions(kinds: tuple[str, ...]) -> list[str]:
    if len(kinds) > 1:
        return [f"{' and '.join(kinds)} differ: no difference in time can be put down to one of them alone"]
    return [f"the runs were measured under different conditions: {kinds[0]}"] if kinds not in ((), ("graph",)) else []


def _speeds(
    manifests: tuple[Mapping[str, Any], Mapping[str, Any]],
    gauges: tuple[Mapping[str, Any], ...],
    names: tuple[str, str],
) -> list[str]:
    """Whether one machine ran at two speeds, by the readings of both gauges."""
    readings = [gauge.get("readings_us") for gauge in gauges]
    if manifests[0].get("cpu") != manifests[1].get("cpu") or not all(readings):
        return []
    first, second = (float(np.median(several)) for several in readings if several)
    slower, share = (names[1], second / first - 1) if second > first else (names[0], first / second - 1)
    if share <= TOLERANCE:
        return []
    return [f"the machine was slower during {slower}: a loop of fixed arithmetic took {share:.0%} longer there"]
