"""Where each TensorFlow operation belongs: its phase and, in it, a layer or an updated parameter (the scope).

Most operations have both in their name (see :mod:`fathom_exporters.tensorflow.step`). The others are sums of gradients,
which belong to the layer whose output's gradient they compute, and operations outside every name scope, which belong to
the layer of a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow.optimizers import STEP_SCOPE
from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Gradients, Workload

from .ops import MOVED_AWAY, canonical_op

__all__ = ["WHOLE", "tags"]

_TAPE = "gradient_tape"

WHOLE = {
    "BatchNormTraining": {"forward": "BatchNormTraining", "backward": "BatchNormGrad"},
    "BatchNorm": {"forward": "BatchNorm"},
    "Gelu": {"forward": "Gelu", "backward": "GeluGrad"},
    "GroupNorm": {"forward": "GroupNorm", "backward": "GroupNormGrad"},
    "LayerNorm": {"forward": "LayerNorm", "backward": "LayerNormGrad"},
    "Silu": {"forward": "Silu", "backward": "SiluGrad"},
    "Softmax": {"forward": "Softmax", "backward": "SoftmaxGrad"},
}
"""Name scope within a layer's, of operations that are one canonical op together, to this op by phase."""


class _Scope(NamedTuple):
    """A phase and, in it, a layer or (optimizer phase) a parameter."""

    phase: str
    name: str


class _Scopes:
    """The scopes of a workload, and how operations' names spell them."""

    def __init__(self, workload: Workload) -> None:
        layers = {layer.name for layer in workload.layers}
        self.names: dict[str, set[str]] = {
            "forward": layers,
            "loss": {Workload.LOSS},
            "backward": layers | {Workload.LOSS},
            "optimizer": {STEP_SCOPE} | {p.name for p in workload.parameters},
        }

    def in_name(self, operation: str) -> _Scope | None:
        """The scope that an operation's name spells, if any."""
        first, second, third, *_ = [*operation.split("/"), "", "", ""]
        scope = _Scope("backward", third) if first == _TAPE else _Scope(first, second)
        return scope if scope.name in self.names.get(scope.phase, ()) else None

    def of_variable(self, variable: str) -> _Scope | None:
        """The backward scope of the layer that owns a variable."""
        layer = variable.rpartition(".")[0]
        return _Scope("backward", layer) if layer in self.names["backward"] else None


def _consumers(op: tf.Operation) -> list[tf.Operation]:
    return [user for tensor in op.outputs for user in tensor.consumers()]


def _computing(ops: Iterable[tf.Operation]) -> list[tf.Operation]:
    """The operations, those that compute nothing replaced by their consumers."""
    computing: list[tf.Operation] = []
    for op in ops:
        computing += _computing(_consumers(op)) if op.type in MOVED_AWAY else [op]
    return computing


def _mark(name: str) -> str:
    """The scope of a canonical op that a name spells; empty where there is none."""
    return next((mark for mark in WHOLE if f"/{mark}/" in name), "")


def _spelled(op: tf.Operation) -> str:
    """The name that says where an operation belongs.

    That is its own; of a sum of gradients that are all parts of one canonical op, the path of these parts.
    """
    if op.type == "AddN":
        names = [t.op.name for t in op.inputs]
        paths = {name.partition(f"/{_mark(name)}/")[0] for name in names if _mark(name)}
        if len(paths) == 1 and all(_mark(name) == _mark(names[0]) for name in names):
            return f"{paths.pop()}/{_mark(names[0])}/{op.name}"
    return str(op.name)


def _whole(op: tf.Operation, phase: str) -> str:
    """The canonical op that an operation is a part of by its name; empty where it stands for itself."""
    return WHOLE.get(_mark(_spelled(op)), {}).get(phase, "")


