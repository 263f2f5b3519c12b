"""Slices that take a tensor apart become one Split, also where a slice is itself taken apart."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.cleanup.splits import SplitSlices
from support.lowering import run, standard_model, tagged, value


def constant(graph: ir.Graph, numbers: list[int]) -> ir.Value:
    made = ir.Value(
        name=f"c{len(graph.initializers)}",
        const_value=ir.tensor(np.array(numbers)),
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([len(numbers)]),
    )
    graph.register_initializer(made)
    return made


def test_slices_of_slices() -> None:
    x = value("x", np.zeros((4, 6)))
    model = standard_model([], [x], [])
    tag = ("forward", "layer", "Slice")

    def cut(source: ir.Value, name: str, shape: tuple[int, ...], axis: int, start: int, end: int) -> ir.Value:
        places = [constant(model.graph, [number]) for number in (start, end, axis)]
        node = tagged("Slice", [source, *places], tag, shape)
        node.outputs[0].name = name
        model.graph.append(node)
        return node.outputs[0]

    left, right = cut(x, "left", (4, 3), 1, 0, 3), cut(x, "right", (4, 3), 1, 3, 6)
    top, bottom = cut(left, "top", (2, 3), 0, 0, 2), cut(left, "bottom", (2, 3), 0, 2, 4)
    total = tagged("Sum", [top, bottom, cut(right, "rest", (2, 3), 0, 1, 3)], tag, (2, 3))
    total.outputs[0].name = "y"
    model.graph.append(total)
    model.graph.outputs.append(total.outputs[0])
    array = np.arange(24.0).reshape(4, 6)
    before = run(model, {"x": array})[0]
    assert SplitSlices()(model).modified
    # the last slice leaves a rest and stays
    assert [node.op_type for node in model.graph] == ["Split", "Split", "Slice", "Sum"]
    np.testing.assert_array_equal(run(model, {"x": array})[0], before)
    np.testing.assert_array_equal(before, array[:2, :3] + array[2:, :3] + array[1:3, 3:])
