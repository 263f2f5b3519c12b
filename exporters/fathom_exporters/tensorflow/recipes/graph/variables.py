"""The variables of a step that is lifted: what each holds, as operations read and assign them in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from .building import Building

__all__ = ["Handle", "Variables"]

_SCATTERS = {
    "ResourceScatterUpdate": "TensorScatterUpdate",
    "ResourceScatterAdd": "TensorScatterAdd",
    "ResourceScatterSub": "TensorScatterSub",
    "ResourceScatterNdUpdate": "TensorScatterUpdate",
    "ResourceScatterNdAdd": "TensorScatterAdd",
    "ResourceScatterNdSub": "TensorScatterSub",
}
"""An update of rows of a variable to the one of a tensor."""


@dataclass(frozen=True)
class Handle:
    """The value of a tensor that is a variable's handle: the variable's key."""

    key: str


class Variables:
    """What variables hold.

    Attributes:
        held: The variables by key.
        first: Key to the placeholder of what it holds before the step.
        now: Key to the tensor that it holds now.
    """

    def __init__(self, building: Building) -> None:
        self._building = building
        self.held: dict[str, tf.Variable] = {}
        self.first: dict[str, str] = {}
        self.now: dict[str, str] = {}

    def take(self, key: str, variable: tf.Variable) -> Handle:
        """Know a variable; its handle."""
        self.held[key] = variable
        self.first[key] = self._building.placeholder(f"variable_{len(self.now)}", variable.dtype, variable.shape)
        self.now[key] = self.first[key]
        return Handle(key)

    def access(self, op: tf.Operation, values: Sequence[Any], name: str) -> Iterable[str] | None:
        """Do what an operation on a variable does.

        Args:
            op: The operation.
            values: The values of its inputs.
            name: A name for what it adds.

        Returns:
            The values of its outputs; None where it is not known how.
        """
        key = next(value.key for value in values if isinstance(value, Handle))
        dtype, add = self.held[key].dtype, self._building.add
        if op.type in ("ReadVariableOp", "RngReadAndSkip"):  # the state of a generator leads to draws alone
            return [self.now[key]]
        if op.type == "AssignVariableOp":
            self.now[key] = values[1]
            return []
        if op.type in ("AssignAddVariableOp", "AssignSubVariableOp"):
            kind = "AddV2" if op.type == "AssignAddVariableOp" else "Sub"
            self.now[key] = add(kind, f"{name}/value", [self.now[key], values[1]], T=dtype)
            return []
        if op.type == "ResourceGather" and not op.get_attr("batch_dims"):
            axis = self._building.constant(f"{name}/axis", 0, tf.int32)
            types = {"Tparams": dtype, "Tindices": op.inputs[1].dtype, "Taxis": tf.int32}
            return [add("GatherV2", name, [self.now[key], values[1], axis], **types)]
        if op.type == "ResourceGatherNd":
            types = {"Tparams": dtype, "Tindices": op.inputs[1].dtype}
            return [add("GatherNd", name, [self.now[key], values[1]], **types)]
        if op.type in _SCATTERS:
            self._scatter(op, key, values, name)
            return []
        if op.type == "VariableShape":
            return [add("Shape", name, [self.now[key]], T=dtype, out_type=op.outputs[0].dtype)]
        if op.type == "VarIsInitializedOp":
            return [self._building.constant(name, True, tf.bool)]
        return None

    def _scatter(self, op: tf.Operation, key: str, values: Sequence[Any], name: str) -> None:
        """An update of some rows of a variable."""
        dtype, index = self.held[key].dtype, op.inputs[1].dtype
        places = values[1]
        if not op.type.startswith("ResourceScatterNd"):  # numbers of rows
            last = self._building.constant(f"{name}/last", -1, tf.int32)
            places = self._building.add("ExpandDims", f"{name}/places", [places, last], T=index, Tdim=tf.int32)
        inputs = [self.now[key], places, values[2]]
        self.now[key] = self._building.add(_SCATTERS[op.type], f"{name}/value", inputs, T=dtype, Tindices=index)
