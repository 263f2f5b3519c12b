"""Convolutions by products with views against PyTorch's in float64, and where the rules take them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering.cleanup import clean_up
from fathom_exporters.lowering.gradients.fast.views import Views, filter_by_views, forward_by_views
from fathom_exporters.lowering.window import Window
from support.graphs.layers import Layer, drawn_layer, kinds
from support.graphs.lowering import run, value


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_both_are_those_of_the_convolution(data: st.DataObject) -> None:
    layer = drawn_layer(data)
    layer.check(layer.written(Views))


def test_windows_in_the_padding_alone_read_zeros() -> None:
    layer = Layer(2, (3, 5), (1,), (1,), (2,), (2,), (1,))
    layer.check(layer.written(Views))
    layer = Layer(2, (3, 5), (2, 3), (1, 2), (3, 4), (3, 4), (1, 1))
    layer.check(layer.written(Views))


def test_what_is_zero_by_definition_is_zero() -> None:
    layer = Layer(2, (3, 64), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
    layer.inputs["x"][:, :, :, :3] = 0
    layer.inputs["x"][:, 1] = 0
    y, dw = run(layer.written(Views), layer.inputs)
    assert (y[:, :, :, :2] == 0).all()
    assert (y[:, :, :, 2:] != 0).all()
    assert (dw[:, 1] == 0).all()


def test_an_error_is_that_of_the_direct_forms() -> None:
    layer = Layer(4, (256, 256), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
    layer.check(layer.written(Views), 5e-7)


def test_both_read_the_same_views() -> None:
    layer = Layer(2, (3, 5), (7, 6), (3, 2), (2, 1), (1, 0), (1, 2))
    model = layer.written(Views)
    clean_up(model)
    found = [node.op_type for node in model.graph]
    assert (found.count("Slice"), found.count("Concat"), found.count("Gemm")) == (6, 1, 2)
    layer.check(model)


STRIDED = ((3, 3), (2, 2), (1, 1), (1, 1))
"""Kernel, strides, padding and dilations; by Winograd's algorithm at no size."""


@pytest.mark.parametrize(
    ("channels", "side", "window", "products", "convolutions"),
    [
        ((16, 64), 13, STRIDED, 2, 0),  # 49 positions: forward as well
        ((16, 64), 19, STRIDED, 2, 0),  # 100
        ((16, 64), 21, STRIDED, 1, 1),  # 121
        ((16, 31), 21, STRIDED, 1, 1),  # 484 over the batch, 16 for each output channel at most
        ((16, 30), 21, STRIDED, 9, 1),
        ((15, 64), 13, STRIDED, 0, 2),  # too few input channels
        ((16, 64), 13, ((5, 5), (2, 2), (2, 2), (1, 1)), 2, 0),
        ((16, 64), 13, ((5, 6), (2, 2), (2, 3), (1, 1)), 0, 2),  # too many kernel elements
    ],
)
def test_where_the_rules_take_them(channels, side, window, products, convolutions) -> None:
    layer = Layer(4, channels, (side, side), *window, bias=False)
    model = layer.private()
    found = kinds(model)
    assert (found.count("Gemm"), found.count("Conv"), found.count("ConvTranspose")) == (products, convolutions, 1)
    layer.check(model, 2e-6)


def test_a_group_of_channels_has_no_views() -> None:
    x, y = value("x", np.zeros((1, 16, 4, 4), np.float32)), value("y", np.zeros((1, 64, 4, 4), np.float32))
    for group, taken in ((1, True), (2, False)):
        window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": group}
        of = Window(ir.node("Conv", [], window))
        assert (forward_by_views(x, y, of), filter_by_views(x, y, of)) == (taken, taken)
