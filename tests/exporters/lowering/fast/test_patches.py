"""Convolutions by products over patches against PyTorch's in float64, and where the rules take them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering.gradients.fast.patches import Patches
from support.graphs.layers import Layer, drawn_layer, kinds
from support.graphs.lowering import run


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_all_three_are_those_of_the_convolution(data: st.DataObject) -> None:
    layer = drawn_layer(data)
    layer.check(layer.written(Patches))


SMALL = ((2, 2), (3, 3), (1, 1), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("channels", "window", "products"),
    [
        ((3, 16), SMALL, True),
        ((3, 15), SMALL, False),  # too many places for the channels
        ((3, 64), ((4, 4), (3, 3), (1, 1), (1, 1), (1, 1)), True),
        ((3, 400), ((5, 5), (3, 3), (1, 1), (1, 1), (1, 1)), False),  # too many positions
        ((3, 400), ((8, 8), (3, 3), (2, 2), (1, 1), (1, 1)), True),
        ((3, 400), ((8, 8), (1, 1), (2, 2), (0, 0), (1, 1)), True),
    ],
)
def test_small_images_are_products_of_the_whole_batch(channels, window, products) -> None:
    layer = Layer(4, channels, *window)
    model = layer.private()
    found = kinds(model)
    assert ("Conv" not in found and "ConvTranspose" not in found) is products
    layer.check(model, 2e-6)


def test_what_is_zero_by_definition_is_zero() -> None:
    layer = Layer(2, (3, 64), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
    layer.inputs["x"][:, :, :, :3] = 0
    layer.inputs["dy"][:, :, 2:] = 0
    y, _, dx = run(layer.written(Patches), layer.inputs)
    assert (y[:, :, :, :2] == 0).all()
    assert (dx[:, :, 3:] == 0).all()
    assert (y[:, :, :, 2:] != 0).all()


def test_an_error_is_that_of_the_direct_forms() -> None:
    layer = Layer(4, (256, 256), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
    layer.check(layer.written(Patches), 5e-7)
