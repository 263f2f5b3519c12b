"""Filter gradients as products of shifted tensors against PyTorch's in float64, and where the rules take them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.cleanup import clean_up
from fathom_exporters.lowering.gradients.fast import convolution as fast_convolution
from fathom_exporters.lowering.gradients.fast import shifts
from fathom_exporters.lowering.gradients.fast.shifts import Shifts, filter_by_shifts
from fathom_exporters.lowering.window import Window
from support.graphs.layers import Layer, drawn_layer, kinds
from support.graphs.lowering import run, value

ONE = ((3, 3), (1, 1), (1, 1), (1, 1))
"""Kernel, strides, padding and dilations."""


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_gradient_is_that_of_the_convolution(data: st.DataObject) -> None:
    layer = drawn_layer(data, ranks=(2, 2), most_stride=1)
    layer.check(layer.written(Shifts))


def test_windows_in_the_padding_alone_read_zeros() -> None:
    layer = Layer(2, (3, 5), (2, 1), (2, 3), (1, 1), (3, 4), (1, 1))
    layer.check(layer.written(Shifts))


def test_a_padding_of_its_own_at_each_end() -> None:
    layer = Layer(2, (3, 5), (6, 7), (3, 2), (1, 1), (2, 1), (1, 1), bias=False)
    layer.window["pads"] = [2, 1, 0, 0]
    dy = layer.inputs["dy"][:, :, :-2, :-1]
    layer.inputs["dy"] = np.ascontiguousarray(dy)
    (found,) = run(layer.written(Shifts), layer.inputs)
    x = np.pad(layer.inputs["x"], [(0, 0), (0, 0), (2, 0), (1, 0)])
    height, width = dy.shape[2:]
    for i, j in np.ndindex(3, 2):
        expected = np.einsum("nohw,nchw->oc", dy, x[:, :, i : i + height, j : j + width])
        np.testing.assert_allclose(found[:, :, i, j], expected, rtol=1e-5, atol=1e-5)


def test_what_is_zero_by_definition_is_zero() -> None:
    layer = Layer(2, (3, 64), (4, 4), *ONE, bias=False)
    layer.inputs["x"][:, 1] = 0
    layer.inputs["x"][:, 2, :, :3] = 0
    layer.inputs["dy"][:, :, :, 1:] = 0
    (dw,) = run(layer.written(Shifts), layer.inputs)
    assert (dw[:, 1] == 0).all()
    assert (dw[:, 2] == 0).all()  # columns 3 and 0 never meet
    assert (dw[:, 0, :, 1:] != 0).all()
    assert (dw[:, 0, :, 0] == 0).all()  # column -1 is padding


def test_an_error_is_that_of_the_direct_forms() -> None:
    layer = Layer(4, (256, 256), (8, 8), *ONE, bias=False)
    layer.check(layer.written(Shifts), 5e-7)


def test_one_product_of_a_few_copies() -> None:
    layer = Layer(2, (3, 5), (7, 6), (5, 3), (1, 1), (2, 1), (1, 1))
    model = layer.written(Shifts)
    clean_up(model)
    found = [node.op_type for node in model.graph]
    # of 5 + 3 shifts one each is none
    assert (found.count("Slice"), found.count("Pad"), found.count("Concat"), found.count("Gemm")) == (6, 2, 2, 1)


@pytest.mark.parametrize(
    ("channels", "side", "slices", "pads"),
    [
        ((128, 128), 36, 4, 2),  # 5184 positions over the batch, 40.5 for each output channel: shifted tensors
        ((128, 130), 36, 9, 1),  # 39.9: views of one padded image
        ((256, 256), 8, 9, 1),
    ],
)
def test_between_convolutions_by_winograds_algorithm(channels, side, slices, pads) -> None:
    layer = Layer(4, channels, (side, side), *ONE, bias=False)
    graph = layer.private().graph
    _, _, node = graph
    b = Builder(graph)
    b.begin(None)
    fast_convolution.back_filter(b, node)
    found = [node.op_type for node in b.nodes]
    assert (found.count("Gemm"), found.count("Slice"), found.count("Pad")) == (1, slices, pads)
    model = layer.private()
    assert "Conv" not in kinds(model)
    layer.check(model, 1e-5)  # that of F(4)


def test_where_the_rule_takes_them(monkeypatch) -> None:
    x, y = value("x", np.zeros((2, 16, 32, 32), np.float32)), value("y", np.zeros((2, 32, 32, 32), np.float32))

    def window(strides: int = 1, group: int = 1) -> Window:
        given = {"kernel_shape": [3, 3], "strides": [strides] * 2, "pads": [1] * 4, "dilations": [1, 1]}
        return Window(ir.node("Conv", [], given | {"group": group}))

    assert filter_by_shifts(x, y, window())
    assert not filter_by_shifts(x, y, window(strides=2))
    assert not filter_by_shifts(x, y, window(group=2))
    operands = 4 * 2 * 32 * 32 * (3 * 16 + 3 * 32)
    monkeypatch.setattr(shifts, "_MOST_BYTES", operands)
    assert filter_by_shifts(x, y, window())
    monkeypatch.setattr(shifts, "_MOST_BYTES", operands - 1)
    assert not filter_by_shifts(x, y, window())
    x.shape = None
    assert not filter_by_shifts(x, y, window())
