"""What a graph gives and counts, straight and by our way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime

from differential.cases import Case
from fathom_onnx.analysis.cost.node_costs import graph_costs, total_cost
from fathom_onnx.graph import Graph, load
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import LEVELS, SessionSettings

__all__ = ["FUSED", "differences", "runs_straight"]

FUSED = 1e-6
"""How far outputs of float32 may be apart, of their largest, where a function's nodes are fused in another way."""


def _straight(model: onnx.ModelProto, inputs: Sequence[Any], level: str) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = dict(zip((i.name for i in model.graph.input), inputs, strict=True))
    given = {i.name for i in session.get_inputs()}
    return list(session.run([o.name for o in model.graph.output], {n: v for n, v in fed.items() if n in given}))


def runs_straight(case: Case) -> list[Any] | None:
    """The outputs of a case as onnxruntime gives them without any optimization.

    None where it refuses the model, and where it gives something else the second time: its batch normalization in
    training reads memory that nobody has written.
    """
    try:
        first, second = (_straight(case.model, case.inputs, "none") for _ in range(2))
    except Exception:  # whatever it is, onnxruntime says that it does not run this
        return None
    return first if all(map(_equal, first, second)) else None


def _ours(graph: Graph, case: Case, level: str) -> list[Any]:
    session = open_session(prepare(graph), SessionSettings(threads=1, optimization=level))  # type: ignore[arg-type]
    fed = dict(zip((i.name for i in case.model.graph.input), case.inputs, strict=True))
    given = {i.name for i in session.get_inputs()}
    names = [o.name for o in case.model.graph.output]
    return list(session.run(names, {n: v for n, v in fed.items() if n in given}))


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


def _apart(found: Any, true: Any) -> float:
    """How far two arrays of numbers are apart, over the largest of the second; infinite for anything else."""
    found, true = np.asarray(found), np.asarray(true)
    if found.shape != true.shape or found.dtype != true.dtype or true.dtype.kind != "f":
        return math.inf
    difference = np.abs(found.astype("float64") - true.astype("float64"))
    apart = float(difference.max() / np.abs(true.astype("float64")).max())
    return apart if math.isfinite(apart) else math.inf


def _counted(graph: Graph) -> dict[str, int | None]:
    """Sums over the graph; None where a node's part is not known."""
    whole = total_cost(graph_costs(graph))
    return {what: getattr(whole, what) for what in ("macs", "flops", "bytes_read", "bytes_written")}


def _sizes(case: Case) -> dict[str, int]:
    """The sizes that the inputs give to dimensions which the model leaves open, by name."""
    found = {}
    for value, given in zip(case.model.graph.input, case.inputs, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, getattr(given, "shape", ()), strict=False):
            if dim.dim_param:
                found[dim.dim_param] = int(size)
    return found


def differences(case: Case, straight: list[Any], place: Path) -> Iterator[str]:
    """What differs, a line each: by kind, and then the detail after a colon.

    Args:
        case: The case.
        straight: Its outputs without any optimization.
        place: A folder for its file.
    """
    path = place / "case.onnx"
    path.write_bytes(case.model.SerializeToString())
    try:
        graph = load(path, _sizes(case))
    except Exception as error:  # onnxruntime runs it
        yield f"refused to read: {type(error).__name__} {error}"
        return
    for level in LEVELS:
        try:
            expected = straight if level == "none" else _straight(case.model, case.inputs, level)
        except Exception:  # some levels of onnxruntime refuse what it runs at others
            continue
        try:
            found = _ours(graph, case, level)
        except Exception as error:
            yield f"refused to run ({level}): {type(error).__name__} {error}"
            continue
        for output, a, b in zip(case.model.graph.output, found, expected, strict=True):
            # onnxruntime fuses the nodes of a function otherwise when they are written out before it reads them
            apart = 0.0 if _equal(a, b) else _apart(a, b)
            if apart > (FUSED if case.model.functions and level in ("all", "extended") else 0.0):
                yield f"other outputs ({level}): {output.name} by {apart:.1e} of its largest"
                break
    others = {"plain": case.plain}
    if case.model.functions:
        others["inlined by onnx"] = onnx.inliner.inline_local_functions(case.model)
    for kind, model in others.items():
        if model is None:
            continue
        other = place / "other.onnx"
        other.write_bytes(model.SerializeToString())
        counts, expected = _counted(graph), _counted(load(other, _sizes(case)))
        # a constant may say more than an input, and nothing may be lost
        if any(value != counts[what] for what, value in expected.items() if value is not None):
            yield f"other counts than {kind}: {counts} and {expected}"
