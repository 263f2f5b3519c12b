"""Where each TensorFlow operation belongs: its phase, and its layer or updated parameter.

Most say so in their name (see :mod:`fathom_exporters.tensorflow.step`). The rest are gradient sums, which belong to the
layer whose output's gradient they sum, and strays, which go with what they work for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow.optimizers import STEP_SCOPE
from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Gradients, Workload

from .ops import MOVED_AWAY, canonical_op

__all__ = ["Place", "Places", "tags"]

_TAPE = "gradient_tape"


@dataclass(frozen=True)
class Place:
    """A phase and, in it, a layer or (optimizer phase) a parameter."""

    phase: str
    scope: str


class Places:
    """The places there are in a workload, and how names spell them."""

    def __init__(self, workload: Workload) -> None:
        layers = {layer.name for layer in workload.layers}
        self.scopes: dict[str, set[str]] = {
            "forward": layers,
            "loss": {Workload.LOSS},
            "backward": layers | {Workload.LOSS},
            "optimizer": {STEP_SCOPE} | {p.name for p in workload.parameters},
        }

    def named(self, name: str) -> Place | None:
        """The place that an operation's name spells, if any."""
        first, second, third, *_ = [*name.split("/"), "", "", ""]
        place = Place("backward", third) if first == _TAPE else Place(first, second)
        return place if place.scope in self.scopes.get(place.phase, ()) else None

    def of_variable(self, name: str) -> Place | None:
        """The backward place of the layer that owns a variable."""
        layer = name.rpartition(".")[0]
        return Place("backward", layer) if layer in self.scopes["backward"] else None


def _consumers(op: tf.Operation) -> list[tf.Operation]:
    return [user for tensor in op.outputs for user in tensor.consumers()]


def _through(ops: Iterable[tf.Operation]) -> list[tf.Operation]:
    """The consumers, looking through operations that compute nothing."""
    found: list[tf.Operation] = []
    for op in ops:
        found += _through(_consumers(op)) if op.type in MOVED_AWAY else [op]
    return found


class _Finder:
    def __init__(self, graph: tf.Graph, workload: Workload) -> None:
        self.places = Places(workload)
        self.operations: Sequence[tf.Operation] = graph.get_operations()
        self.found: dict[str, Place] = {}
        for op in self.operations:
            place = self.places.named(op.name)
            if place is not None:
                self.found[op.name] = place
        # a sum of gradients is consumed by other such sums, so the last comes first
        for op in reversed(self.operations):
            if op.type == "AddN" and op.name not in self.found:
                place = self._summed(op)
                if place is not None:
                    self.found[op.name] = place
        self._inherit()

    def _summed(self, op: tf.Operation) -> Place | None:
        """The layer whose output's gradient ``op`` sums: the one whose backward operations read the sum."""
        users = [self.found[user.name] for user in _through(_consumers(op)) if user.name in self.found]
        readers = list(dict.fromkeys(user for user in users if user.phase == "backward"))
        if not readers:
            # the gradient of a parameter that several layers share: only its update reads it
            return next((place for user in users if (place := self.places.of_variable(user.scope))), None)
        if len(readers) == 1:
            return readers[0]
        # an operation whose own gradient is to hand it on, such as an addition, is between the sum and its readers
        scopes = {place.scope for place in readers}
        for forward in self.operations:
            if self.found.get(forward.name, Place("", "")).phase == "forward":
                sources = {self.found[t.op.name].scope for t in forward.inputs if t.op.name in self.found}
                if sources == scopes and forward.outputs[0].shape == op.outputs[0].shape:
                    return Place("backward", self.found[forward.name].scope)
        return readers[0]

    def _inherit(self) -> None:
        """Give every stray the place of the nearest operation it reads from or, failing that, that reads it."""
        strays = [op for op in self.operations if op.name not in self.found and op.type not in MOVED_AWAY]
        while strays:
            left = []
            for op in strays:
                place = self._neighbour(op)
                if place is None:
                    left.append(op)
                else:
                    self.found[op.name] = place
            if len(left) == len(strays):
                break
            strays = left

    def _neighbour(self, op: tf.Operation) -> Place | None:
        sources = self._places(t.op for t in op.inputs)
        users = self._places(_through(_consumers(op)))
        if not op.name.startswith(f"{_TAPE}/"):
            return next(iter(sources + users), None)
        # of the backward pass whatever it touches: with what it saved from the forward pass, or where it flows on to
        near = [place for place in sources if place.phase == "forward"] + users + sources
        scopes = (place.scope for place in near if place.scope in self.places.scopes["backward"])
        return next((Place("backward", scope) for scope in scopes), None)

    def _places(self, operations: Iterable[tf.Operation]) -> list[Place]:
        return [self.found[op.name] for op in operations if op.name in self.found]


def tags(graph: tf.Graph, workload: Workload) -> dict[str, Tag]:
    """The tag of every operation of ``graph`` that can leave a node, by operation name.

    Args:
        graph: The folded graph.
        workload: The workload whose layers and parameters are the places.

    Raises:
        ExportError: An operation of a type that is not known, or one that has no layer.
    """
    found = _Finder(graph, workload).found
    made: dict[str, Tag] = {}
    for op in graph.get_operations():
        canonical = canonical_op(op)
        place = found.get(op.name)
        if place is None:
            if op.type in MOVED_AWAY:
                continue
            raise ExportError(
                f"TensorFlow operation '{op.name}' ({op.type}) belongs to no layer of {workload.name}",
                "make it within a layer's scope (Net.scope)",
            )
        if place.phase == "optimizer":
            treated = f"/{Gradients.OP}/" in op.name
            canonical = Gradients.OP if treated else workload.optimizer.OP
        made[op.name] = Tag(place.phase, place.scope, canonical, op.name)
    return made
