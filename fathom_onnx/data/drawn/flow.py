"""Values of a graph and of its bodies: who uses them, what is known of their shapes, and which of them are constant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from onnx.external_data_helper import uses_external_data

from fathom_onnx.graph.bodies import bodies, names_in
from fathom_onnx.graph.dataflow import RANDOM
from fathom_onnx.graph.model import Graph
from fathom_onnx.graph.static.values import array_of
from fathom_onnx.graph.tensors import Tensor, tensors_of
from fathom_onnx.workloads.contract import Array

__all__ = ["Flow", "Key", "Site"]

SMALL = 1 << 16
"""Elements of the largest constant that is computed."""

_DEEP = 64


class Key(NamedTuple):
    """A value: the number of the scope that makes it (0 is the top level), and its name there."""

    scope: int
    name: str


@dataclass(frozen=True)
class Site:
    """A node, where it stands; an input or output that it omits has no key."""

    node: onnx.NodeProto
    inputs: tuple[Key | None, ...]
    outputs: tuple[Key | None, ...]

    @property
    def op(self) -> str:
        """Its op type, after its domain where that is not ONNX's own."""
        domain = self.node.domain
        return self.node.op_type if domain in ("", "ai.onnx") else f"{domain}.{self.node.op_type}"

    @property
    def label(self) -> str:
        """Its name, or its op type."""
        return self.node.name or self.node.op_type

    def input(self, position: int) -> Key | None:
        """The input at a position, None where it is omitted."""
        return self.inputs[position] if position < len(self.inputs) else None

    def attribute(self, name: str) -> object:
        """The value of an attribute, or None."""
        found = next((a for a in self.node.attribute if a.name == name), None)
        return None if found is None else onnx.helper.get_attribute_value(found)

    def number(self, name: str, default: int) -> int:
        """The value of a whole attribute."""
        value = self.attribute(name)
        return value if isinstance(value, int) else default


class Handed(NamedTuple):
    """A value that goes into a body or out of it, and whether it goes one element at a time."""

    target: Key
    by_element: bool


