"""Marks: the op that one names, in place of the equations behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fathom_exporters.lowering import CANONICAL, DOMAIN

from .emit import Emit, Result
from .values import Spread, Value

__all__ = ["Marks"]

_WHOLE = frozenset({"axis", "size", "tanh"})
"""Attributes that are whole numbers."""


def _attributes(attributes: Mapping[str, float]) -> dict[str, Any]:
    return {name: int(value) if name in _WHOLE else value for name, value in attributes.items()}


def _clip(e: Emit, given: Sequence[Value], results: Sequence[Result], attributes: Mapping[str, float]) -> list[Value]:
    (x,) = given
    return [e.pointwise("Clip", x, e.number(attributes["min"], x), e.number(attributes["max"], x))]


def _batch_norm(
    e: Emit, given: Sequence[Value], results: Sequence[Result], attributes: Mapping[str, Any]
) -> list[Value]:
    return list(e.nodes("BatchNormalization", *given, results=results, **attributes))


_STANDARD: dict[str, int] = {
    "LRN": 1,
    "LogSoftmax": 1,
    "Relu": 1,
    "Sigmoid": 1,
    "Softmax": 1,
    "Softplus": 1,
    "Tanh": 1,
}
"""Mark that is one standard op to the number of its arguments."""

_WRITTEN: dict[str, tuple[int, Callable[..., list[Value]]]] = {
    "BatchNorm": (5, _batch_norm),
    "Clip": (1, _clip),
}
"""Mark to the number of its arguments and the function that writes it."""

_POINTWISE = frozenset({"ClipGrad", "ReluGrad", "SigmoidGrad", "SoftplusGrad", "TanhGrad"})
"""Gradients that broadcast the gradient of the output as their lowering's products do."""

_DRAWN = ("RandomNormal", "RandomUniform")


class Marks:
    """Translates marks, and remembers the outputs of functions whose gradients read them.

    The mark of a gradient has the function's input; where the op reads the output, that of the forward pass is taken.
    """

    def __init__(self) -> None:
        self._outputs: dict[tuple[str, int], tuple[Value, Value]] = {}

    def translate(
        self, e: Emit, op: str, attributes: Mapping[str, float], given: Sequence[Value], results: Sequence[Result]
    ) -> list[Value] | None:
        """What a mark is; None where its arguments are not all there: JAX takes out of a loop what nothing reads."""
        e.op = op
        numbers = _attributes(attributes)
        if op in _DRAWN:
            return [e.draw(op, results[0])]
        if op in CANONICAL:
            return self._gradient(e, op, numbers, given, results)
        if op in _WRITTEN and len(given) == _WRITTEN[op][0]:
            return _WRITTEN[op][1](e, given, results, numbers)
        if op in _STANDARD and len(given) == _STANDARD[op]:
            return [self._output(e, op, numbers, given[0], results[0])]
        return None

    def _output(self, e: Emit, op: str, attributes: Mapping[str, Any], x: Value, result: Result) -> Value:
        """The output of a function of one tensor: the one that the graph has, or a new one."""
        key = (f"{op} {sorted(attributes.items())}", id(x))
        if key not in self._outputs:
            shape, dtype = result
            e.op = op
            self._outputs[key] = (x, e.node(op, x, shape=shape, dtype=dtype, **attributes))
        return self._outputs[key][1]

    def _gradient(
        self,
        e: Emit,
        op: str,
        attributes: Mapping[str, Any],
        given: Sequence[Value],
        results: Sequence[Result],
    ) -> list[Value] | None:
        wanted = CANONICAL[op]
        inputs = list(given)
        reads_output = wanted.inputs[-1] == "y" and wanted.inputs[0] == "dy"
        if reads_output and len(inputs) == 2:
            y = self._output(e, op.removesuffix("Grad"), attributes, inputs[1], results[0])
            inputs = [*inputs[: len(wanted.inputs) - 1], y]
            e.op = op
        if len(inputs) != len(wanted.inputs) or len(results) != len(wanted.outputs):
            return None
        if op in _POINTWISE and isinstance(inputs[0], Spread):
            inputs[0] = inputs[0].base
        return list(e.nodes(op, *inputs, results=results, domain=DOMAIN, **attributes))
