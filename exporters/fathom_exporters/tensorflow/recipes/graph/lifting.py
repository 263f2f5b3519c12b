"""A traced, stateful step as a pure graph: the variables that it reads and assigns become inputs and outputs.

Keras' optimizers assign to variables, and ``stateless_apply`` refuses TensorFlow, so it is the traced graph that is
made stateless: its operations are gone through in the order of their creation, which automatic control dependencies
keep at run time too, and each read is replaced by what the variable holds at that point. Calls of functions are
replaced by their operations. Of a conditional both branches are computed, and each result and each variable that they
leave different is selected by the condition: no control flow is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from .lifted import Held, Lifted, Refused

__all__ = ["lift"]

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_CONDITIONALS = ("If", "StatelessIf")
_OPTIONALS = ("OptionalFromValue", "OptionalGetValue")
_LOOPS = ("While", "StatelessWhile", "Case", "StatelessCase")
_PHASES = {"forward": 2, "loss": 2, "optimizer": 2, "gradient_tape": 3}
"""First part of a scope to its number of parts."""


@dataclass
class _Frame:
    """A graph that is gone through, the step's or a function's.

    Attributes:
        path: What makes the names of its operations differ from others'; empty for the step itself.
        tensors: Name of a tensor in it to the name of its value in the lifted graph. An optional, by which a branch
            hands values to its gradient, has two values: what the one branch put there, and what the other did.
        handles: Name of a handle in it to the variable.
    """

    path: str = ""
    tensors: dict[str, Any] = field(default_factory=dict)
    handles: dict[str, str] = field(default_factory=dict)


class _Lifter:
    """Goes through a traced function.

    Attributes:
        made: The lifted graph.
        now: Handle's placeholder to the tensor that the variable holds.
    """

    def __init__(self, function: Any) -> None:
        self._graph = function.graph
        source = self._graph.as_graph_def()
        self._functions = {f.signature.name: f for f in source.library.function}
        self.made = tf.compat.v1.GraphDef(versions=source.versions)
        self.now: dict[str, str] = {}
        self.variables: dict[str, tf.Variable] = {}
        self.refused: list[Refused] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._names: set[str] = set()
        self.frame = _Frame()
        self._capture()
        self._go(self._graph.get_operations(), self.frame)

    def _capture(self) -> None:
        """Variables and constants that the function takes from outside."""
        by_handle = {id(v.handle): v for v in self._graph.variables}
        for outer, inner in self._graph.captures:
            if id(outer) in by_handle:
                variable = by_handle[id(outer)]
                name = f"variable_{len(self.now)}"
                self._placeholder(name, variable.dtype, variable.shape)
                self.variables[inner.name] = variable
                self.now[inner.name] = f"{name}:0"
                self.frame.handles[inner.name] = inner.name
            elif inner.dtype in (tf.resource, tf.variant):
                self._refuse(inner.op, "a resource that is no variable", "look words up before the model")
            else:
                self.frame.tensors[inner.name] = self._constant(inner.op.name, np.asarray(outer), inner.dtype)

    def _go(self, operations: Iterable[tf.Operation], frame: _Frame) -> None:
        for op in operations:
            if all(t.name in frame.tensors or t.name in frame.handles for t in op.outputs) and op.outputs:
                continue  # an input that has its value from outside
            if op.type in _CALLS:
                self._returned(op, self._inline(op, op.get_attr("f").name, op.inputs, frame), frame)
            elif op.type in _CONDITIONALS:
                self._conditional(op, frame)
            elif op.type in _LOOPS:
                self._refuse(
                    op,
                    "a loop",
                    "write it in Python over a fixed number of steps, or give recurrent layers a static length",
                    frame,
                )
            elif op.type in _OPTIONALS or (op.type == "Identity" and op.inputs[0].dtype == tf.variant):
                frame.tensors[op.outputs[0].name] = self._value(op.inputs[0], frame)
            elif op.type == "OptionalNone":
                frame.tensors[op.outputs[0].name] = ""
            elif any(t.name in frame.handles for t in op.inputs):
                self._access(op, frame)
            else:
                self._copy(op, frame)

    # The operations of the lifted graph

    def _unique(self, name: str, path: str = "") -> str:
        """The name of an operation, with the path of its function after the phase and the layer."""
        if path:
            parts = name.split("/")
            count = _PHASES.get(parts[0], 0)
            name = "/".join([*parts[:count], path, *parts[count:]])
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def add(self, op_type: str, name: str, inputs: Sequence[str], **types: tf.DType) -> str:
        """Add an operation with attributes of element type; its first output."""
        node = self.made.node.add(op=op_type, name=self._unique(name), input=inputs)
        for key, value in types.items():
            node.attr[key].type = tf.as_dtype(value).as_datatype_enum
        return f"{node.name}:0"

    def _placeholder(self, name: str, dtype: tf.DType, shape: tf.TensorShape) -> str:
        tensor = self.add("Placeholder", name, [], dtype=dtype)
        self.made.node[-1].attr["shape"].shape.CopyFrom(shape.as_proto())
        return tensor

    def _constant(self, name: str, value: Any, dtype: tf.DType) -> str:
        tensor = self.add("Const", name, [], dtype=dtype)
        self.made.node[-1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
        return tensor

    def _value(self, tensor: tf.Tensor, frame: _Frame) -> Any:
        return frame.tensors.get(tensor.name, str(tensor.name))

    def _copy(self, op: tf.Operation, frame: _Frame) -> None:
        inputs = [self._value(t, frame) for t in op.inputs]
        if not all(isinstance(name, str) and name for name in inputs):
            self._refuse(
                op, "a value that a branch may not have", "compute both branches and choose with tf.where", frame
            )
            return
        node = self.made.node.add()
        node.CopyFrom(op.node_def)
        node.attr.pop("_class", None)  # colocation with an operation that may be gone
        node.name = self._unique(op.name, frame.path)
        del node.input[:]
        node.input.extend(inputs)
        if node.name != op.name:
            frame.tensors.update({t.name: f"{node.name}:{i}" for i, t in enumerate(op.outputs)})
        if op.type.startswith(("Stateless", "Random")) and op.outputs and op.outputs[0].shape.is_fully_defined():
            self.shapes[node.name] = tuple(op.outputs[0].shape.as_list())

    def _refuse(self, op: tf.Operation, lacks: str, rewrite: str, frame: _Frame | None = None) -> None:
        frame = frame or self.frame
        self.refused.append(Refused(op.name, op.type, lacks, rewrite))
        for index, tensor in enumerate(op.outputs):
            if tensor.dtype not in (tf.resource, tf.variant):
                name = f"{op.name}/refused_{index}"
                frame.tensors[tensor.name] = self._placeholder(name, tensor.dtype, tensor.shape)
            else:
                frame.tensors[tensor.name] = ""

    # Variables

    def _access(self, op: tf.Operation, frame: _Frame) -> None:
        """What an operation on a variable does to the value that it holds."""
        key = next(frame.handles[t.name] for t in op.inputs if t.name in frame.handles)
        dtype = self.variables[key].dtype
        name = self._unique(op.name, frame.path) if frame.path else op.name
        if op.type == "Identity":
            frame.handles[op.outputs[0].name] = key
        elif op.type == "ReadVariableOp":
            frame.tensors[op.outputs[0].name] = self.now[key]
        elif op.type == "AssignVariableOp":
            self.now[key] = self._value(op.inputs[1], frame)
        elif op.type in ("AssignAddVariableOp", "AssignSubVariableOp"):
            kind = "AddV2" if op.type == "AssignAddVariableOp" else "Sub"
            self.now[key] = self.add(kind, f"{name}/value", [self.now[key], self._value(op.inputs[1], frame)], T=dtype)
        elif op.type == "ResourceGather" and not op.get_attr("batch_dims"):
            index = op.inputs[1]
            axis = self._constant(f"{name}/axis", 0, tf.int32)
            frame.tensors[op.outputs[0].name] = self.add(
                "GatherV2", name, [self.now[key], self._value(index, frame), axis],
                Tparams=dtype, Tindices=index.dtype, Taxis=tf.int32,
            )  # fmt: skip
        elif op.type == "VariableShape":
            shape = self.add("Shape", name, [self.now[key]], T=dtype, out_type=op.outputs[0].dtype)
            frame.tensors[op.outputs[0].name] = shape
        elif op.type == "VarIsInitializedOp":
            frame.tensors[op.outputs[0].name] = self._constant(name, True, tf.bool)
        else:
            self._refuse(op, "an update of part of a variable", "assign the whole new value", frame)

    # Functions

    def _inline(
        self, op: tf.Operation, function: str, inputs: Sequence[tf.Tensor], frame: _Frame, branch: int | None = None
    ) -> tuple[Any, _Frame]:
        """Go through a function's operations in place of a call, or of a conditional's branch of a number.

        Returns:
            The function's graph, and the values in it.
        """
        definition = self._functions[function]
        with self._graph.as_default():  # it knows the functions that this one calls
            body = function_def_to_graph(definition, input_shapes=[t.shape for t in inputs])
        inner = _Frame(path=self._unique(f"{op.name.rpartition('/')[2]}_body"))
        for outside, inside in zip(inputs, body.inputs, strict=True):
            if outside.name in frame.handles:
                inner.handles[inside.name] = frame.handles[outside.name]
            else:
                value = self._value(outside, frame)
                inner.tensors[inside.name] = value if branch is None or isinstance(value, str) else value[branch]
        self._go(body.get_operations(), inner)
        return body, inner

    def _returned(self, op: tf.Operation, called: tuple[Any, _Frame], frame: _Frame) -> None:
        body, inner = called
        for outside, inside in zip(op.outputs, body.outputs, strict=True):
            if inside.name in inner.handles:
                frame.handles[outside.name] = inner.handles[inside.name]
            else:
                frame.tensors[outside.name] = self._value(inside, inner)

    def _conditional(self, op: tf.Operation, frame: _Frame) -> None:
        """Both branches, then a selection of what differs."""
        condition, arguments = self._value(op.inputs[0], frame), list(op.inputs)[1:]
        before = dict(self.now)
        made, states = [], []
        for branch, key in enumerate(("then_branch", "else_branch")):
            self.now = dict(before)
            body, inner = self._inline(op, op.get_attr(key).name, arguments, frame, branch)
            made.append([self._value(t, inner) for t in body.outputs])
            states.append(self.now)
        self.now = {
            key: self._select(op, condition, states[0][key], states[1][key], self.variables[key].dtype)
            for key in before
        }
        for tensor, yes, no in zip(op.outputs, *made, strict=True):
            either = (yes, no) if tensor.dtype == tf.variant else self._select(op, condition, yes, no, tensor.dtype)
            frame.tensors[tensor.name] = either

    def _select(self, op: tf.Operation, condition: str, yes: str, no: str, dtype: tf.DType) -> str:
        return yes if yes == no else self.add("SelectV2", f"{op.name}/chosen", [condition, yes, no], T=dtype)


def lift(function: Any, arguments: int) -> Lifted:
    """Lift a traced function.

    Args:
        function: A concrete function.
        arguments: How many of its inputs are its arguments; the others are what it takes from outside.
    """
    lifter = _Lifter(function)
    held = tuple(
        Held(variable, f"variable_{index}:0", lifter.now[key])
        for index, (key, variable) in enumerate(lifter.variables.items())
    )
    return Lifted(
        graph_def=lifter.made,
        inputs=tuple(t.name for t in function.inputs[:arguments]),
        outputs=tuple(lifter.frame.tensors.get(t.name, t.name) for t in function.outputs),
        held=held,
        refused=tuple(lifter.refused),
        shapes=lifter.shapes,
    )