class Flow:
    """Users, shapes and constants of the values of a graph, through its bodies.

    Attributes:
        users: A value to the nodes that take it, and at which position.
        handed: A value to those that it is handed on as, unchanged: a body's inputs, a control-flow node's outputs.
        made: A value to the node that makes it.
    """

    def __init__(self, graph: Graph) -> None:
        self.users: dict[Key, list[tuple[Site, int]]] = defaultdict(list)
        self.handed: dict[Key, list[Handed]] = defaultdict(list)
        self.made: dict[Key, Site] = {}
        self._turns: dict[int, Key] = {}
        self._opsets = list(graph.model.opset_import)
        self._tensors: list[Mapping[str, Tensor]] = []
        self._initializers: dict[Key, onnx.TensorProto] = {}
        self._constants: dict[Key, Array | None] = {}
        self._read(graph.model.graph, {})

    def _read(self, part: onnx.GraphProto, around: Mapping[str, Key]) -> dict[str, Key]:
        """Read a graph or body; the values that its names mean."""
        scope = len(self._tensors)
        self._tensors.append(tensors_of(part))
        known = {**around, **{name: Key(scope, name) for name in names_in(part)}}
        self._initializers.update({Key(scope, tensor.name): tensor for tensor in part.initializer})
        for node in part.node:
            site = Site(node, tuple(known.get(n) for n in node.input), tuple(known.get(n) for n in node.output))
            for position, key in enumerate(site.inputs):
                if key is not None:
                    self.users[key].append((site, position))
            self.made.update({key: site for key in site.outputs if key is not None})
            for _, body in bodies(node):
                self._join(site, body, self._read(body, known))
        return known

    def _join(self, site: Site, body: onnx.GraphProto, known: Mapping[str, Key]) -> None:
        """Join what a control-flow node takes and gives to what its body does."""
        taken = [known[value.name] for value in body.input]
        given = [known.get(value.name) for value in body.output]
        kind = site.node.op_type
        if kind == "Loop":
            self._turns[id(site)] = taken[0]
            state = len(site.inputs) - 2
            self._hand(site.inputs[2:], taken[2:])
            self._hand(given[1 : 1 + state], taken[2:])
            self._hand(given[1:], site.outputs)
        elif kind == "Scan":
            state = len(site.inputs) - site.number("num_scan_inputs", 0)
            self._hand(site.inputs[:state], taken[:state])
            self._hand(site.inputs[state:], taken[state:], by_element=True)
            self._hand(given[:state], taken[:state])
            self._hand(given, site.outputs)
        else:
            self._hand(site.inputs, taken, by_element=True)  # a branch takes nothing: this is a map over a sequence
            self._hand(given, site.outputs)

    def _hand(self, values: Iterable[Key | None], targets: Iterable[Key | None], by_element: bool = False) -> None:
        for value, target in zip(values, targets, strict=False):
            if value is not None and target is not None:
                self.handed[value].append(Handed(target, by_element))

    def tensor(self, key: Key | None) -> Tensor | None:
        """What is known of a value's shape and type."""
        return self._tensors[key.scope].get(key.name) if key is not None else None

    def shape(self, key: Key | None) -> tuple[int, ...] | None:
        """The shape of a value, or None where it is not known."""
        tensor = self.tensor(key)
        return tensor.shape if tensor else None

    def size(self, key: Key | None, axis: int) -> int | None:
        """The size of a value along an axis, or None where it is not known."""
        shape = self.shape(key)
        return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None

    def constant(self, key: Key | None, depth: int = 0) -> Array | None:
        """The value of a small constant: an initializer, or computed from such and from known shapes alone."""
        if key is None or depth > _DEEP:
            return None
        if key not in self._constants:
            self._constants[key] = self._constant(key, depth)
        return self._constants[key]

    def _constant(self, key: Key, depth: int) -> Array | None:
        tensor = self._initializers.get(key)
        if tensor is not None:
            small = not uses_external_data(tensor) and np.prod(tensor.dims, dtype=np.int64) <= SMALL
            return array_of(tensor) if small else None
        site = self.made.get(key)
        if site is None or any(True for _ in bodies(site.node)) or site.op in RANDOM:
            return None
        if site.op in ("Shape", "Size"):
            shape = self.shape(site.inputs[0])
            if shape is None:
                return None
            if site.op == "Size":
                return np.array(np.prod(shape, dtype=np.int64))
            end = site.number("end", len(shape))
            return np.array(shape[site.number("start", 0) : end], np.int64)
        given = {taken.name: self.constant(taken, depth + 1) for taken in site.inputs if taken is not None}
        if any(value is None or value.size > SMALL for value in given.values()) or not self._bounded(key, site, given):
            return None
        return self._compute(key, site, given)

    def _bounded(self, key: Key, site: Site, given: Mapping[str, Array | None]) -> bool:
        """Whether computing a node cannot make a large value of small ones."""
        tensor = self.tensor(key)
        if tensor is not None and tensor.elements is not None:
            return tensor.elements <= SMALL
        if site.op == "Range":
            start, limit, step = (_number(given[key.name]) for key in site.inputs if key is not None)
            return step != 0 and (limit - start) / step <= SMALL
        return site.op not in ("Expand", "Tile", "ConstantOfShape", "Resize", "Pad", "OneHot", "EyeLike", "Upsample")

    def _compute(self, key: Key, site: Site, given: Mapping[str, Array | None]) -> Array | None:
        from onnx.reference import ReferenceEvaluator

        inputs = [onnx.ValueInfoProto(name=name) for name in given]
        graph = onnx.helper.make_graph([site.node], "one", inputs, [onnx.ValueInfoProto(name=key.name)])
        try:
            model = onnx.helper.make_model(graph, opset_imports=self._opsets)
            with np.errstate(all="ignore"):
                (value,) = ReferenceEvaluator(model).run([key.name], dict(given))
        except Exception:  # an operator that the evaluator does not have: the value is not known
            return None
        return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None

    def bounds(self, key: Key | None, depth: int = 0) -> tuple[float, float] | None:
        """The least and greatest element that a value can have, where constants and shapes tell them."""
        value = self.constant(key)
        if value is not None:
            finite = value.size and value.dtype.kind in "biuf" and np.isfinite(value).all()
            return (float(value.min()), float(value.max())) if finite else None
        site = self.made.get(key) if key is not None else None
        if site is None or depth > _DEEP:
            return None
        if site.op in _KEEP_BOUNDS:
            return self.bounds(site.inputs[0], depth + 1)
        if site.op == "Range":
            start, step, count = self.constant(site.input(0)), self.constant(site.input(2)), self.size(key, 0)
            if start is None or step is None or not count:
                return None
            ends = sorted((_number(start), _number(start) + (count - 1) * _number(step)))
            return ends[0], ends[1]
        if site.op in ("ArgMax", "ArgMin"):
            size = self.size(site.inputs[0], site.number("axis", 0))
            return (0.0, size - 1.0) if size else None
        return None

    def vector(self, key: Key | None, depth: int = 0) -> list[int | None] | None:
        """The elements of a vector, None for each that is not constant; None where not even their number is known."""
        value = self.constant(key)
        if value is not None:
            return [int(element) for element in value.ravel()] if value.dtype.kind in "iu" else None
        if key is None or depth > _DEEP:
            return None
        site = self.made.get(key)
        if site is not None and site.op == "Concat":
            parts = [self.vector(part, depth + 1) for part in site.inputs]
            known = [part for part in parts if part is not None]
            return [element for part in known for element in part] if len(known) == len(parts) else None
        tensor = self.tensor(key)
        return None if tensor is None or tensor.elements is None else [None] * tensor.elements

    def turn_of(self, loop: Site) -> Key | None:
        """The number of the turn in the body of a loop."""
        return self._turns.get(id(loop))


def _number(value: Array | None) -> float:
    """The only element of a constant; 0 where there is none."""
    return float(value.ravel()[0]) if value is not None and value.size else 0.0


_KEEP_BOUNDS = frozenset(
    {"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Slice", "Gather"}
)
"""Ops whose output has no other elements than their first input."""
