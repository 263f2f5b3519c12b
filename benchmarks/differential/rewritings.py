"""What we write anew of a graph, and what has to be the same afterwards.

Each function gives the lines of what differs; None where the rewriting does not apply to a graph, or is refused.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from differential.cases import Case
from differential.judging import (
    ALONE,
    Tell,
    apart,
    counted,
    different,
    different_with_shapes,
    in_onnxruntime,
    made_by_us,
    miscounted,
    sizes_of,
)
from differential.rounding import allowed
from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.analysis.overlays.netron import describe_nodes, name_nodes
from fathom_onnx.analysis.overlays.overlay import NodeTime, write_copy
from fathom_onnx.convert import find_converter
from fathom_onnx.errors import FathomError
from fathom_onnx.graph import Graph, GraphMetadata, from_model, load
from fathom_onnx.graph.bodies import numbered, outputs_of
from fathom_onnx.workloads.contract import Initialiser, Variable

__all__ = ["REWRITINGS", "Subject"]

OTHER_BATCH = 1e-5
"""How far outputs of floats may be apart, of their largest, at another batch size: products sum in another order."""

_DEPENDENT = ("Det", "LinearAttention")
"""Ops whose products depend on one another: no form for simulators has them, and converting says so."""

_BINDABLE = ("float32", "float64", "int32", "int64")


@dataclass(frozen=True)
class Subject:
    """A graph to be rewritten.

    Attributes:
        case: The case.
        graph: It as we read it.
        straight: Its outputs as onnxruntime gives them by itself, by level.
        place: A folder for files.
        tell: Says what is done next, for one who finds the process dead.
        chosen: Random numbers.
    """

    case: Case
    graph: Graph
    straight: Mapping[str, Sequence[Any]]
    place: Path
    tell: Tell
    chosen: random.Random

    @property
    def outputs(self) -> list[str]:
        """Names of its outputs."""
        return [o.name for o in self.case.model.graph.output]


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _converted(subject: Subject, to: str, graph: Graph, **options: Any) -> Path | None:
    """The file of a conversion; None where it is refused."""
    converter = find_converter(to)
    try:
        files = converter.convert(graph, converter.request(to, options)).files
    except FathomError:
        return None
    for suffix, content in files.items():
        with (subject.place / f"{to}{suffix}").open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
    return subject.place / f"{to}{converter.suffix}"


def overlaid(subject: Subject) -> list[str] | None:
    """Times in the names and the metadata of all nodes: outputs equal to the last bit, and all counts."""
    model, path = _copy(subject.case.model), subject.place / "overlaid.onnx"
    for part in (model.graph, *model.functions):
        times = [NodeTime(entry, float(n), 0.01, n + 1, "ran") for n, entry in enumerate(numbered(part))]
        describe_nodes(model, times)
        name_nodes(model, times)
    try:
        write_copy(model, subject.place / "case.onnx", path)
    except FathomError as error:
        return [f"overlay refused: {error}"]
    found = []
    for level, expected in subject.straight.items():
        run = functools.partial(in_onnxruntime, path, subject.case.fed, level)
        found += different("overlay", level, subject.outputs, run, expected)
    return found + miscounted("its overlay", load(path, sizes_of(subject.case)), subject.graph)


def bound(subject: Subject) -> list[str] | None:
    """Some inputs become parameters, and these constants: by us, and by onnx; and in a file beside the graph."""
    case, chosen = subject.case, subject.chosen
    declared = {v.name: v for v in case.model.graph.input}
    held = {t.name for t in case.model.graph.initializer}
    values = {
        name: value
        for name, value in case.fed.items()
        if isinstance(value, np.ndarray)
        and str(value.dtype) in _BINDABLE
        and name not in held
        and chosen.random() < 0.6
    }
    if not values or any(not d.HasField("dim_value") for n in values for d in declared[n].type.tensor_type.shape.dim):
        return None
    plain = _copy(case.model)
    plain.ir_version = max(plain.ir_version, 4)
    kept = [value for value in plain.graph.input if value.name not in values]
    del plain.graph.input[:]
    plain.graph.input.extend(kept)
    plain.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    expected = {}
    for level in subject.straight:
        try:
            expected[level] = in_onnxruntime(plain, case.fed, level)
        except Exception:  # it folds what it cannot compute
            continue
    marked = _copy(case.model)
    variables = tuple(Variable(n, v.shape, Initialiser.constant(0.0), str(v.dtype)) for n, v in values.items())
    GraphMetadata(
        **{"workload": "differential", "preset": "tiny", "config": {}, "mode": "inference", "framework": "hand"},
        **{"framework_version": "1", "noise": "graph", "purpose": "simulators", "data": "synthetic"},
        variables=variables,
        parameters=tuple(values),
        state=(),
    ).write(marked)
    subject.tell(ALONE)
    graph = from_model(marked, "bound", dimensions=sizes_of(case))
    found = []
    for level, outputs in expected.items():
        run = functools.partial(made_by_us, graph, case.fed, level, values)
        found += different_with_shapes("binding", level, subject.outputs, run, outputs, case, plain)
    np.savez(subject.place / "values.npz", **values)
    path = _converted(subject, "initializers", graph, values=str(subject.place / "values.npz"))
    if path is not None:
        for level, outputs in expected.items():
            run = functools.partial(in_onnxruntime, path, case.fed, level)
            found += different_with_shapes("initializers", level, subject.outputs, run, outputs, case, plain)
        found += miscounted("with its inputs", load(path), subject.graph)
    return found


def rebatched(subject: Subject) -> list[str] | None:
    """Twice the batch: its samples twice over give each output twice over, or what an open batch gives."""
    case, graph = subject.case, subject.graph
    sizes = {t.shape[0] for t in graph.inputs if t.shape}
    if len(sizes) != 1 or not (old := next(iter(sizes))):
        return None
    subject.tell(ALONE)
    path = _converted(subject, "batch", graph, batch=2 * old)
    if path is None:
        return None
    fed = {n: np.concatenate([v, v]) if getattr(v, "ndim", 0) else v for n, v in case.fed.items()}
    opened = _opened(graph.model)
    found = []
    for level, before in subject.straight.items():
        try:
            open_outputs: list[Any] = in_onnxruntime(opened, fed, level)
        except Exception:  # the batch stands in it as a constant
            open_outputs = [None] * len(before)
        try:
            after = in_onnxruntime(path, fed, level)
        except Exception as error:
            found.append(f"batch refused to run: {level} {type(error).__name__} {error}")
            continue
        for name, new, whole, one in zip(subject.outputs, after, open_outputs, before, strict=True):
            if min([apart(new, whole), *(apart(new, twice) for twice in _twice(new, one))]) > OTHER_BATCH:
                found.append(f"batch gives other outputs: {level} {name}")
                break
    again = _converted(subject, "batch", load(path), batch=old, check="shapes")
    if again is not None:
        found += miscounted("twice the batch and back", load(again), graph)
    return found


def _twice(new: Any, one: Any) -> list[Any]:
    """An output twice over, along the axis that has grown."""
    shapes = np.shape(one), np.shape(new)
    if len(shapes[0]) != len(shapes[1]):
        return []
    return [np.concatenate([one, one], axis) for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]


def _opened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with the first dimension of its inputs open, and no other shape declared."""
    opened = _copy(model)
    constants = {t.name for t in opened.graph.initializer}
    del opened.graph.value_info[:]
    for value in opened.graph.input:
        if value.name not in constants and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    for value in opened.graph.output:
        value.type.tensor_type.ClearField("shape")
    return opened


