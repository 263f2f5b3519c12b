"""Single random faults in a training graph: what a wrong translation, lowering or clean-up could have done."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from fathom_onnx.graph import from_model
from fathom_onnx.workloads.contract import Array

__all__ = ["KINDS", "mutated"]


class Place:
    """A copy of a model that is to be mutated, with its shapes."""

    def __init__(self, model: onnx.ModelProto, rng: np.random.Generator) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.rng = rng
        self.graph = self.model.graph
        inferred = shape_inference.infer_shapes(model).graph
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, int] = {}
        for info in (*inferred.input, *inferred.output, *inferred.value_info):
            self.shapes[info.name] = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
            self.types[info.name] = info.type.tensor_type.elem_type
        for tensor in self.graph.initializer:
            self.shapes[tensor.name], self.types[tensor.name] = tuple(tensor.dims), tensor.data_type

    def form(self, name: str) -> tuple[tuple[int, ...] | None, int | None]:
        """Shape and element type of a tensor."""
        return self.shapes.get(name), self.types.get(name)

    def node(self, *op_types: str, inputs: int = 0) -> onnx.NodeProto | None:
        """A random node, of some op types where these are given."""
        found = [n for n in self.graph.node if (not op_types or n.op_type in op_types) and len(n.input) >= inputs]
        return found[self.rng.integers(len(found))] if found else None

    def insert(self, user: onnx.NodeProto, index: int, op_type: str, *more: str, **attributes: object) -> None:
        """Put a node in front of one operand of a node."""
        made = helper.make_node(op_type, [user.input[index], *more], ["mutated"], "mutated", **attributes)
        at = next(i for i, n in enumerate(self.graph.node) if n is user or n.output == user.output)
        user.input[index] = "mutated"
        self.graph.node.insert(at, made)

    def constant(self, value: Array) -> str:
        """A further constant."""
        self.graph.initializer.append(numpy_helper.from_array(value, "mutation"))
        return "mutation"


def _swap_operands(p: Place) -> str | None:
    node = p.node("Sub", "Div", "MatMul", "Pow", "Less", "Greater", "Gemm", "Where", inputs=2)
    if node is None:
        return None
    first = 1 if node.op_type == "Where" else 0
    node.input[first], node.input[first + 1] = node.input[first + 1], node.input[first]
    return f"operands of {node.op_type} swapped: {node.name}"


def _change_attribute(p: Place) -> str | None:
    node = p.node()
    assert node is not None
    numbers = [a for a in node.attribute if a.type in (a.INT, a.FLOAT, a.INTS) and a.name not in ("to", "dtype")]
    if not numbers:
        return None
    attribute = numbers[p.rng.integers(len(numbers))]
    if attribute.type == attribute.FLOAT:
        attribute.f *= 1 + 1e-4
    elif attribute.type == attribute.INT:
        attribute.i = 1 - attribute.i if attribute.i in (0, 1) else attribute.i + 1
    elif len(attribute.ints) > 1:
        i, j = p.rng.choice(len(attribute.ints), 2, replace=False)
        attribute.ints[i], attribute.ints[j] = attribute.ints[j], attribute.ints[i]
    else:
        attribute.ints[:] = [n + 1 for n in attribute.ints]
    return f"attribute {attribute.name} of {node.op_type} changed: {node.name}"


def _move_constant(p: Place) -> str | None:
    tensor = p.graph.initializer[p.rng.integers(len(p.graph.initializer))]
    value = numpy_helper.to_array(tensor).copy()
    if not value.size:
        return None
    flat = value.reshape(-1)
    index = int(p.rng.integers(value.size))
    if value.dtype == np.bool_:
        flat[index] = ~flat[index]
    elif np.issubdtype(value.dtype, np.floating):
        flat[index] = flat[index] * (1 + 1e-4) if flat[index] else 1e-4
    else:
        flat[index] += 1 if p.rng.random() < 0.5 else -1
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(value, name))
    return f"constant '{name}' moved to {flat[index]}"


def _drop_operand(p: Place) -> str | None:
    node = p.node("Add", "Mul", "Sub", "Sum", "Max", "Min", "Div", "And", "Or", inputs=2)
    if node is None:
        return None
    kept = [i for i in node.input[:2] if p.shapes.get(i) == p.shapes.get(node.output[0])]
    if not kept:
        return None
    op_type, node.op_type = node.op_type, "Identity"
    node.input[:] = [kept[p.rng.integers(len(kept))]]
    return f"an operand of {op_type} dropped: {node.name}"


def _another_gradient(p: Place) -> str | None:
    names = dict(from_model(p.model, "step").metadata.gradients)  # type: ignore[union-attr]
    first, second = p.rng.choice(sorted(names), 2, replace=False)
    one, other = names[first], names[second]
    if one == other or p.shapes.get(one) != p.shapes.get(other):
        return None
    for node in p.graph.node:
        if node.name.startswith("optimizer/"):
            node.input[:] = [other if name == one else name for name in node.input]
    return f"the update of {first} has the gradient of {second}"


def _stand_still(p: Place) -> str | None:
    inputs = {i.name for i in p.graph.input}
    outputs = [o.name for o in p.graph.output if o.name.removesuffix(".next") in inputs]
    name = outputs[p.rng.integers(len(outputs))]
    for node in p.graph.node:
        node.output[:] = ["stood" if o == name else o for o in node.output]
        node.input[:] = ["stood" if i == name else i for i in node.input]
    p.graph.node.append(helper.make_node("Identity", [name.removesuffix(".next")], [name], "still"))
    return f"'{name}' stands still"


def _swap_inputs(p: Place) -> str | None:
    names = [i.name for i in p.graph.input]
    first, second = p.rng.choice(names, 2, replace=False)
    if p.form(first) != p.form(second):
        return None
    other = {first: second, second: first}
    phase = ("forward/", "backward/", "optimizer/", "")[p.rng.integers(4)]
    for node in p.graph.node:
        if node.name.startswith(phase):
            node.input[:] = [other.get(name, name) for name in node.input]
    return f"'{first}' and '{second}' exchanged in {phase or 'all phases'}"


def _permute(p: Place) -> str | None:
    node = p.node(inputs=1)
    assert node is not None
    index = int(p.rng.integers(len(node.input)))
    shape = p.shapes.get(node.input[index], ())
    axes = [i for i, n in enumerate(shape) if n > 1]
    if not axes:
        return None
    axis = int(p.rng.choice(axes))
    equal = [i for i in axes if i != axis and shape[i] == shape[axis]]
    if equal and p.rng.random() < 0.5:
        order = list(range(len(shape)))
        order[axis], order[equal[0]] = equal[0], axis
        p.insert(node, index, "Transpose", perm=order)
        return f"two axes of operand {index} of {node.op_type} exchanged: {node.name}"
    rows = np.arange(shape[axis])
    i, j = p.rng.choice(shape[axis], 2, replace=False)
    rows[[i, j]] = rows[[j, i]]
    p.insert(node, index, "Gather", p.constant(rows), axis=axis)
    return f"two elements of an axis of operand {index} of {node.op_type} exchanged: {node.name}"


_LIKE = {
    "Add": ("Sub", "Mul", "Max"),
    "Sub": ("Add", "Div"),
    "Mul": ("Add", "Div"),
    "Div": ("Mul",),
    "Max": ("Min", "Add"),
    "Min": ("Max",),
    "Relu": ("Identity", "Abs", "Softplus"),
    "Sqrt": ("Identity", "Abs"),
    "Exp": ("Identity", "Softplus"),
    "Tanh": ("Sigmoid", "Identity"),
    "Sigmoid": ("Tanh", "HardSigmoid"),
    "Neg": ("Identity",),
    "Greater": ("GreaterOrEqual", "Less"),
    "Less": ("LessOrEqual", "Greater"),
    "GreaterOrEqual": ("Greater",),
    "LessOrEqual": ("Less",),
    "ReduceSum": ("ReduceMean", "ReduceMax"),
    "ReduceMean": ("ReduceSum", "ReduceMax"),
    "ReduceMax": ("ReduceMin",),
    "Softmax": ("LogSoftmax", "Hardmax"),
    "And": ("Or",),
    "Sign": ("Identity", "Abs"),
    "Erf": ("Tanh",),
    "Reciprocal": ("Identity",),
    "Not": ("Identity",),
}
"""Op type to others of the same signature."""


def _another_op(p: Place) -> str | None:
    node = p.node(*_LIKE)
    if node is None:
        return None
    before, others = node.op_type, _LIKE[node.op_type]
    node.op_type = others[p.rng.integers(len(others))]
    return f"{before} became {node.op_type}: {node.name}"


def _scale(p: Place) -> str | None:
    node = p.node(inputs=1)
    assert node is not None
    index = int(p.rng.integers(len(node.input)))
    if p.types.get(node.input[index]) != onnx.TensorProto.FLOAT:
        return None
    p.insert(node, index, "Mul", p.constant(np.float32(1 + 1e-4)))
    return f"operand {index} of {node.op_type} scaled by 1.0001: {node.name}"


def _another_operand(p: Place) -> str | None:
    node = p.node(inputs=1)
    assert node is not None
    index = int(p.rng.integers(len(node.input)))
    before = node.input[index]
    at = next(i for i, n in enumerate(p.graph.node) if n.output == node.output)
    earlier = {o for n in list(p.graph.node)[:at] for o in n.output} | {i.name for i in p.graph.input}
    like = [n for n in sorted(earlier - {before}) if before in p.shapes and p.form(n) == p.form(before)]
    if not like:
        return None
    node.input[index] = like[p.rng.integers(len(like))]
    return f"operand {index} of {node.op_type} is '{node.input[index]}': {node.name}"


KINDS: dict[str, Callable[[Place], str | None]] = {
    "operands swapped": _swap_operands,
    "attribute changed": _change_attribute,
    "constant moved": _move_constant,
    "operand dropped": _drop_operand,
    "another gradient": _another_gradient,
    "output stands still": _stand_still,
    "inputs exchanged": _swap_inputs,
    "axis permuted": _permute,
    "another op": _another_op,
    "operand scaled": _scale,
    "another operand": _another_operand,
}
"""What a mutation does, to the function that does it and says where; None where it has found no place."""


def mutated(model: onnx.ModelProto, kind: str, rng: np.random.Generator) -> tuple[str, onnx.ModelProto] | None:
    """A copy of a model with a fault of a kind, and what it is; None where chance found no place for it."""
    place = Place(model, rng)
    told = KINDS[kind](place)
    return (told, place.model) if told else None
