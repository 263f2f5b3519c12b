"""Compatibility of a graph with a consumer: the status, reasons and commands, and the multiply-accumulates it sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from fathom_onnx.convert import LeftOut
from fathom_onnx.convert.account import account
from fathom_onnx.convert.layers import layers
from fathom_onnx.errors import GraphError
from fathom_onnx.graph.dimensions import open_dimensions

from .consumers import CONSUMERS, Consumer
from .facts import Facts, Violation
from .rules import COMPUTE_ONLY

__all__ = ["Compatibility", "Reason", "Status", "judge", "judge_all"]

Status = Literal["accepted", "converted", "refused", "unknown"]
"""Accepted as it is; accepted after some commands; not accepted; depends on ops that were never tried."""


_NOTHING = "no convolution or matrix product"


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
        reasons: Why it does not accept the graph as it is, most nodes first; where it does, what it ignores.
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
    """What the consumer refuses, and what was never tried; the nodes of bodies included."""
    found: list[Violation] = []
    for index, node in facts.everywhere():
        if node.domain not in ("", "ai.onnx") or consumer.supported is None or node.op_type in consumer.supported:
            continue
        if consumer.others == "ignored":
            continue
        if consumer.others == "refused" or node.op_type in consumer.unsupported:
            fix = consumer.fix(node.op_type, facts.graph)
            found.append(Violation(f"{node.op_type} is not supported", index, fix))
        else:
            found.append(Violation(f"{node.op_type} was never tried", index, tried=False))
    for rule in consumer.rules:
        found += rule(facts)
    return [v for v in found if v.tried], [v for v in found if not v.tried]


def _ignored(facts: Facts, consumer: Consumer) -> list[Violation]:
    """The nodes with multiply-accumulates that a consumer accepts and does not see."""
    if consumer.others != "ignored":
        return []
    return [
        Violation(f"{node.op_type} is ignored", index, COMPUTE_ONLY if consumer.contractions_alone else "")
        for index, (node, cost) in enumerate(zip(facts.nodes, facts.costs, strict=True))
        if cost.macs != 0 and not consumer.sees(node.op_type)
    ]


def _reasons(violations: Iterable[Violation]) -> tuple[Reason, ...]:
    nodes: Counter[tuple[str, str]] = Counter()
    for violation in violations:
        nodes[violation.reason, violation.fix] += violation.node is not None
    return tuple(Reason(text, count, fix) for (text, fix), count in nodes.most_common())


def _lost(left_out: Iterable[LeftOut]) -> tuple[Reason, ...]:
    """What a conversion leaves out that has multiply-accumulates, or may have some."""
    return tuple(Reason(f"{row.op} is left out: {row.reason}", row.nodes, "") for row in left_out if row.macs != 0)


def _converted(facts: Facts, consumer: Consumer, total: int | None) -> Compatibility:
    """The compatibility with a consumer that reads a format of ``convert``: what the converter itself keeps."""
    command = f"convert --to {consumer.via}"
    try:
        conversion = facts.conversion(consumer.via)
    except GraphError:
        lost = _lost(account(facts.graph, layers(facts.graph)[1]).left_out)
        return Compatibility(consumer, "refused", lost or (Reason(_NOTHING, 0, ""),), (), 0, total)
    reasons = Reason(f"reads {consumer.reads}", 0, command), *_lost(conversion.left_out)
    return Compatibility(consumer, "converted", reasons, (command,), conversion.kept.macs, conversion.total.macs)


def _of_contractions(facts: Facts, consumer: Consumer) -> Compatibility | None:
    """The compatibility of the graph's convolutions and matrix products alone; None where that is no way."""
    # sizes that are open in the file are no matter of its nodes: they have to be given
    if not consumer.contractions_alone or any(True for _ in open_dimensions(facts.stored.graph)):
        return None
    try:
        alone = judge(facts.contractions_alone, replace(consumer, contractions_alone=False))
    except GraphError:
        return None
    return alone if alone.status == "accepted" else None


def judge(facts: Facts, consumer: Consumer) -> Compatibility:
    """The compatibility of a graph with one consumer."""
    total = _sum(cost.macs for cost in facts.costs)
    if consumer.via:
        return _converted(facts, consumer, total)
    refused, untried = _violations(facts, consumer)
    seen = _sum(cost.macs for node, cost in zip(facts.nodes, facts.costs, strict=True) if consumer.sees(node.op_type))
    if not refused and not untried:
        return Compatibility(consumer, "accepted", _reasons(_ignored(facts, consumer)), (), seen, total)
    reasons = _reasons([*refused, *untried])
    fixes = tuple(dict.fromkeys(violation.fix for violation in refused))
    if refused and all(fixes) and COMPUTE_ONLY not in fixes:
        if untried:
            return Compatibility(consumer, "unknown", reasons, fixes, None, total)
        return Compatibility(consumer, "converted", reasons, fixes, seen, total)
    alone = _of_contractions(facts, consumer)
    if alone is not None:
        return Compatibility(consumer, "converted", reasons, (COMPUTE_ONLY,), alone.macs_seen, total)
    if refused:
        return Compatibility(consumer, "refused", reasons, (), 0, total)
    return Compatibility(consumer, "unknown", reasons, (), None, total)


def judge_all(facts: Facts, consumers: Iterable[Consumer] = CONSUMERS) -> tuple[Compatibility, ...]:
    """The compatibility of a graph with every consumer."""
    return tuple(judge(facts, consumer) for consumer in consumers)
