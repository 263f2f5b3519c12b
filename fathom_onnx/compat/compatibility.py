"""Whether a consumer takes a graph, what stands in the way, and how many of the multiply-accumulates it then sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .consumers import CONSUMERS, Consumer
from .rules import COMPUTE_ONLY, CONTRACTIONS, Facts, Violation

__all__ = ["Compatibility", "Reason", "Status", "judge", "judge_all"]

Status = Literal["accepted", "converted", "refused", "unknown"]
"""Taken as it is; taken after a command that is named; not taken; taken if an op that was never tried is."""


@dataclass(frozen=True)
class Reason:
    """Why a graph is not taken as it is: what, in how many nodes (0: a property of the graph), and the way out."""

    text: str
    nodes: int
    fix: str


@dataclass(frozen=True)
class Compatibility:
    """What one consumer makes of one graph.

    Attributes:
        consumer: Who.
        status: Whether it takes the graph.
        reasons: What stands in the way, most nodes first; empty where accepted.
        way: The commands after which it takes the graph, for status ``converted``.
        macs_seen: Multiply-accumulates that it sees of those of the graph, in that form; None where unknown.
        macs: All of the graph; None where unknown.
    """

    consumer: Consumer
    status: Status
    reasons: tuple[Reason, ...]
    way: tuple[str, ...]
    macs_seen: int | None
    macs: int | None

    @property
    def share(self) -> float | None:
        """``macs_seen`` of ``macs``; None where unknown or where the graph has none."""
        return self.macs_seen / self.macs if self.macs_seen is not None and self.macs else None


def _sum(values: Iterable[int | None]) -> int | None:
    listed = list(values)
    return None if any(v is None for v in listed) else sum(v for v in listed if v is not None)


def _violations(facts: Facts, consumer: Consumer) -> tuple[list[Violation], list[Violation]]:
    """What the consumer refuses, and what nobody has tried."""
    refused: list[Violation] = []
    untried: list[Violation] = []
    for index, node in enumerate(facts.nodes):
        if node.domain not in ("", "ai.onnx") or consumer.takes is None or node.op_type in consumer.takes:
            continue
        if consumer.others == "ignored":
            continue
        if consumer.others == "refused" or node.op_type in consumer.refuses:
            refused.append(
                Violation(f"{node.op_type} is not supported", index, consumer.fix(node.op_type, facts.graph))
            )
        else:
            untried.append(Violation(f"{node.op_type} was never tried", index))
    for rule in consumer.rules:
        refused += rule(facts)
    return refused, untried


def _reasons(violationes: Iterable[Violation]) -> tuple[Reason, ...]:
    nodes: Counter[tuple[str, str]] = Counter()
    for violation in violationes:
        nodes[violation.reason, violation.fix] += violation.node is not None
    return tuple(Reason(text, count, fix) for (text, fix), count in nodes.most_common())


def _way(facts: Facts, consumer: Consumer, violationes: list[Violation]) -> tuple[str, ...]:
    """The commands that do away with every violation; empty where there are none that do."""
    if all(violation.fix for violation in violationes):
        return tuple(dict.fromkeys(violation.fix for violation in violationes))
    # only what is a convolution or a matrix product, or the whole graph's, outlives the conversion to these alone
    outlive = [b for b in violationes if b.node is None or facts.nodes[b.node].op_type in CONTRACTIONS]
    if any(True for _ in facts.of(*CONTRACTIONS)) and consumer.contractions_alone and all(b.fix for b in outlive):
        return (COMPUTE_ONLY, *dict.fromkeys(b.fix for b in outlive if b.fix != COMPUTE_ONLY))
    return ()


def judge(facts: Facts, consumer: Consumer) -> Compatibility:
    """What one consumer makes of a graph, by its rules."""
    total = _sum(cost.macs for cost in facts.costs)
    if consumer.via:
        seen = _seen(facts, consumer, alone=False)
        command = f"convert --to {consumer.via}"
        reason = Reason(f"reads {consumer.reads}", 0, command)
        if consumer.counts is not None and not any(True for _ in facts.of(*consumer.counts)):
            nothing = Reason("no convolution or matrix product", 0, "")
            return Compatibility(consumer, "refused", (nothing,), (), 0, total)
        return Compatibility(consumer, "converted", (reason,), (command,), seen, total)
    refused, untried = _violations(facts, consumer)
    if not refused and not untried:
        return Compatibility(consumer, "accepted", (), (), _seen(facts, consumer, alone=False), total)
    reasons = _reasons([*refused, *untried])
    way = _way(facts, consumer, refused)
    if refused and not way:
        return Compatibility(consumer, "refused", reasons, (), 0, total)
    alone = COMPUTE_ONLY in way
    if untried and not alone:
        return Compatibility(consumer, "unknown", reasons, way, None, total)
    return Compatibility(consumer, "converted", reasons, way, _seen(facts, consumer, alone), total)


def _seen(facts: Facts, consumer: Consumer, alone: bool) -> int | None:
    counted = consumer.counts
    return _sum(
        cost.macs
        for node, cost in zip(facts.nodes, facts.costs, strict=True)
        if (counted is None or node.op_type in counted) and (not alone or node.op_type in CONTRACTIONS)
    )


def judge_all(facts: Facts, consumers: Iterable[Consumer] = CONSUMERS) -> tuple[Compatibility, ...]:
    """What every consumer makes of a graph."""
    return tuple(judge(facts, consumer) for consumer in consumers)
