"""Compatibility of a graph with a consumer: the status, reasons and commands, and the multiply-accumulates it sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .consumers import CONSUMERS, Consumer
from .rules import COMPUTE_ONLY, CONTRACTIONS, Facts, Violation

__all__ = ["Compatibility", "Reason", "Status", "judge", "judge_all"]

Status = Literal["accepted", "converted", "refused", "unknown"]
"""Accepted as it is; accepted after some commands; not accepted; depends on ops that were never tried."""


@dataclass(frozen=True)
class Reason:
    """A reason why a graph is not accepted as it is.

    Attributes:
        text: What it is.
        nodes: Number of nodes; 0 for a property of the whole graph.
        fix: The command that gives the graph without it, or empty.
    """

    text: str
    nodes: int
    fix: str


@dataclass(frozen=True)
class Compatibility:
    """The compatibility of one graph with one consumer.

    Attributes:
        consumer: The consumer.
        status: Whether it accepts the graph.
        reasons: Why it does not accept the graph as it is, most nodes first; empty where accepted.
        commands: The commands after which it accepts the graph, for status ``converted``.
        macs_seen: Multiply-accumulates that it sees in the form that it accepts; None where unknown.
        macs: Multiply-accumulates of the graph; None where unknown.
    """

    consumer: Consumer
    status: Status
    reasons: tuple[Reason, ...]
    commands: tuple[str, ...]
    macs_seen: int | None
    macs: int | None

    @property
    def share(self) -> float | None:
        """``macs_seen / macs``; None where unknown or where the graph has none."""
        return self.macs_seen / self.macs if self.macs_seen is not None and self.macs else None


def _sum(values: Iterable[int | None]) -> int | None:
    listed = list(values)
    return None if any(v is None for v in listed) else sum(v for v in listed if v is not None)


def _violations(facts: Facts, consumer: Consumer) -> tuple[list[Violation], list[Violation]]:
    """The violations that the consumer refuses, and the ops that were never tried."""
    refused: list[Violation] = []
    untried: list[Violation] = []
    for index, node in enumerate(facts.nodes):
        if node.domain not in ("", "ai.onnx") or consumer.supported is None or node.op_type in consumer.supported:
            continue
        if consumer.others == "ignored":
            continue
        if consumer.others == "refused" or node.op_type in consumer.unsupported:
            refused.append(
                Violation(f"{node.op_type} is not supported", index, consumer.fix(node.op_type, facts.graph))
            )
        else:
            untried.append(Violation(f"{node.op_type} was never tried", index))
    for rule in consumer.rules:
        refused += rule(facts)
    return refused, untried


def _reasons(violations: Iterable[Violation]) -> tuple[Reason, ...]:
    nodes: Counter[tuple[str, str]] = Counter()
    for violation in violations:
        nodes[violation.reason, violation.fix] += violation.node is not None
    return tuple(Reason(text, count, fix) for (text, fix), count in nodes.most_common())


def _commands(facts: Facts, consumer: Consumer, violations: list[Violation]) -> tuple[str, ...]:
    """The commands that remove all violations; empty where none do."""
    if all(violation.fix for violation in violations):
        return tuple(dict.fromkeys(violation.fix for violation in violations))
    # violations of convolutions, matrix products and the whole graph remain after the conversion to these nodes alone
    remaining = [v for v in violations if v.node is None or facts.nodes[v.node].op_type in CONTRACTIONS]
    if any(True for _ in facts.of(*CONTRACTIONS)) and consumer.contractions_alone and all(v.fix for v in remaining):
        return (COMPUTE_ONLY, *dict.fromkeys(v.fix for v in remaining if v.fix != COMPUTE_ONLY))
    return ()


def judge(facts: Facts, consumer: Consumer) -> Compatibility:
    """The compatibility of a graph with one consumer."""
    total = _sum(cost.macs for cost in facts.costs)
    if consumer.via:
        seen = _seen(facts, consumer, alone=False)
        command = f"convert --to {consumer.via}"
        reason = Reason(f"reads {consumer.reads}", 0, command)
        if consumer.counted is not None and not any(True for _ in facts.of(*consumer.counted)):
            nothing = Reason("no convolution or matrix product", 0, "")
            return Compatibility(consumer, "refused", (nothing,), (), 0, total)
        return Compatibility(consumer, "converted", (reason,), (command,), seen, total)
    refused, untried = _violations(facts, consumer)
    if not refused and not untried:
        return Compatibility(consumer, "accepted", (), (), _seen(facts, consumer, alone=False), total)
    reasons = _reasons([*refused, *untried])
    commands = _commands(facts, consumer, refused)
    if refused and not commands:
        return Compatibility(consumer, "refused", reasons, (), 0, total)
    alone = COMPUTE_ONLY in commands
    if untried and not alone:
        return Compatibility(consumer, "unknown", reasons, commands, None, total)
    return Compatibility(consumer, "converted", reasons, commands, _seen(facts, consumer, alone), total)


def _seen(facts: Facts, consumer: Consumer, alone: bool) -> int | None:
    """Multiply-accumulates that a consumer sees, of the contractions alone or of the whole graph."""
    counted = consumer.counted
    return _sum(
        cost.macs
        for node, cost in zip(facts.nodes, facts.costs, strict=True)
        if (counted is None or node.op_type in counted) and (not alone or node.op_type in CONTRACTIONS)
    )


def judge_all(facts: Facts, consumers: Iterable[Consumer] = CONSUMERS) -> tuple[Compatibility, ...]:
    """The compatibility of a graph with every consumer."""
    return tuple(judge(facts, consumer) for consumer in consumers)
