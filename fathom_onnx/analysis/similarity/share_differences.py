"""Share differences: the ops whose share of a step differs most between two frameworks of a workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from .op_mix import OpMix

__all__ = ["ShareDifference", "differences"]


@dataclass(frozen=True)
class ShareDifference:
    """An op whose share of the step differs between two frameworks.

    Shares are 0 to 1; the nodes are the largest ones of each framework, with their share of the op.
    """

    workload: str
    mode: str
    op: str
    first: str
    first_share: float
    first_nodes: tuple[tuple[str, float], ...]
    second: str
    second_share: float
    second_nodes: tuple[tuple[str, float], ...]

    @property
    def size(self) -> float:
        """The difference of the shares, without sign."""
        return abs(self.first_share - self.second_share)

    def json(self) -> dict[str, Any]:
        """The difference as JSON can hold it."""
        return {
            "workload": self.workload,
            "mode": self.mode,
            "op": self.op,
            "here": self.first,
            "share_here": self.first_share,
            "nodes_here": self.first_nodes,
            "there": self.second,
            "share_there": self.second_share,
            "nodes_there": self.second_nodes,
            "size": self.size,
        }

    def __str__(self) -> str:
        sides = (
            (self.first, self.first_share, self.first_nodes),
            (self.second, self.second_share, self.second_nodes),
        )
        parts = [f"{name} {share:.1%}{_largest(nodes)}" for name, share, nodes in sides]
        return f"{self.workload} {self.mode} {self.op}: {', '.join(parts)}"


def _largest(nodes: Sequence[tuple[str, float]]) -> str:
    return f" (of it {nodes[0][1]:.0%} in {nodes[0][0]})" if nodes else ""


def differences(mixes: Sequence[OpMix], count: int = 12) -> tuple[ShareDifference, ...]:
    """The ops whose shares differ most between the frameworks of a workload and mode, the largest difference first.

    Of more than two frameworks an op is set against the two that differ most.
    """
    widest: dict[tuple[str, str, str], ShareDifference] = {}
    for a, b in combinations(mixes, 2):
        if not a.label.other_framework_of(b.label):
            continue
        shares_a, shares_b = a.shares("op"), b.shares("op")
        for op in dict.fromkeys([*shares_a.index, *shares_b.index]):
            difference = ShareDifference(
                *(a.label.workload, a.label.mode, op),
                *(a.label.framework, float(shares_a.get(op, 0.0)), tuple(a.nodes.get(op, ()))),
                *(b.label.framework, float(shares_b.get(op, 0.0)), tuple(b.nodes.get(op, ()))),
            )
            key = (difference.workload, difference.mode, op)
            if difference.size > (widest[key].size if key in widest else 0):
                widest[key] = difference
    return tuple(sorted(widest.values(), key=lambda d: -d.size)[:count])