class _Finder:
    """Finds the scope of every operation of a graph.

    Attributes:
        found: Operation name to scope.
    """

    def __init__(self, graph: tf.Graph, workload: Workload) -> None:
        self._scopes = _Scopes(workload)
        self._operations: Sequence[tf.Operation] = graph.get_operations()
        self.found: dict[str, _Scope] = {}
        for op in self._operations:
            self._add(op, self._scopes.in_name(_spelled(op)))
        # a sum of gradients can be read by another such sum, so the last comes first
        for op in reversed(self._operations):
            if op.type == "AddN" and op.name not in self.found:
                self._add(op, self._of_sum(op))
        self._inherit()

    def _add(self, op: tf.Operation, scope: _Scope | None) -> None:
        if scope is not None:
            self.found[op.name] = scope

    def _of_sum(self, op: tf.Operation) -> _Scope | None:
        """The layer whose output's gradient ``op`` sums: the one whose backward operations read the sum."""
        users = self._of(_computing(_consumers(op)))
        readers = list(dict.fromkeys(user for user in users if user.phase == "backward"))
        if not readers:
            # the gradient of a parameter that several layers share: only its update reads it
            return next((scope for user in users if (scope := self._scopes.of_variable(user.name))), None)
        if len(readers) == 1:
            return readers[0]
        return self._between({reader.name for reader in readers}, op) or readers[0]

    def _between(self, names: set[str], op: tf.Operation) -> _Scope | None:
        """The layer between a sum and several readers: one whose gradient is its output's, such as an addition."""
        for forward in self._operations:
            scope = self.found.get(forward.name)
            if scope is not None and scope.phase == "forward":
                sources = {source.name for source in self._of(t.op for t in forward.inputs)}
                if sources == names and forward.outputs[0].shape == op.outputs[0].shape:
                    return _Scope("backward", scope.name)
        return None

    def _inherit(self) -> None:
        """Give each remaining operation the scope of the nearest one that it reads or, failing that, that reads it."""
        remaining = [op for op in self._operations if op.name not in self.found and op.type not in MOVED_AWAY]
        while remaining:
            for op in remaining:
                self._add(op, self._of_neighbour(op))
            left = [op for op in remaining if op.name not in self.found]
            if len(left) == len(remaining):
                break
            remaining = left

    def _of_neighbour(self, op: tf.Operation) -> _Scope | None:
        sources = self._of(t.op for t in op.inputs)
        users = self._of(_computing(_consumers(op)))
        if not op.name.startswith(f"{_TAPE}/"):
            return next(iter(sources + users), None)
        # backward whatever its neighbours are: with what it reads of the forward pass, or where its result goes
        neighbours = [scope for scope in sources if scope.phase == "forward"] + users + sources
        names = (scope.name for scope in neighbours if scope.name in self._scopes.names["backward"])
        return next((_Scope("backward", name) for name in names), None)

    def _of(self, operations: Iterable[tf.Operation]) -> list[_Scope]:
        """The scopes of those operations that have one."""
        return [self.found[op.name] for op in operations if op.name in self.found]


def tags(graph: tf.Graph, workload: Workload) -> dict[str, Tag]:
    """The tag of every operation of ``graph`` that can become a node, by operation name.

    Args:
        graph: The folded graph.
        workload: The workload with the layers and parameters.

    Raises:
        ExportError: An operation is of a type without canonical op, or belongs to no layer.
    """
    scopes = _Finder(graph, workload).found
    by_operation: dict[str, Tag] = {}
    for op in graph.get_operations():
        scope = scopes.get(op.name)
        if scope is None:
            if op.type in MOVED_AWAY:
                continue
            raise ExportError(
                f"TensorFlow operation '{op.name}' ({op.type}) belongs to no layer of {workload.name}",
                "make it within a layer's scope (Net.scope)",
            )
        if scope.phase == "optimizer":
            in_treatment = f"/{Gradients.OP}/" in op.name
            canonical = Gradients.OP if in_treatment else workload.optimizer.OP
        else:
            canonical = _whole(op, scope.phase) or canonical_op(op)
        by_operation[op.name] = Tag(scope.phase, scope.name, canonical, op.name)
    return by_operation
