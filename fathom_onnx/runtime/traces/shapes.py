"""Shapes in a trace: the types and shapes of the tensors that each execution of a node took and gave.

onnxruntime lists tensors in the node's order and leaves some out: optional ones that are not given, sequences, and
weights that a kernel packed for itself when the session was built.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from fathom_onnx.errors import RunError

from .events import NODE_SUFFIX, RUN, read_blocks

__all__ = ["Form", "NodeShapes", "TensorShape", "listed_tensors", "read_shapes"]


_PART = {
    side: re.compile(rb'"' + side.encode() + rb'_type_shape" : (\[(?:\{[^{}]*\},?)*\])') for side in ("input", "output")
}

_TYPES = {
    "float": "float32",
    "double": "float64",
    "Int4x2": "int4",
    "UInt4x2": "uint4",
    "Int2x4": "int2",
    "UInt2x4": "uint2",
    "Float4E2M1x2": "float4_e2m1fn",
    "Float8E4M3FN": "float8_e4m3fn",
    "Float8E4M3FNUZ": "float8_e4m3fnuz",
    "Float8E5M2": "float8_e5m2",
    "Float8E5M2FNUZ": "float8_e5m2fnuz",
    "string": "object",
}
"""onnxruntime's name of an element type to the package's, where they differ."""


class TensorShape(NamedTuple):
    """Element type and shape of a tensor in one execution."""

    dtype: str
    shape: tuple[int, ...]


class Form(NamedTuple):
    """What a node took and gave in an execution, as far as the trace lists it."""

    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]


@dataclass(frozen=True)
class NodeShapes:
    """The executions of one node in the counted steps.

    Attributes:
        forms: Its different forms; one, unless shapes depend on data.
        calls: Executions in each form, [steps, forms].
    """

    forms: tuple[Form, ...]
    calls: npt.NDArray[np.int64]


def listed_tensors(listed: Any) -> tuple[TensorShape, ...]:
    """Tensors from a list like ``[{"float": [1, 3]}, {"int64": []}]``."""
    return tuple(
        TensorShape(_TYPES.get(kind, kind.lower()), tuple(int(n) for n in dims))
        for entry in listed
        for kind, dims in entry.items()
    )


class _Forms:
    """Places of nodes in their forms, numbered as they come."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, Form], int] = {}
        self._parsed: dict[tuple[bytes, bytes], Form] = {}
        self._last: dict[bytes, tuple[bytes, bytes, int]] = {}

    def of_renamed(self, name: bytes, text: bytes) -> int | None:
        """The place of an execution of a renamed node, or None where its shapes are not written as they should be."""
        if name in self._last:  # most nodes take and give the same in all executions
            taken_before, given_before, place = self._last[name]
            if taken_before in text and given_before in text:
                return place
        taken, given = _PART["input"].search(text), _PART["output"].search(text)
        if taken is None or given is None:
            return None
        key = taken[1], given[1]
        if key not in self._parsed:
            self._parsed[key] = Form(listed_tensors(orjson.loads(key[0])), listed_tensors(orjson.loads(key[1])))
        place = self._place(name.decode(), self._parsed[key])
        self._last[name] = taken[0], given[0], place
        return place

    def of_event(self, event: Any) -> int | None:
        """The place of an execution of any node; None for an event that is none."""
        name, arguments = str(event["name"]), event.get("args", {})
        if event["cat"] != "Node" or not name.endswith(NODE_SUFFIX):
            return None
        sides = (listed_tensors(arguments.get(f"{side}_type_shape", ())) for side in ("input", "output"))
        return self._place(name[: -len(NODE_SUFFIX)], Form(*sides))

    def _place(self, name: str, form: Form) -> int:
        return self.places.setdefault((name, form), len(self.places))


def _calls(path: Path, warmup: int, forms: _Forms) -> Iterator[npt.NDArray[np.int64]]:
    """How often each place was executed, for each run of a trace after the first ``warmup``."""
    run, counts = 0, Counter[int]()
    for text, _, _, _, name in itertools.chain.from_iterable(read_blocks(path)):
        if name and run < warmup:
            continue
        try:
            place = forms.of_renamed(name, text) if name else None
            if place is None:
                event = orjson.loads(text)
                if event["name"] == RUN:
                    if run >= warmup:
                        # kept as numbers, not as a dict: a long profile has a million of them
                        row = np.zeros(len(forms.places), np.int64)
                        row[list(counts)] = list(counts.values())
                        yield row
                        counts.clear()
                    run += 1
                    continue
                place = forms.of_event(event) if run >= warmup else None
            if place is not None:
                counts[place] += 1
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"trace '{path.name}' has an event that cannot be read", "profile again") from error


def read_shapes(traces: Sequence[Path], skipped: Sequence[int]) -> dict[str, NodeShapes]:
    """The shapes of all nodes in the counted steps of some traces, by the nodes' names.

    Args:
        traces: The traces of a run, in order.
        skipped: How many runs at the start of each are not counted.

    Raises:
        RunError: A trace is missing, cut short or broken.
    """
    forms = _Forms()
    rows = [row for path, warmup in zip(traces, skipped, strict=True) for row in _calls(path, warmup, forms)]
    calls = np.zeros((len(rows), len(forms.places)), np.int64)
    for step, row in enumerate(rows):
        calls[step, : len(row)] = row
    of_node: dict[str, list[tuple[Form, int]]] = {}
    for (name, form), place in forms.places.items():
        of_node.setdefault(name, []).append((form, place))
    return {
        name: NodeShapes(tuple(form for form, _ in each), calls[:, [place for _, place in each]])
        for name, each in of_node.items()
    }
