"""Shapes in a trace: the types and shapes of the tensors that each execution of a node took and gave.

onnxruntime lists tensors in the node's order and leaves some out: optional ones that are not given, sequences, and
weights that a kernel packed for itself when the session was built.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from fathom_onnx.errors import RunError

from .events import read_lines

__all__ = ["Form", "NodeShapes", "TensorShape", "listed_tensors", "read_shapes"]

_SUFFIX = "_kernel_time"
_RUN = "model_run"

_FAST = re.compile(rb'"name" :"(k\d+)_kernel_time"')
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


def _events(lines: Iterable[bytes], path: Path) -> Iterator[tuple[str, Form | None]]:
    """(Name of a node, its form) for each execution, and ("model_run", None) at the end of each run."""
    known: dict[tuple[bytes, bytes], Form] = {}
    for line in lines:
        name = _FAST.search(line)
        taken, given = _PART["input"].search(line), _PART["output"].search(line)
        if name is not None and taken is not None and given is not None:
            key = taken[1], given[1]
            if key not in known:
                known[key] = Form(listed_tensors(orjson.loads(key[0])), listed_tensors(orjson.loads(key[1])))
            yield name[1].decode(), known[key]
            continue
        try:
            event = orjson.loads(line)
            text, arguments = str(event["name"]), event.get("args", {})
            if text == _RUN:
                yield _RUN, None
            elif event["cat"] == "Node" and text.endswith(_SUFFIX):
                sides = (listed_tensors(arguments.get(f"{side}_type_shape", ())) for side in ("input", "output"))
                yield text[: -len(_SUFFIX)], Form(*sides)
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
    places: dict[tuple[str, Form], int] = {}
    rows: list[npt.NDArray[np.int64]] = []
    for path, warmup in zip(traces, skipped, strict=True):
        run, counts = 0, Counter[int]()
        for name, form in _events(read_lines(path), path):
            if form is not None:
                if run >= warmup:
                    counts[places.setdefault((name, form), len(places))] += 1
                continue
            if run >= warmup:
                # kept as numbers, not as a dict: a long profile has a million of them
                row = np.zeros(len(places), np.int64)
                row[list(counts)] = list(counts.values())
                rows.append(row)
                counts.clear()
            run += 1
    calls = np.zeros((len(rows), len(places)), np.int64)
    for step, row in enumerate(rows):
        calls[step, : len(row)] = row
    of_node: dict[str, list[tuple[Form, int]]] = {}
    for (name, form), place in places.items():
        of_node.setdefault(name, []).append((form, place))
    return {
        name: NodeShapes(tuple(form for form, _ in forms), calls[:, [place for _, place in forms]])
        for name, forms in of_node.items()
    }
