"""Kinks: elements that rounding puts on the other side of a ReLU's zero, and what that makes of a step's tensors.

The derivative of a ReLU jumps at zero. An element that is 2e-6 below it in float64 may be 2e-6 above it in float32, and
then passes on a gradient that is not there in float64: a row of a filter's gradient can be off by percents, and no
graph could help it. So it is measured: the elements that are on another side in onnxruntime, by no more than rounding,
are given to the reading in float64 as they are in onnxruntime, and nothing else. What its tensors change by is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper

from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads.contract import Array

from .compare import largest
from .reading import Reading

__all__ = ["ROUNDING", "errors_of_kinks", "tensors_with_kinks"]

ROUNDING = 3e-5
"""Largest error of an element that may change its side, as a part of its tensor's largest value.

The last layers of residual, the deepest of all workloads, are off by 1.7e-5 in the graph for onnxruntime. A graph that
loses digits is off everywhere, which no kink explains.
"""

_AT_ZERO = frozenset({"Relu", "LeakyRelu", "PRelu", "Abs", "Sign"})
"""Op types whose derivative, or value, jumps where their first input is zero."""


def errors_of_kinks(reading: Reading, tensors: Iterable[str], settings: SessionSettings) -> dict[str, float]:
    """How far off tensors of a step are by the sides alone that elements are on in onnxruntime.

    Args:
        reading: The step, with the tensors and :func:`tensors_with_kinks`.
        tensors: Names of tensors.
        settings: How the graph runs.

    Returns:
        The largest error of an element by tensor; nothing where no element changes its side by rounding.

    Raises:
        RunError: The graph cannot be evaluated, in float64 or in onnxruntime.
    """
    wanted = list(tensors)
    sites = tensors_with_kinks(reading.model)
    if not sites or not wanted:
        return {}
    exact, values = reading.exact, dict(reading.values)
    single = open_session(Prepared(_showing(reading.model, sites), {}, (), {}), settings).run(sites, values)
    given = {}
    for name, held in zip(sites, single, strict=True):
        moved = _moved(np.asarray(held), exact[name])
        if moved is not None:
            given[name] = moved
    if not given:
        return {}
    shifted = reading.graph.part(wanted, given.keys()).run({**values, **given})
    with np.errstate(all="ignore"):
        return {name: largest(shifted[name] - exact[name]) for name in wanted}


def tensors_with_kinks(model: onnx.ModelProto) -> list[str]:
    """The tensors of a model on whose side of zero a derivative depends; its inputs, which are exact, are none."""
    made = {name for node in model.graph.node for name in node.output}
    read = dict.fromkeys(node.input[0] for node in model.graph.node if node.op_type in _AT_ZERO)
    return [name for name in read if name in made]


def _moved(single: Array, exact: Array) -> Array | None:
    """The exact elements, those on another side in float32 as they are there; None where there are none by rounding."""
    if exact.dtype != np.float64 or not exact.size or not np.isfinite(exact).all():
        return None
    near = np.abs(single - exact) <= ROUNDING * np.abs(exact).max()
    crossed = ((single > 0) != (exact > 0)) & near
    return np.where(crossed, single.astype(np.float64), exact) if crossed.any() else None


def _showing(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The model with tensors among its outputs."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    held = {output.name for output in made.graph.output}
    made.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in held)
    return made
