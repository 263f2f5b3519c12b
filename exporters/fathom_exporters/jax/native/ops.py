"""The canonical op, phase and layer of an equation, by its primitive, its scope and what its arguments come from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fathom_exporters.jax.jaxprs import Place
from fathom_exporters.jax.marks import MARK, read_mark
from fathom_exporters.jax.translate.ops import CANONICAL_OF
from fathom_exporters.jax.translate.placing import SHARED
from fathom_onnx.native import UNKNOWN, NativeOp
from fathom_onnx.workloads.contract import Gradients

__all__ = ["Labels"]

_OF_DERIVATIVES = {
    "pad": "SliceGrad",
    "reduce_window_sum": "AvgPoolGrad",
    "scatter-add": "GatherGrad",
}
"""Primitives that are gradients in the backward phase, to their canonical op there."""

_MOVES = frozenset({"reshape", "transpose", "squeeze", "expand_dims"})


class Labels:
    """What the equations of one step are called.

    Args:
        layers: Names of the workload's layers, and ``loss``.
        update: The canonical op of the optimizer.
        owners: Arguments of the step to the parameter that they belong to: itself, its optimizer state.
    """

    def __init__(self, layers: Collection[str], update: str, owners: Mapping[Any, str]) -> None:
        self._layers, self._update = layers, update
        self._owner = dict(owners)
        self._made_by: dict[Any, tuple[str, tuple[Any, ...]]] = {}

    def name(self, equation: Any) -> str:
        """What JAX calls an equation: its primitive or, of a mark, its name without attributes."""
        mark = _mark_of(equation)
        return equation.primitive.name if mark is None else f"{MARK}{mark}"

    def of(self, equation: Any, place: Place, inputs: Iterable[Any], outputs: Iterable[Any]) -> NativeOp:
        """The label of the next equation.

        Args:
            equation: The equation.
            place: Where it is.
            inputs: What identifies its arguments.
            outputs: What identifies its results, which later equations read.
        """
        given = tuple(inputs)
        primitive = equation.primitive.name
        found = self._found(given) if place.phase == "optimizer" else None
        for made in outputs:
            self._made_by[made] = primitive, given
            if found is not None:
                self._owner[made] = found
        if place.phase == "optimizer":
            op = Gradients.OP if Gradients.OP in place.names else self._update
            return NativeOp(op, self.name(equation), place.phase, found or SHARED)
        layer = next((name for name in reversed(place.names) if name in self._layers), UNKNOWN)
        return NativeOp(
            self._op(equation, place.phase == "backward", given), self.name(equation), place.phase or UNKNOWN, layer
        )

    def gradient(self, made: Any, parameter: str) -> None:
        """Say that a result is the gradient of a parameter, to which what is computed from it alone belongs."""
        self._owner[made] = parameter

    def _found(self, inputs: Iterable[Any]) -> str | None:
        """The one parameter that arguments belong to; None of several or none."""
        owners = {self._owner[made] for made in inputs if made in self._owner}
        return owners.pop() if len(owners) == 1 else None

    def _op(self, equation: Any, backward: bool, inputs: tuple[Any, ...]) -> str:
        mark = _mark_of(equation)
        if mark is not None:
            return mark
        name = equation.primitive.name
        if backward and name == "conv_general_dilated":
            return "Conv2DBackInput" if self._comes_from(inputs[1], "rev") else "Conv2DBackFilter"
        if backward and name == "scatter-add" and len(equation.invars[1].aval.shape) == 1:
            return "SliceGrad"  # a window added at one place
        if backward and name in _OF_DERIVATIVES:
            return _OF_DERIVATIVES[name]
        return CANONICAL_OF.get(name, f"jax::{name}")

    def _comes_from(self, made: Any, primitive: str) -> bool:
        """Whether a value was made by a primitive, up to moves."""
        while made in self._made_by:
            name, inputs = self._made_by[made]
            if name == primitive:
                return True
            if name not in _MOVES:
                return False
            (made,) = inputs
        return False


def _mark_of(equation: Any) -> str | None:
    """The canonical op of a mark; None of any other equation."""
    mark = read_mark(str(equation.params.get("name", ""))) if equation.primitive.name in ("jit", "pjit") else None
    return None if mark is None else mark[0]
