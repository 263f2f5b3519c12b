"""The update of a table by the rows that a step read, in place of one by a gradient as large as the table.

A step is recorded with the gradient ``G = GatherGrad(dy, indices)`` of a table p, since sparse tensors cannot be
recorded, and with gradient descent's ``p + a G`` for a number a. The sum over rows that makes G is linear, so that

    p + a GatherGrad(dy, indices) = ScatterAdd(p, a dy, indices)

which is what ``torch.optim.SGD`` makes of the sparse gradient itself: its rows are dy, its indices are the indices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from fathom_exporters.lowering import DOMAIN, Tag
from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import known_shape, operands, replace_node, static_shape
from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Workload

__all__ = ["keep_rows"]

_SCALED = frozenset({"Mul", "Div", "Neg", "Cast", "CastLike", "Identity"})
"""What makes a G of G, where the other operand is a number."""


def keep_rows(model: ir.Model, workload: Workload, gradients: Mapping[str, str]) -> None:
    """Change the row gradients of a translated step, and the updates by them, into those of rows.

    Args:
        model: The step; it is changed.
        workload: Says which parameters have row gradients.
        gradients: Parameter to the name of the output that is its gradient.

    Raises:
        ExportError: A step does something else with such a parameter or its gradient.
    """
    outputs = {output.name: index for index, output in enumerate(model.graph.outputs)}
    inputs = {value.name: value for value in model.graph.inputs}
    builder = Builder(model.graph, "rows")
    for parameter in workload.parameters:
        numbers = workload.row_gradients.get(parameter.name)
        if numbers is None or parameter.name not in gradients:
            continue
        place = outputs[gradients[parameter.name]]
        gradient = model.graph.outputs[place]
        read = gradient.producer()
        if (
            read is None
            or (read.op_type, read.domain) != ("GatherGrad", DOMAIN)
            or read.inputs[1] is not inputs[numbers]
        ):
            raise ExportError(
                f"the gradient of '{parameter.name}' is not of the rows that '{numbers}' names",
                "read it by this input alone, or leave out its row gradient",
            )
        rows = _rows(builder, read, gradient)
        for user, index in list(gradient.uses()):
            user.replace_input_with(index, rows)
        _follow(builder, rows, inputs[parameter.name], inputs[numbers])
        model.graph.outputs[place] = rows
        rows.name, gradient.name = gradient.name, None


def _rows(b: Builder, read: ir.Node, gradient: ir.Value) -> ir.Value:
    """The rows [rows read, *row] whose sum a gradient is."""
    dy, indices = operands(read)
    shape = [math.prod(static_shape(indices)), *static_shape(gradient)[1:]]
    tag = Tag.of(read)
    b.begin(None if tag is None else replace(tag, op="Reshape"))
    rows = b.reshape(dy, *shape)
    rows.shape, rows.type = ir.Shape(shape), gradient.type
    graph = read.graph
    assert graph is not None
    graph.insert_after(read, b.nodes)
    return rows


def _follow(b: Builder, rows: ir.Value, table: ir.Value, numbers: ir.Value) -> None:
    """Give the shape of rows to what is scaled of them, up to the sum with the table, which is written anew."""
    for user, index in list(rows.uses()):
        others = [value for value in user.inputs if value is not rows]
        if user.op_type in ("Add", "Sub") and user.inputs[0] is table:
            _scattered(b, user, rows, numbers)
        elif user.op_type in _SCALED and all(known_shape(other) in ((), (1,), None) for other in others):
            if (user.op_type, index) != ("CastLike", 1):  # else a number that takes its type
                user.outputs[0].shape, user.outputs[0].type = rows.shape, rows.type
                _follow(b, user.outputs[0], table, numbers)
        else:
            raise ExportError(f"the update of '{table.name}' is more than a step along its gradient ({user.op_type})")


def _scattered(b: Builder, total: ir.Node, rows: ir.Value, numbers: ir.Value) -> None:
    """Replace the sum, or difference, of a table and a gradient by the table with rows added."""
    b.begin(Tag.of(total))
    added = rows
    if total.op_type == "Sub":
        added = b.op("Neg", rows)
        added.shape, added.type = rows.shape, rows.type
    count = static_shape(rows)[0]
    flat = b.reshape(numbers, count)
    flat.shape, flat.type = ir.Shape([count]), numbers.type
    made = ir.node("ScatterAdd", [total.inputs[0], added, flat], domain=DOMAIN)
    made.metadata_props.update(total.metadata_props)
    graph = total.graph
    assert graph is not None
    replace_node(graph, total, made)
    graph.insert_before(made, b.nodes)
