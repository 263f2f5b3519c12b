"""Slices that take a tensor apart become one Split, also where a slice is itself taken apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.cleanup import clean_up
from fathom_exporters.lowering.cleanup.splits import SplitSlices
from support.graphs.lowering import FLOAT, run, standard_model, tagged, value


def constant(graph: ir.Graph, numbers: list[int]) -> ir.Value:
    initializer = ir.Value(
        name=f"c{len(graph.initializers)}",
        const_value=ir.tensor(np.array(numbers)),
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([len(numbers)]),
    )
    graph.register_initializer(initializer)
    return initializer


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


def sliced(cuts: list[tuple[int, int]]) -> ir.Model:
    """A model that doubles each cut of rows of x [6, 2]."""
    x = ir.Value(name="x", type=FLOAT, shape=ir.Shape((6, 2)))
    nodes, constants, outputs = [], [], []
    for index, cut in enumerate(cuts):
        bounds = [ir.tensor(np.array(c, np.int64)) for c in ([cut[0], 0], [cut[1], 2])]
        ends = [
            ir.Value(name=f"c{index}{k}", const_value=t, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape((2,)))
            for k, t in enumerate(bounds)
        ]
        constants += ends
        part = ir.node("Slice", [x, *ends])
        part.outputs[0].shape, part.outputs[0].type = ir.Shape((cut[1] - cut[0], 2)), FLOAT
        part.outputs[0].name = f"part{index}"
        double = ir.node("Add", [part.outputs[0], part.outputs[0]])
        double.outputs[0].shape, double.outputs[0].type = part.outputs[0].shape, FLOAT
        double.outputs[0].name = f"double{index}"
        for node in (part, double):
            Tag("backward", "layer", "Slice", node.op_type).put(node)
        nodes += [part, double]
        outputs.append(double.outputs[0])
    graph = ir.Graph([x], outputs, nodes=nodes, initializers=constants, opset_imports={"": 18}, name="g")
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("cuts", "kinds"),
    [
        ([(0, 2), (2, 4), (4, 6)], {"Split": 1, "Add": 3}),
        ([(4, 6), (0, 2), (2, 4)], {"Split": 1, "Add": 3}),
        ([(0, 2), (4, 6)], {"Slice": 2, "Add": 2}),
        ([(0, 2), (2, 4)], {"Slice": 2, "Add": 2}),
        ([(0, 2), (2, 6)], {"Slice": 2, "Add": 2}),
        ([(0, 3), (2, 5), (3, 6)], {"Slice": 3, "Add": 3}),
    ],
)
def test_slices_without_rest_are_one_split(cuts, kinds) -> None:
    model = sliced(cuts)
    clean_up(model)
    assert Counter(node.op_type for node in model.graph) == kinds
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    for got, (start, end) in zip(run(model, {"x": x}), cuts, strict=True):
        np.testing.assert_array_equal(got, 2 * x[start:end])


@pytest.mark.parametrize(("sizes", "listed"), [([2] * 30, False), ([40, 20], True)])
def test_a_split_into_equal_parts_has_no_list_of_sizes(sizes, listed) -> None:
    """A constant of more than 127 bytes would make onnxruntime refuse the graph."""
    x = ir.Value(name="x", type=FLOAT, shape=ir.Shape((60,)))
    listing = ir.Value(
        name="sizes",
        const_value=ir.tensor(np.array(sizes, np.int64)),
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape((len(sizes),)),
    )
    node = ir.node("Split", [x, listing], {"axis": 0}, num_outputs=len(sizes))
    for index, (output, size) in enumerate(zip(node.outputs, sizes, strict=True)):
        output.name, output.type, output.shape = f"part{index}", FLOAT, ir.Shape((size,))
    Tag("forward", "layer", "Slice", "one").put(node)
    graph = ir.Graph([x], list(node.outputs), nodes=[node], initializers=[listing], opset_imports={"": 18}, name="g")
    model = ir.Model(graph, ir_version=10)
    clean_up(model)
    assert [len(one.inputs) for one in model.graph] == [2 if listed else 1]
    values_ = np.arange(60, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate(run(model, {"x": values_})), values_)
