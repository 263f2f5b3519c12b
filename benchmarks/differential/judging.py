"""What a graph gives and counts, straight and by our way."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime

from differential.cases import Case
from fathom_onnx.analysis.cost.node_costs import graph_costs, total_cost
from fathom_onnx.graph import Graph, load
from fathom_onnx.graph.parameters import parameters_by_node
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import LEVELS, SessionSettings

__all__ = [
    "ALONE",
    "FUSED",
    "Tell",
    "Values",
    "apart",
    "counted",
    "different",
    "different_with_shapes",
    "in_onnxruntime",
    "judged",
    "made_by_us",
    "miscounted",
    "most_apart",
    "sizes_of",
    "steady",
    "straight",
]

FUSED = 1e-6
"""How far outputs of floats may be apart, of their largest, where onnxruntime fuses the same nodes in another way."""

ALONE = "by our way alone"
"""What a process says before it does what onnxruntime has done by itself already."""

_AGAIN = 10
"""Runs that tell whether onnxruntime gives the same each time, where something differs."""

Tell = Callable[[str], None]
Values = Mapping[str, Any]
"""Name of a tensor to its value."""


def in_onnxruntime(model: onnx.ModelProto | Path, fed: Values, level: str) -> list[Any]:
    """The outputs of a model, without any code of ours.

    Args:
        model: The model, or its file.
        fed: Values of its inputs, and perhaps of others.
        level: Name of the level of optimization.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])  # type: ignore[index]
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return _run(onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"]), fed)


def _run(session: Any, fed: Values) -> list[Any]:
    given = {i.name for i in session.get_inputs()}
    return list(session.run([o.name for o in session.get_outputs()], {n: v for n, v in fed.items() if n in given}))


def straight(case: Case, levels: Iterable[str] = tuple(reversed(LEVELS))) -> dict[str, list[Any]] | None:
    """The outputs of a case as onnxruntime gives them by itself, by level; a level at which it refuses is left out.

    None where it refuses the model without any optimization, and where it gives something else the second time: its
    batch normalization in training reads memory that nobody has written.

    Args:
        case: The case.
        levels: Names of the levels of optimization, ``none`` first.
    """
    found = {}
    for level in levels:
        try:
            found[level] = in_onnxruntime(case.model, case.fed, level)
            if level == "none" and not all(map(_equal, found[level], in_onnxruntime(case.model, case.fed, level))):
                return None
        except Exception:  # whatever it is, onnxruntime says that it does not run this
            if level == "none":
                return None
    return found


def steady(case: Case, expected: Mapping[str, Sequence[Any]]) -> bool:
    """Whether onnxruntime by itself gives the same each time; twice the same may be chance where it reads such memory.

    Args:
        case: The case.
        expected: Its outputs as :func:`straight` gives them.
    """
    return all(
        all(map(_equal, outputs, in_onnxruntime(case.model, case.fed, level)))
        for level, outputs in expected.items()
        for _ in range(_AGAIN)
    )


def made_by_us(graph: Graph, fed: Values, level: str, values: Values | None = None) -> list[Any]:
    """The outputs of a graph by our way.

    Args:
        graph: The graph.
        fed: Values of its inputs, and perhaps of others.
        level: Name of the level of optimization.
        values: Values of its variables.
    """
    settings = SessionSettings(threads=1, optimization=level)  # type: ignore[arg-type]
    return _run(open_session(prepare(graph, values), settings), fed)


def _equal(a: Any, b: Any) -> bool:
    """Whether two outputs are the same to the last bit; NaN equals NaN."""
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(_equal, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool((a == b).all()) if a.dtype.kind in "OUS" else a.tobytes() == b.tobytes() or _same_numbers(a, b)


def _same_numbers(a: Any, b: Any) -> bool:
    try:
        return bool(np.array_equal(a, b, equal_nan=True))
    except TypeError:
        return False


def apart(found: Any, true: Any, over: Any = None) -> float:
    """How far two outputs are apart, over the largest of the second or, element by element, over what is given.

    Infinite where they are no floats of one shape.
    """
    if _equal(found, true):
        return 0.0
    found, true = np.asarray(found), np.asarray(true)
    if found.shape != true.shape or found.dtype != true.dtype or true.dtype.kind != "f":
        return math.inf
    found, true = found.astype("float64"), true.astype("float64")
    with np.errstate(all="ignore"):
        same = (found == true) | (np.isnan(found) & np.isnan(true))
        distances = np.where(same, 0.0, np.abs(found - true))
        if over is None:
            far = float(distances.max(initial=0.0) / np.abs(true[np.isfinite(true)]).max(initial=0.0))
        else:
            far = float(np.where(same | np.isinf(over), 0.0, distances / over).max(initial=0.0))
    return far if math.isfinite(far) else math.inf


def counted(graph: Graph) -> dict[str, int | None]:
    """Sums over the graph; None where a node's part is not known."""
    whole = total_cost(graph_costs(graph))
    return {what: getattr(whole, what) for what in ("macs", "flops", "bytes_read", "bytes_written")}


def sizes_of(case: Case) -> dict[str, int]:
    """The sizes that the inputs give to dimensions which the model leaves open, by name."""
    found = {}
    for value in case.model.graph.input:
        shape = getattr(case.fed.get(value.name), "shape", ())
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=False):
            if dim.dim_param:
                found[dim.dim_param] = int(size)
    return found


def judged(case: Case, expected: Mapping[str, Sequence[Any]], place: Path) -> tuple[Graph | None, list[str]]:
    """The graph of a case, and what differs: a line each, by kind, and then the detail after a colon.

    Args:
        case: The case.
        expected: Its outputs as onnxruntime gives them by itself, by level.
        place: A folder for its file.
    """
    path = place / "case.onnx"
    path.write_bytes(case.model.SerializeToString())
    try:
        graph = load(path, sizes_of(case))
    except Exception as error:  # onnxruntime runs it
        return None, [f"refused to read: {type(error).__name__} {error}"]
    found: list[str] = []
    names = [o.name for o in case.model.graph.output]
    for level, outputs in expected.items():
        run = functools.partial(made_by_us, graph, case.fed, level)
        found += different_with_shapes("our way", level, names, run, outputs, case, case.model)
    for name, value in zip(names, expected["none"], strict=True):
        known = graph.tensors[name].shape if name in graph.tensors else None
        if known is not None and isinstance(value, np.ndarray) and known != value.shape:
            found.append(f"another shape than it has: {name} {known} and {value.shape}")
    others = {"plain": case.plain}
    if case.model.functions:
        others["inlined by onnx"] = onnx.inliner.inline_local_functions(case.model)
    for kind, model in others.items():
        if model is not None:
            other = place / "other.onnx"
            other.write_bytes(model.SerializeToString())
            found += miscounted(kind, graph, load(other, sizes_of(case)))
    return graph, found


def most_apart(case: Case, level: str) -> float:
    """How far outputs may be apart, of their largest, where we have written out the functions of a case, if any.

    onnxruntime fuses their nodes otherwise when they are written out before it reads them.
    """
    return FUSED if case.model.functions and level in ("all", "extended") else 0.0


def different(
    kind: str,
    level: str,
    names: Sequence[str],
    run: Callable[[], list[Any]],
    expected: Sequence[Any],
    most: float = 0.0,
    over: Sequence[Any] | None = None,
) -> list[str]:
    """What is wrong with outputs, as a line, or nothing.

    Args:
        kind: What made them.
        level: Name of the level of optimization.
        names: Their names.
        run: Gives them.
        expected: What they have to be.
        most: How far they may be apart from it, over the largest.
        over: What that is over instead, element by element; for an output for which it is None they have to be equal.
    """
    try:
        outputs = run()
    except Exception as error:
        return [f"{kind} refused to run: {level} {type(error).__name__} {error}"]
    for name, a, b, each in zip(names, outputs, expected, over or [None] * len(names), strict=True):
        if (far := apart(a, b, each)) > (0.0 if over is not None and each is None else most):
            of = "its largest" if each is None else "what rounding allows"
            return [f"{kind} gives other outputs: {level} {name} by {far:.1e} of {of}"]
    return []


def different_with_shapes(
    kind: str,
    level: str,
    names: Sequence[str],
    run: Callable[[], list[Any]],
    expected: Sequence[Any],
    case: Case,
    model: onnx.ModelProto,
) -> list[str]:
    """As :func:`different`, of a graph that says more shapes than the model: onnxruntime fuses more nodes with them.

    Nothing is wrong where outputs are what onnxruntime by itself gives for the model with the shapes of its tensors.

    Args:
        kind: What made the outputs.
        level: Name of the level of optimization.
        names: Their names.
        run: Gives them.
        expected: What onnxruntime by itself gives for the model.
        case: The case.
        model: Its model, or this with some of its inputs as constants.
    """
    most = most_apart(case, level)
    found = different(kind, level, names, run, expected, most)
    return found and different(kind, level, names, run, in_onnxruntime(_shaped(model, case.fed), case.fed, level), most)


def _shaped(model: onnx.ModelProto, fed: Values) -> onnx.ModelProto:
    """A model that says of each tensor of its graph the shape that it has when onnxruntime runs it."""
    shaped = onnx.inliner.inline_local_functions(model)
    outputs = {value.name for value in shaped.graph.output}
    inner = [name for node in shaped.graph.node for name in node.output if name and name not in outputs]
    exposed = onnx.ModelProto()
    exposed.CopyFrom(shaped)
    exposed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    del shaped.graph.value_info[:]
    for name, value in zip(inner, in_onnxruntime(exposed, fed, "none")[len(outputs) :], strict=True):
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            shaped.graph.value_info.append(onnx.helper.make_tensor_value_info(name, kind, value.shape))
    return shaped


def miscounted(kind: str, graph: Graph, other: Graph) -> list[str]:
    """What is counted otherwise in a graph than in one that computes the same, as a line, or nothing."""
    counts, expected = counted(graph), counted(other)
    if set(graph.initializers) == set(other.initializers):
        for each, of in ((counts, graph), (expected, other)):
            each["parameters"] = sum(parameters_by_node(of).values())
    # a constant may say more than an input, and nothing may be lost
    if any(value != counts[what] for what, value in expected.items() if value is not None):
        return [f"other counts than {kind}: {counts} and {expected}"]
    return []
