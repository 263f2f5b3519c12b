"""Graphs by number, and what came of them."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from batches import Judged

from differential.cases import Case, node_cases
from differential.compositions import Composer
from differential.judging import ALONE, Tell, judged, steady, straight
from differential.rewritings import REWRITINGS, Subject

__all__ = ["KINDS", "died", "judge", "keep", "last"]

KINDS = ("operators", "chains")
"""onnx's tests of single operators as they are, and what is put together from them."""

REWRITTEN = 2
"""Rewritings that a chain goes through, beside the reading that all do."""


@functools.cache
def composer() -> Composer:
    """What puts graphs together, from the cases that onnxruntime runs."""
    return Composer([case for case in node_cases() if straight(case, ["none"]) is not None])


def _made(kind: str, number: int) -> tuple[Case, random.Random]:
    chosen = random.Random(f"{kind}:{number}")
    if kind == "operators":
        return node_cases()[number], chosen
    return composer().draw(chosen), chosen


def last(kind: str) -> int | None:
    """The number of the last graph of a kind; None where there is no end."""
    return len(node_cases()) - 1 if kind == "operators" else None


def judge(kind: str, number: int, place: Path, tell: Tell) -> Judged:
    """Make a graph, run and count it as it is, by our way and rewritten.

    Args:
        kind: One of :data:`KINDS`.
        number: Its number, which says all about it.
        place: A folder for files.
        tell: Says what is done next, for one who finds the process dead.
    """
    try:
        case, chosen = _made(kind, number)
    except Exception as error:  # onnx's composer refuses some pairs: of two IRs, of two uses of a name
        return Judged((f"not composed: {type(error).__name__}",))
    expected = straight(case)
    if expected is None:
        return Judged(("onnxruntime refuses",))
    if not all(map(_declared, case.model.graph.output, expected["none"])):
        return Judged(("declares another shape than it has",))
    tell(ALONE)
    graph, found = judged(case, expected, place)
    tried = []
    if graph is not None:
        subject = Subject(case, graph, expected, place, tell, chosen)
        several = list(REWRITINGS) if kind == "operators" else chosen.sample(list(REWRITINGS), REWRITTEN)
        for name in several:
            more = REWRITINGS[name](subject)
            if more is not None:
                tried.append(name)
                found += more
    if found and not steady(case, expected):
        return Judged(("onnxruntime differs from itself",))
    finding = f"{found[0]} [{case.name}]" if found else None
    return Judged(("differs" if found else "same", *tried, *(["functions"] if case.model.functions else [])), finding)


def _declared(output: onnx.ValueInfoProto, value: Any) -> bool:
    """Whether an output has the shape that is declared: not so where one case gives a size to another."""
    kind = output.type.tensor_type
    if not isinstance(value, np.ndarray) or not kind.HasField("shape"):
        return True
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    return len(sizes) == value.ndim and all(a in (None, b) for a, b in zip(sizes, value.shape, strict=True))


def died(told: str, how: str) -> Judged:
    """What came of a graph whose process died: onnxruntime crashes on some by itself."""
    if told == ALONE:
        return Judged(("differs",), f"ended by {how} {ALONE}")
    return Judged((f"onnxruntime ends by {how}",))


def keep(kind: str, number: int, path: Path) -> None:
    """Write the model of a graph to a path that begins so."""
    onnx.save(_made(kind, number)[0].model, f"{path}.onnx")
