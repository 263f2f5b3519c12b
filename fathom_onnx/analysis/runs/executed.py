"""The executed nodes of a run: their names in tables and traces, and labels taken from the original nodes."""

from __future__ import annotations

from collections.abc import Sequence

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph.bodies import NumberedNode
from fathom_onnx.graph.labels import Label
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.steps import StepTimes

__all__ = ["UNATTRIBUTED", "display_name", "main_labels", "never_ran", "numbers_by_name"]

UNATTRIBUTED = "unattributed"
"""Layer and phase of an executed node that stands for no original node."""


def display_name(entry: NumberedNode) -> str:
    """The node's own name; its op type and number where it has none."""
    return entry.node.name or f"{entry.node.op_type}#{entry.index}"


def main_labels(attribution: Attribution, labels: Sequence[Label]) -> list[Label | None]:
    """For each executed node the label of the original node with the largest share; None where unattributed.

    Args:
        attribution: The attribution of the run's model.
        labels: Labels of the original nodes.
    """
    largest = (max(node.shares, key=lambda share: share.weight, default=None) for node in attribution.nodes)
    return [labels[share.original] if share else None for share in largest]


def numbers_by_name(attribution: Attribution) -> dict[str, int]:
    """Name in the trace (``k<number>``) to the number of the executed node."""
    return {executed_name(entry.index): entry.index for entry in attribution.executed}


def never_ran(attribution: Attribution, times: StepTimes) -> list[str]:
    """Nodes of the optimized model that no counted step ran: they are in branches that were not taken."""
    ran = set(times.names)
    return [display_name(entry) for entry in attribution.executed if executed_name(entry.index) not in ran]
