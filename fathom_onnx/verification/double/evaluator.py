"""Running a graph in float64: nodes that no result needs are left out, and tensors are dropped after their last use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from fathom_onnx.errors import RunError, one_line
from fathom_onnx.workloads.contract import Array

from .kernels import KERNELS
from .numbers import exactly, unrounded
from .widening import widened

__all__ = ["DoubleGraph"]


class _Evaluator(ReferenceEvaluator):
    """onnx's evaluator; attributes, which a file can only hold in float32, are the numbers before they were rounded."""

    def _init(self) -> None:
        super()._init()
        for operator in self.rt_nodes_:
            for name in operator.attributes_names_:
                value = getattr(operator, name)
                if isinstance(value, (float, np.floating)):
                    setattr(operator, name, unrounded(float(value)))
                elif isinstance(value, list) and value and isinstance(value[0], (float, np.floating)):
                    setattr(operator, name, [unrounded(float(number)) for number in value])


class _Exact(ReferenceEvaluator):
    """onnx's evaluator with attributes as the file has them."""


def _inner_names(graph: onnx.GraphProto) -> set[str]:
    """Names that a body reads, whether they are its own or from around it."""
    names: set[str] = {output.name for output in graph.output}
    for node in graph.node:
        names |= _names(node)
    return names


def _names(node: onnx.NodeProto) -> set[str]:
    """All names that a node reads, those of its bodies included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            names |= _inner_names(body)
    return names


def _needed(
    nodes: Sequence[onnx.NodeProto], wanted: Iterable[str], given: Collection[str]
) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that some wanted tensor depends on, in order, and all names that are read."""
    names, held = set(wanted), frozenset(given)
    kept = []
    for node in reversed(nodes):
        if any(name in names and name not in held for name in node.output):
            kept.append(node)
            names |= _names(node)
    return kept[::-1], names


class DoubleGraph:
    """A graph as a function in float64.

    Args:
        model: The model, its weights within it.
        tensors: Names of the tensors that are wanted; its outputs where none are given.
        guess: Whether single numbers are taken for what they were before they were rounded to float32.
        given: Names of tensors whose values are given to :meth:`run`, and not made by the nodes that make them.

    Attributes:
        inputs: Names of the graph's inputs that the wanted tensors depend on, and of the given tensors.

    Raises:
        RunError: The graph has an operator that cannot be evaluated, or no such tensor.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        tensors: Iterable[str] = (),
        guess: bool = True,
        given: Collection[str] = (),
    ) -> None:
        made = widened(model, guess)
        wanted = list(dict.fromkeys(tensors)) or [output.name for output in made.graph.output]
        nodes, _ = _needed(made.graph.node, wanted, given)
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        try:
            evaluator = (_Evaluator if guess else _Exact)(made, new_ops=list(KERNELS))
        except Exception as error:
            raise RunError(f"the graph cannot be read in float64 ({one_line(str(error))})") from error
        self._constants: dict[str, Array] = dict(evaluator.rt_inits_)
        self._declared = {i.name for i in made.graph.input} - self._constants.keys()
        self._nodes: Sequence[onnx.NodeProto] = nodes
        self._operators: Sequence[Any] = evaluator.rt_nodes_
        self._plan(wanted, given)

    def part(self, tensors: Iterable[str], given: Collection[str] = ()) -> DoubleGraph:
        """A part of this graph as a function of its own; the two share operators and constants.

        Args:
            tensors: Names of the tensors that are wanted.
            given: As for the whole graph, whose own given tensors it does not have.

        Raises:
            RunError: This graph has no such tensor.
        """
        made = copy(self)
        made._plan(list(dict.fromkeys(tensors)), given)
        return made

    def _plan(self, wanted: list[str], given: Collection[str]) -> None:
        """Find what makes the wanted tensors, and after which node a tensor is no longer needed."""
        nodes, read = _needed(self._nodes, wanted, given)
        kept = {id(node) for node in nodes}
        operators = [o for node, o in zip(self._nodes, self._operators, strict=True) if id(node) in kept]
        self._wanted, self._given = wanted, frozenset(given)
        self.inputs = (self._declared & read) | self._given
        last = {name: index for index, node in enumerate(nodes) for name in (*_names(node), *node.output)}
        dropped: list[list[str]] = [[] for _ in nodes]
        held = set(wanted)
        for name, index in last.items():
            if name not in held:
                dropped[index].append(name)
        self._steps: list[tuple[Any, list[str], list[str], list[str]]] = [
            (operator, list(operator.input), list(operator.output), names)
            for operator, names in zip(operators, dropped, strict=True)
        ]
        known = self.inputs | self._declared | self._constants.keys() | {name for node in nodes for name in node.output}
        unknown = next((name for name in wanted if name not in known), None)
        if unknown is not None:
            raise RunError(f"the graph has no tensor '{unknown}'", "export it again")

    def run(self, values: Mapping[str, Array], shifts: Mapping[str, Array] = MappingProxyType({})) -> dict[str, Array]:
        """The wanted tensors by name.

        Args:
            values: The inputs, and the given tensors; float32 is taken as float64, exactly.
            shifts: What is added to tensors as nodes make them.

        Raises:
            RunError: An input has no value, or an operator fails.
        """
        missing = self.inputs - values.keys()
        if missing:
            raise RunError(f"input '{min(missing)}' has no value", "give one for every input")
        results: dict[str, Any] = {"": None, **self._constants, **exactly({name: values[name] for name in self.inputs})}
        with np.errstate(all="ignore"):
            for operator, inputs, outputs, dropped in self._steps:
                context = {"context": results} if operator.need_context() else {}
                try:
                    made = operator.run(*[results[name] for name in inputs], **context)
                except Exception as error:
                    node = operator.onnx_node
                    raise RunError(
                        f"node '{node.name}' ({node.op_type}) fails in float64 ({one_line(str(error))})",
                        "report it as a fault of the float64 reading",
                    ) from error
                for name, value in zip(outputs, made, strict=False):
                    if name not in self._given:
                        results[name] = value + shifts[name] if name in shifts else value
                results[""] = None  # an output that is left out has no name
                for name in dropped:
                    results.pop(name, None)
        return {name: np.asarray(results[name]) for name in self._wanted}
