"""The manifest of pooled rounds: what all of them say, and what each of them says by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["pooled_facts", "pooled_gauge", "round_entry", "round_sizes"]

Manifest = Mapping[str, Any]


def round_sizes(manifest: Manifest) -> tuple[int, ...]:
    """Number of counted steps of each round of a run; empty where it was measured at once."""
    return tuple(int(one["steps"]) for one in manifest.get("rounds") or ())


def round_entry(steps: int, facts: Manifest, times: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest of a run says of one of its rounds.

    Args:
        steps: Its counted steps.
        facts: What its own manifest says, its start and gauge among it.
        times: Its times.
    """
    return {"steps": steps, "time_utc": facts.get("time_utc"), "gauge": facts.get("gauge"), **times}


def pooled_facts(manifests: Sequence[Manifest], lists: Sequence[str], rounds: Sequence[Mapping[str, Any]]) -> Manifest:
    """The manifest of pooled rounds.

    Args:
        manifests: Those of the rounds: the first one's facts hold for all, but for what is pooled.
        lists: Names of lists of times that are joined, one round after the other.
        rounds: What is said of each round; ``steps``, the start and the gauge are added.
    """
    first = manifests[0]
    gauges = [m["gauge"] for m in manifests if m.get("gauge")]
    each = [round_entry(m["steps"], m, said) for m, said in zip(manifests, rounds, strict=True)]
    return {
        **first,
        "steps": sum(m["steps"] for m in manifests),
        **{name: [us for m in manifests for us in m[name]] for name in lists if name in first},
        "gauge": pooled_gauge(gauges),
        "rounds": each,
    }


def pooled_gauge(gauges: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The gauges of several rounds as one: steady where all are, largest spread and waiting, spread between rounds.

    Args:
        gauges: The entries ``gauge`` of the rounds' manifests.
    """
    if not gauges:
        return None
    spreads = [g["spread"] for g in gauges if g["spread"] is not None]
    medians = [float(np.median(g["readings_us"])) for g in gauges if g["readings_us"]]
    known = [g["steady"] for g in gauges if g["steady"] is not None]
    return {
        "readings_us": [us for g in gauges for us in g["readings_us"]],
        "spread": max(spreads, default=None),
        "steady": all(known) if known else None,
        "waited": max((g["waited"] for g in gauges if g.get("waited") is not None), default=None),
        "between_rounds": max(medians) / min(medians) - 1 if medians else None,
    }
