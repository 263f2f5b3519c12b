"""From a recorded step to a graph with tags: the walk over a jaxpr's equations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import onnx_ir as ir

from fathom_exporters.jax.capture import Captured
from fathom_exporters.jax.jaxprs import body_of, evaluate, is_drop, literal, live, place_of, source_of, stack_of
from fathom_exporters.jax.marks import read_mark
from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.finish import IR_VERSION
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import Gap, one_gap
from fathom_onnx.workloads.contract import Workload

from .control import CONTROL
from .emit import NOWHERE, Emit, Result
from .indexing import INDEXING
from .marked import Marks
from .moves import MOVES
from .ops import CANONICAL_OF
from .placing import place_by_neighbours, place_sums, place_updates
from .pointwise import POINTWISE
from .products import PRODUCTS
from .registry import Equation, UnknownError, rule_table
from .scatters import SCATTERS
from .values import Known, Value, known, narrow, shape_of
from .windows import WINDOWS

__all__ = ["RULES", "gaps_of", "gradient_name", "translate"]

RULES = rule_table(POINTWISE, MOVES, PRODUCTS, WINDOWS, INDEXING, SCATTERS, CONTROL)
"""Primitive to the rule that writes it."""

_LARGEST = 4096
"""Elements up to which what depends on no input is computed; larger tensors are left to the graph."""

_RANDOM = frozenset(
    {
        "random_bits",
        "random_fold_in",
        "random_seed",
        "random_split",
        "random_unwrap",
        "random_wrap",
        "threefry2x32",
    }
)

_HOW_TO_DRAW = "draw by marks.random_normal, or by jax.random.normal or uniform outside of loops"

_REPEATS = frozenset({"checkpoint", "remat", "remat2"})


def gradient_name(parameter: str) -> str:
    """The name of the output that is the gradient of a parameter."""
    return f"gradient of {parameter}"


class _Translator:
    """One translation."""

    def __init__(self, captured: Captured, marks: bool, gaps: list[Gap] | None = None) -> None:
        workload = captured.workload
        layers = {layer.name for layer in workload.layers} | {Workload.LOSS}
        self.emit = Emit(captured.interface.inputs, layers, workload.optimizer.OP)
        self._marks = Marks() if marks else None
        self._layers = layers
        self._gaps = gaps

    def run(self, jaxpr: Any, consts: Sequence[Known], given: Sequence[Value], stack: str) -> list[Value]:
        """The results of a jaxpr for given arguments."""
        values: dict[Any, Value] = dict(zip(jaxpr.invars, given, strict=True))
        values |= {variable: np.asarray(const) for variable, const in zip(jaxpr.constvars, consts, strict=True)}

        def read(atom: Any) -> Value:
            number = literal(atom)
            return values[atom] if number is None else number

        for equation in live(jaxpr):
            outputs = self._equation(equation, [read(atom) for atom in equation.invars], stack)
            for variable, output in zip(equation.outvars, outputs, strict=True):
                if not is_drop(variable):
                    values[variable] = output
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, given: list[Value], outer: str) -> list[Value]:
        e, name = self.emit, equation.primitive.name
        stack = stack_of(equation, outer)
        e.place, e.op = place_of(stack), CANONICAL_OF.get(name, "Identity")
        results = [(tuple(v.aval.shape), _dtype(v.aval)) for v in equation.outvars]
        mark = read_mark(str(equation.params.get("name", ""))) if name in ("jit", "pjit") else None
        drawn = mark is not None and mark[0].startswith("Random")
        if mark is not None and (self._marks is not None or drawn):
            made = (self._marks or Marks()).translate(e, *mark, given, results)
            if made is not None:
                return made
        body = body_of(equation)
        if name not in RULES and body is not None:
            before, e.repeated = e.repeated, e.repeated or (name in _REPEATS and e.in_backward)
            outputs = self.run(body.jaxpr, body.consts, given, stack)
            e.repeated = before
            return outputs
        if self._is_known(equation, given, results):
            return list(evaluate(equation, [whole for x in given if (whole := _whole(x)) is not None]))
        return self._by_rule(equation, given, results, stack)

    @staticmethod
    def _is_known(equation: Any, given: Sequence[Value], results: Sequence[Result]) -> bool:
        name = equation.primitive.name
        if name in CONTROL or name in _RANDOM or name in ("broadcast_in_dim", "iota") or not given:
            return False
        size = sum(math.prod(shape) for shape, _ in results)
        return size <= _LARGEST and all(known(x) is not None and math.prod(shape_of(x)) <= _LARGEST for x in given)

    def _by_rule(self, equation: Any, given: list[Value], results: list[Result], stack: str) -> list[Value]:
        name = equation.primitive.name
        try:
            if name not in RULES:
                if name in _RANDOM:
                    raise UnknownError("it draws random numbers", _HOW_TO_DRAW)
                raise UnknownError("it has no translation")
            made = RULES[name](
                self.emit, Equation(name, equation.params, tuple(given), tuple(results), stack, self.run)
            )
        except UnknownError as error:
            gap = self._gap(equation, stack, error)
            if self._gaps is None:
                raise one_gap([gap]) or error from error
            self._gaps.append(gap)
            return [self.emit.node("Identity", shape=shape, dtype=dtype) for shape, dtype in results]
        return made if isinstance(made, list) else [made]

    def _gap(self, equation: Any, stack: str, error: UnknownError) -> Gap:
        place = place_of(stack)
        layer = next((name for name in reversed(place.names) if name in self._layers), "")
        source = source_of(equation)
        return Gap(equation.primitive.name, place.phase or "", layer, source, error.lacks, error.rewrite)


def _whole(value: Value) -> Known | None:
    """All elements of a value that is known."""
    elements = known(value)
    return None if elements is None else np.array(np.broadcast_to(elements, shape_of(value)))


def _dtype(aval: Any) -> np.dtype[Any]:
    """The type that an abstract value has in the graph; a random key has none."""
    try:
        return narrow(aval.dtype)
    except TypeError:
        return np.dtype(np.uint32)


def _owners(
    captured: Captured, tensors: Mapping[str, ir.Value], gradients: Mapping[str, ir.Value]
) -> dict[ir.Value, str]:
    """Parameters, their state, their gradients and the noise on them to the parameter."""
    names = {parameter.name: parameter.name for parameter in captured.workload.parameters} | dict(captured.owners)
    found = {value: names[name] for name, value in tensors.items() if name in names}
    return found | {value: name for name, value in gradients.items()}


def gaps_of(captured: Captured, marks: bool = True) -> tuple[Gap, ...]:
    """Every operation of a recorded step that has no translation, each with how many times it occurs at its place."""
    gaps: list[Gap] = []
    translator = _Translator(captured, marks, gaps)
    with jax.enable_x64(True):
        translator.run(captured.jaxpr.jaxpr, captured.jaxpr.consts, translator.emit.inputs, "")
    counted = Counter(gaps)
    found = [replace(gap, count=count) for gap, count in counted.items()]
    return tuple(sorted(found, key=lambda gap: gap.phase == "backward"))  # a gradient lacks what its operation does


def translate(captured: Captured, marks: bool = True) -> tuple[ir.Model, dict[str, str]]:
    """The translated graph of a recorded step, for :func:`fathom_exporters.lowering.finish`.

    Args:
        captured: The recorded step.
        marks: Whether marks are the ops that they name; else JAX's own derivatives are written out.

    Returns:
        The graph, and parameter to the name of the output that is its gradient.

    Raises:
        ExportError: An equation has no translation, or the loss depends on no element of a parameter.
    """
    translator = _Translator(captured, marks)
    e, jaxpr, interface = translator.emit, captured.jaxpr, captured.interface
    with jax.enable_x64(True):
        results = translator.run(jaxpr.jaxpr, jaxpr.consts, e.inputs, "")
    outputs = results[: len(interface.outputs)]
    made = dict(zip(captured.gradients, results[len(outputs) :], strict=True))
    for name, value in made.items():
        if isinstance(value, np.ndarray) or isinstance(getattr(value, "base", None), np.ndarray):
            raise ExportError(
                f"the JAX model makes no gradient of parameter {name}", "the model and the workload must agree"
            )
    gradients = {name: e.tensor(value) for name, value in made.items()}
    tensors = dict(zip((spec.name for spec in interface.inputs), e.inputs, strict=True))
    for spec, output in zip(interface.outputs, outputs, strict=True):
        value = e.tensor(output)
        if value.producer() is None or value.is_graph_output():
            value = e.node("Identity", value, shape=spec.shape, dtype=spec.dtype)
        value.name = spec.name
        e.graph.outputs.append(value)
    further: dict[str, str] = {}
    held: dict[int, str] = {}
    for name, value in gradients.items():
        if id(value) not in held:
            held[id(value)] = gradient_name(name)
            shape = value.shape.numpy() if value.shape else ()
            dtype = value.dtype.numpy() if value.dtype else None
            copy = e.node("Identity", value, shape=shape, dtype=dtype)
            copy.name = gradient_name(name)
            e.graph.outputs.append(copy)
        further[name] = held[id(value)]
    place_updates(e.graph, _owners(captured, tensors, gradients))
    place_sums(e.graph, e.sums)
    place_by_neighbours(e.graph)
    _refuse_unplaced(e.graph)
    return ir.Model(e.graph, ir_version=IR_VERSION), further


def _refuse_unplaced(graph: ir.Graph) -> None:
    """Refuse nodes that no layer has.

    Raises:
        ExportError: There is one.
    """
    for node in graph:
        tag = Tag.of(node)
        if tag is None or NOWHERE in (tag.phase, tag.scope):
            raise ExportError(f"a {node.op_type} of the JAX model is in no layer", "enter the layer: with layer(name)")
