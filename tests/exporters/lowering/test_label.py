"""Addresses: nodes and tensors are named by the nodes' tags."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from fathom_exporters.lowering.label import WriteAddresses
from fathom_onnx.errors import ExportError
from fathom_onnx.graph.definition import MACS_BY_DEFINITION
from support.graphs.lowering import standard_model, tagged, value


def test_labels() -> None:
    x = value("x", np.zeros((2, 2)))
    a = tagged("MatMul", [x, x], ("forward", "fc", "MatMul"), (2, 2))
    b = tagged("Sqrt", [a.outputs[0]], ("optimizer", "fc.weight", "ApplyAdam"), (2, 2))
    c = tagged("Mul", [b.outputs[0], x], ("optimizer", "fc.weight", "ApplyAdam"), (2, 2))
    d = tagged("Mul", [c.outputs[0], x], ("optimizer", "fc.weight", "ApplyAdam"), (2, 2))
    d.outputs[0].name = "result"
    b.metadata_props[MACS_BY_DEFINITION] = "12"
    model = standard_model([a, b, c, d], [x], [d.outputs[0]])
    WriteAddresses()(model)
    assert [node.name for node in model.graph] == [
        "forward/fc/MatMul",
        "optimizer/fc.weight/ApplyAdam/Sqrt_1",
        "optimizer/fc.weight/ApplyAdam/Mul_1",
        "optimizer/fc.weight/ApplyAdam/Mul_2",
    ]
    assert [node.outputs[0].name for node in model.graph][::3] == ["forward/fc/MatMul", "result"]
    assert [dict(node.metadata_props) for node in model.graph] == [{}, {MACS_BY_DEFINITION: "12"}, {}, {}]


def test_a_node_without_a_tag_is_an_error() -> None:
    x = value("x", np.zeros((2, 2)))
    node = ir.node("Sqrt", [x])
    with pytest.raises(ExportError, match="Sqrt"):
        WriteAddresses()(standard_model([node], [x], [node.outputs[0]]))
