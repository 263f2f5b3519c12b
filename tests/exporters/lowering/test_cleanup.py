"""Clean-up of lowered graphs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.cleanup import CLEANUP, clean_up
from fathom_onnx.graph import Address
from support.graphs.exports import exported
from support.graphs.lowering import FLOAT, run, standard_model, tagged, value


def test_clean_up_keeps_small_epsilons_and_reads_transposed_matrices_as_they_lie() -> None:
    x, w = value("x", np.zeros((2, 3))), value("w", np.zeros((4, 3)))
    tag = ("forward", "fc", "MatMul")
    turn = tagged("Transpose", [w], tag, (3, 4), perm=[1, 0])
    product = tagged("Gemm", [x, turn.outputs[0]], tag, (2, 4))
    epsilon = ir.Value(name="e", const_value=ir.tensor(np.array(1e-8, np.float32)), type=FLOAT, shape=ir.Shape(()))
    add = tagged("Add", [product.outputs[0], epsilon], tag, (2, 4))
    add.outputs[0].name = "y"
    model = standard_model([turn, product, add], [x, w], [add.outputs[0]])
    model.graph.register_initializer(epsilon)
    clean_up(model)
    assert [node.op_type for node in model.graph] == ["Gemm", "Add"]
    a, b = np.ones((2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(4, 3)
    assert run(model, {"x": a * 0, "w": b})[0].tolist() == [[np.float32(1e-8)] * 4] * 2
    np.testing.assert_array_equal(run(model, {"x": a, "w": b})[0], a @ b.T)


def test_clean_up_turns_a_spatial_mean_into_a_pool() -> None:
    x = value("x", np.zeros((2, 3, 4, 4)))
    axes = ir.Value(name="a", const_value=ir.tensor(np.array([2, 3])), type=ir.TensorType(ir.DataType.INT64))
    mean = tagged("ReduceMean", [x, axes], ("forward", "pool", "Mean"), (2, 3), keepdims=0)
    mean.outputs[0].name = "y"
    model = standard_model([mean], [x], [mean.outputs[0]])
    model.graph.register_initializer(axes)
    clean_up(model)
    assert [node.op_type for node in model.graph] == ["GlobalAveragePool", "Flatten"]
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(model, {"x": image})[0], image.mean((2, 3)), rtol=1e-5)


def test_a_second_run_of_each_pass_changes_nothing() -> None:
    """Every pass of the sequence says whether it has changed the graph, and what it has changed stays so."""
    model = ir.from_proto(exported("speech", "torch", "training"))
    for node in model.graph:
        address = Address.parse(node.name or "")
        assert address is not None
        Tag(address.phase, address.scope, address.op, "origin").put(node)
    assert [type(step).__name__ for step in CLEANUP if step(model).modified] == []