def products_alone(subject: Subject) -> list[str] | None:
    """The form for simulators: convolutions and matrix products alone give what they give in the graph."""
    graph = subject.graph
    path = _converted(subject, "compute-only", graph)
    if path is None:
        return None
    alone = load(path)
    found = []
    macs, whole = counted(alone)["macs"], counted(graph)["macs"]
    costs = zip(graph.model.graph.node, graph_costs(graph), strict=True)
    # where a size is open there may be MACs all the same, by the other tensors
    without = sum(c.macs or 0 for node, c in costs if node.op_type in _DEPENDENT or c.bytes_moved is None)
    if whole is not None and macs != whole - without:
        found.append(f"products have other MACs: {macs} alone and {whole - without}")
    made = {name for node in graph.model.graph.node for name in outputs_of(node)}
    known = set(subject.case.fed) | made
    wanted = [o.name for o in alone.outputs if o.name in made]
    needed = [i.name for i in alone.inputs if i.name in known]
    if not wanted or any(i.name not in known for i in alone.inputs):
        return found  # products within other ops are on tensors of their own
    exposed = _copy(graph.model)
    given = {v.name: v for v in [*exposed.graph.output, *exposed.graph.value_info]}
    names = list(dict.fromkeys(name for name in [*wanted, *needed] if name in made))
    del exposed.graph.output[:]
    exposed.graph.output.extend(given.get(n, onnx.helper.make_empty_tensor_value_info(n)) for n in names)
    inside = dict(zip(names, in_onnxruntime(exposed, subject.case.fed, "none"), strict=True))
    expected = [inside[o.name] for o in alone.outputs]
    fed = {**subject.case.fed, **inside}
    over = allowed(onnx.load(path), fed, functools.partial(in_onnxruntime, level="none"))
    exact = all(value.dtype != np.float16 for value in expected)
    for level in subject.straight:
        run = functools.partial(in_onnxruntime, path, fed, level)
        if level == "none" and exact:
            found += different("products", level, wanted, run, expected)
        else:
            found += different("products", level, wanted, run, expected, 1.0, over)
    return found


REWRITINGS: dict[str, Callable[[Subject], list[str] | None]] = {
    "overlay": overlaid,
    "bound": bound,
    "batch": rebatched,
    "products": products_alone,
}
"""Rewriting to its judge."""
