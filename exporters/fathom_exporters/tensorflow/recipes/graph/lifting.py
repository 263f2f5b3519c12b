"""A traced, stateful step as a pure graph: the variables that it reads and assigns become inputs and outputs.

Keras' optimizers assign to variables, and ``stateless_apply`` refuses TensorFlow, so it is the traced graph that is
made stateless: its operations are gone through in the order of their creation, which automatic control dependencies
keep at run time too, and each read is replaced by what the variable holds at that point. Calls of functions are
replaced by their operations. Of a conditional all branches are computed, and each result and each variable that they
leave different is selected by the condition; a loop whose steps can be counted is written out step by step:
no control flow is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from .building import SHAPES, Building
from .lifted import Held, Lifted, Refused
from .lists import UnknownError, is_of_lists, list_results
from .segments import SEGMENTS, segments
from .variables import Handle, Variables

__all__ = ["lift"]

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_CONDITIONALS = {
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
    "Case": (),
    "StatelessCase": (),
}
"""Operation to the attributes that name its branches; ``branches`` where there are any number."""
_LOOPS = ("While", "StatelessWhile")
_OPTIONALS = ("OptionalFromValue", "OptionalGetValue")

_LONGEST = 1024
"""Steps of a loop up to which it is written out."""


@dataclass
class _Frame:
    """A graph that is gone through, the step's or a function's.

    Attributes:
        path: What makes the names of its operations differ from others'; empty for the step itself.
        tensors: Name of a tensor in it to its value: the name of a tensor of the lifted graph, the handle of a
            variable or a list. An optional, by which a branch hands values to its gradient, has one for each branch.
        done: Names of the operations that were done.
    """

    path: str = ""
    tensors: dict[str, Any] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


class _Lifter:
    """Goes through a traced function.

    Attributes:
        building: The lifted graph.
        variables: What it reads and assigns.
    """

    def __init__(self, function: Any) -> None:
        self._graph = function.graph
        source = self._graph.as_graph_def()
        self._functions = {f.signature.name: f for f in source.library.function}
        self._bodies: dict[tuple[str, ...], Any] = {}
        self.building = Building(source.versions)
        self.variables = Variables(self.building)
        self.refused: list[Refused] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.frame = _Frame()
        self._capture()
        self._go(self._graph.get_operations(), self.frame)

    def _capture(self) -> None:
        """Variables and constants that the function takes from outside."""
        by_handle = {id(v.handle): v for v in self._graph.variables}
        for outer, inner in self._graph.captures:
            if id(outer) in by_handle:
                self.frame.tensors[inner.name] = self.variables.take(inner.name, by_handle[id(outer)])
            elif inner.dtype in (tf.resource, tf.variant):
                self._refuse(inner.op, "a resource that is no variable", "look words and numbers up before the model")
            else:
                value = np.asarray(outer)
                self.frame.tensors[inner.name] = self.building.constant(inner.op.name, value, inner.dtype)

    def _go(self, operations: Iterable[tf.Operation], frame: _Frame) -> None:
        for op in operations:
            self._visit(op, frame)

    def _visit(self, op: tf.Operation, frame: _Frame) -> None:
        """Do an operation that was not done yet, after what it reads: a gradient adds inputs to a loop before it."""
        if op.name in frame.done:
            return
        frame.done.add(op.name)
        if all(t.name in frame.tensors for t in op.outputs) and op.outputs:
            return  # an input that has its value from outside
        for tensor in op.inputs:
            self._visit(tensor.op, frame)
        self._do(op, [self._value(t, frame) for t in op.inputs], frame)

    def _do(self, op: tf.Operation, values: list[Any], frame: _Frame) -> None:
        if op.type in _CALLS:
            self._give(op, self._called(op, op.get_attr("f").name, op.inputs, values), frame)
        elif op.type in self._functions:  # a call as TensorFlow 1 wrote it
            self._give(op, self._called(op, op.type, op.inputs, values), frame)
        elif op.type in _CONDITIONALS:
            self._conditional(op, values, frame)
        elif op.type in _LOOPS:
            self._loop(op, values, frame)
        elif op.type in _OPTIONALS or (op.type == "Identity" and not isinstance(values[0], str)):
            self._give(op, values[:1], frame)
        elif op.type == "OptionalNone":
            self._give(op, [""], frame)
        elif is_of_lists(op):
            self._list(op, values, frame)
        elif any(isinstance(value, Handle) for value in values):
            self._access(op, values, frame)
        else:
            self._copy(op, values, frame)

    @staticmethod
    def _value(tensor: tf.Tensor, frame: _Frame) -> Any:
        return frame.tensors.get(tensor.name, str(tensor.name))

    @staticmethod
    def _give(op: tf.Operation, values: Iterable[Any], frame: _Frame) -> None:
        frame.tensors.update(zip((t.name for t in op.outputs), values, strict=True))

    def _copy(self, op: tf.Operation, values: Sequence[Any], frame: _Frame) -> None:
        if not all(isinstance(value, str) and value for value in values):
            self._refuse(
                op, "a value that a branch may not have", "compute both branches and choose with tf.where", frame
            )
            return
        if op.type in SHAPES and all(t.shape.is_fully_defined() for t in op.inputs):
            self._give(op, [self._size(op, t, out) for t, out in zip(op.inputs, op.outputs, strict=True)], frame)
            return
        if op.type == "Empty" and op.outputs[0].shape.is_fully_defined():  # what is in it is written before it is read
            zeros = np.zeros(op.outputs[0].shape.as_list(), op.outputs[0].dtype.as_numpy_dtype)
            name = self.building.unique(op.name, frame.path)
            self._give(op, [self.building.constant(name, zeros, op.outputs[0].dtype)], frame)
            return
        if op.type in SEGMENTS:
            made = segments(self.building, op, self.building.unique(op.name, frame.path), values)
            if made is not None:
                self._give(op, [made], frame)
                return
        name = self.building.copy(op.node_def, self.building.unique(op.name, frame.path), values)
        if name != op.name:
            self._give(op, [f"{name}:{index}" for index, _ in enumerate(op.outputs)], frame)
        if op.type.startswith(("Stateless", "Random")) and op.outputs and op.outputs[0].shape.is_fully_defined():
            self.shapes[name] = tuple(op.outputs[0].shape.as_list())

    def _size(self, op: tf.Operation, tensor: tf.Tensor, out: tf.Tensor) -> str:
        """What an operation says of a tensor of known shape."""
        sizes = tensor.shape.as_list()
        value = {"Size": math.prod(sizes), "Rank": len(sizes)}.get(op.type, sizes)
        return self.building.constant(op.name, np.array(value), out.dtype)

    def _refuse(self, op: tf.Operation, lacks: str, rewrite: str, frame: _Frame | None = None) -> None:
        frame = frame or self.frame
        self.refused.append(Refused(op.name, op.type, lacks, rewrite))
        for index, tensor in enumerate(op.outputs):
            plain = tensor.dtype not in (tf.resource, tf.variant)
            name = f"{op.name}/refused_{index}"
            frame.tensors[tensor.name] = self.building.placeholder(name, tensor.dtype, tensor.shape) if plain else ""

    def _list(self, op: tf.Operation, values: Sequence[Any], frame: _Frame) -> None:
        try:
            made = list_results(self.building, op, self.building.unique(op.name, frame.path), values)
        except UnknownError as error:
            self._refuse(op, str(error), "use a list of Python, with tf.stack, and indices that are numbers", frame)
            return
        self._give(op, made, frame)

    def _access(self, op: tf.Operation, values: Sequence[Any], frame: _Frame) -> None:
        made = self.variables.access(op, values, self.building.unique(op.name, frame.path) if frame.path else op.name)
        if made is None:
            self._refuse(op, "an update of part of a variable", "assign the whole new value", frame)
        else:
            self._give(op, made, frame)

    def _called(
        self, op: tf.Operation, function: str, tensors: Sequence[tf.Tensor], values: Sequence[Any]
    ) -> list[Any]:
        """Go through a function's operations in place of a call.

        Args:
            op: The call.
            function: Its name.
            tensors: Tensors like the function's inputs.
            values: What they are.

        Returns:
            The values of its outputs.
        """
        key = (function, *(f"{t.shape}" for t in tensors))
        if key not in self._bodies:
            with self._graph.as_default():  # it knows the functions that this one calls
                shapes = [t.shape for t in tensors]
                self._bodies[key] = function_def_to_graph(self._functions[function], input_shapes=shapes)
        body = self._bodies[key]
        inner = _Frame(path=self.building.unique(f"{op.name.rpartition('/')[2]}_body"))
        inner.tensors.update(zip((t.name for t in body.inputs), values, strict=True))
        self._go(body.get_operations(), inner)
        return [self._value(t, inner) for t in body.outputs]

    def _conditional(self, op: tf.Operation, values: Sequence[Any], frame: _Frame) -> None:
        """All branches, then a selection of what differs; one alone where it is known which."""
        chosen, arguments = values[0], values[1:]
        names = [op.get_attr(key).name for key in _CONDITIONALS[op.type]]
        names = names or [f.name for f in op.get_attr("branches")]
        is_case = not _CONDITIONALS[op.type]
        (known,) = self.building.known([(chosen, op.inputs[0].dtype)]) if isinstance(chosen, str) else (None,)
        if known is not None:
            number = int(known) if is_case else int(not np.any(known))
            number = number if 0 <= number < len(names) else len(names) - 1
            given = [v[number] if isinstance(v, tuple) else v for v in arguments]
            self._give(op, self._called(op, names[number], op.inputs[1:], given), frame)
            return
        before = dict(self.variables.now)
        made, states = [], []
        for branch, name in enumerate(names):
            self.variables.now = dict(before)
            given = [v[branch] if isinstance(v, tuple) else v for v in arguments]
            made.append(self._called(op, name, op.inputs[1:], given))
            states.append(self.variables.now)
        conditions = [chosen] if not is_case else self._numbered(op, chosen, len(names))
        self.variables.now = {
            key: self._select(op, conditions, [state[key] for state in states], self.variables.held[key].dtype)
            for key in before
        }
        for tensor, *each in zip(op.outputs, *made, strict=True):
            of_branches = tensor.dtype == tf.variant
            either = tuple(each) if of_branches else self._select(op, conditions, each, tensor.dtype)
            frame.tensors[tensor.name] = either

    def _numbered(self, op: tf.Operation, index: str, count: int) -> list[str]:
        """For all branches but the last, which any other number chooses too, whether an index is its number."""
        made = []
        for number in range(count - 1):
            constant = self.building.constant(f"{op.name}/branch", number, tf.int32)
            made.append(self.building.add("Equal", f"{op.name}/is_branch", [index, constant], T=tf.int32))
            self.building.made.node[-1].attr["incompatible_shape_error"].b = True
        return made

    def _select(self, op: tf.Operation, conditions: Sequence[str], each: Sequence[str], dtype: tf.DType) -> str:
        found = each[-1]
        for condition, value in zip(reversed(conditions), reversed(each[:-1]), strict=True):
            found = self.building.select(op.name, condition, value, found, dtype)
        return found

    def _loop(self, op: tf.Operation, values: Sequence[Any], frame: _Frame) -> None:
        """The steps of a loop one after the other; how many there are must be known."""
        condition, body = op.get_attr("cond").name, op.get_attr("body").name
        state: Sequence[Any] = values
        for _ in range(_LONGEST + 1):
            (going,) = self._called(op, condition, op.outputs, state)
            (known,) = self.building.known([(going, tf.bool)]) if isinstance(going, str) else (None,)
            if known is None:
                self._refuse(
                    op,
                    "a loop whose end depends on values",
                    "take a fixed number of steps, and keep what is done by tf.where(done, old, new)",
                    frame,
                )
                return
            if not known:
                self._give(op, state, frame)
                return
            state = self._called(op, body, op.outputs, state)
            state = self._settled(op, state)
        self._refuse(op, f"a loop of more than {_LONGEST} steps", "take fewer steps, or work on whole tensors", frame)

    def _settled(self, op: tf.Operation, state: Sequence[Any]) -> list[Any]:
        """A loop's values, whole numbers that are known as constants, so that what depends on them stays short."""
        counters = [
            (index, value)
            for index, (t, value) in enumerate(zip(op.outputs, state, strict=True))
            if isinstance(value, str) and (t.dtype.is_integer or t.dtype.is_bool) and t.shape.rank == 0
        ]
        settled = list(state)
        values = self.building.known([(value, op.outputs[index].dtype) for index, value in counters])
        for (index, _), value in zip(counters, values, strict=True):
            if value is not None:
                settled[index] = self.building.constant(f"{op.name}/counted", value, op.outputs[index].dtype)
        return settled


def lift(function: Any, arguments: int) -> Lifted:
    """Lift a traced function.

    Args:
        function: A concrete function.
        arguments: How many of its inputs are its arguments; the others are what it takes from outside.
    """
    lifter = _Lifter(function)
    variables = lifter.variables
    held = tuple(Held(variable, variables.first[key], variables.now[key]) for key, variable in variables.held.items())
    return Lifted(
        graph_def=lifter.building.made,
        inputs=tuple(t.name for t in function.inputs[:arguments]),
        outputs=tuple(lifter.frame.tensors.get(t.name, t.name) for t in function.outputs),
        held=held,
        refused=tuple(lifter.refused),
        shapes=lifter.shapes,
    )
