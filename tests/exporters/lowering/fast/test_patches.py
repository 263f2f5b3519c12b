"""Convolutions by products over patches against PyTorch's in float64, and where the rules take them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.fast.standard import WriteStandardOps
from fathom_exporters.lowering.gradients.fast.patches import Patches
from fathom_exporters.lowering.lower import LowerGradients
from fathom_exporters.lowering.window import Window
from support.graphs.lowering import FLOAT, close, run, value


class Layer:
    """A convolution and both of its gradients in PyTorch, float64."""

    def __init__(self, batch, channels, size, kernel, strides, pads, dilations, bias=True) -> None:
        rng = np.random.default_rng(0)
        rank = len(size)
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
        x = torch.tensor(rng.normal(size=(batch, channels[0], *size)), requires_grad=True)
        w = torch.tensor(rng.normal(size=(channels[1], channels[0], *kernel)), requires_grad=True)
        b = torch.tensor(rng.normal(size=channels[1])) if bias else None
        y = convolve(x, w, b, strides, pads, dilations)
        dy = torch.tensor(rng.normal(size=y.shape))
        self.expected = (y.detach(), *torch.autograd.grad(y, (x, w), dy))
        self.inputs = {"x": x.detach().numpy(), "w": w.detach().numpy(), "dy": dy.numpy()}
        if b is not None:
            self.inputs["bias"] = b.numpy()
        self.window = {
            "kernel_shape": list(kernel),
            "strides": list(strides),
            "pads": [*pads, *pads],
            "dilations": list(dilations),
        }

    def private(self) -> ir.Model:
        """A Conv and the private ops of its gradients."""
        given = {name: value(name, array) for name, array in self.inputs.items()}
        forward = ir.node("Conv", [given[n] for n in ("x", "w", "bias") if n in given], self.window)
        shape = {"input_shape": list(self.inputs["x"].shape)}
        back_input = ir.node("Conv2DBackInput", [given["dy"], given["w"]], self.window | shape, domain=DOMAIN)
        back_filter = ir.node("Conv2DBackFilter", [given["dy"], given["x"]], self.window, domain=DOMAIN)
        nodes = [forward, back_input, back_filter]
        for node, name, expected in zip(nodes, ("y", "dx", "dw"), self.expected, strict=True):
            Tag("forward" if node is forward else "backward", "layer", "Conv2D", name).put(node)
            node.outputs[0].name, node.outputs[0].type = name, FLOAT
            node.outputs[0].shape = ir.Shape(expected.shape)
        opsets = {"": 18, DOMAIN: VERSION}
        outputs = [node.outputs[0] for node in nodes]
        graph = ir.Graph(list(given.values()), outputs, nodes=nodes, opset_imports=opsets, name="g")
        return ir.Model(graph, ir_version=10)

    def written(self) -> ir.Model:
        """The same by products over patches."""
        given = {name: value(name, array) for name, array in self.inputs.items()}
        graph = ir.Graph(list(given.values()), [], nodes=[], opset_imports={"": 18}, name="g")
        b = Builder(graph)
        b.begin(None)
        window = Window(ir.node("Conv2DBackFilter", [given["dy"], given["x"]], self.window))
        made = Patches(b, window, self.inputs["x"].shape, self.inputs["dy"].shape)
        outputs = [
            made.forward(given["x"], given["w"], given.get("bias")),
            made.back_input(given["dy"], given["w"]),
            made.back_filter(given["dy"], given["x"]),
        ]
        graph.extend(b.nodes)
        for output, name, expected in zip(outputs, ("y", "dx", "dw"), self.expected, strict=True):
            output.name, output.type, output.shape = name, FLOAT, ir.Shape(expected.shape)
            graph.outputs.append(output)
        return ir.Model(graph, ir_version=10)

    def check(self, model: ir.Model, limit: float = 1e-6) -> None:
        for found, expected in zip(run(model, self.inputs), self.expected, strict=True):
            close(found, expected, limit)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_all_three_are_those_of_the_convolution(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))

    def sides(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel, strides, dilations, pads = sides(1, 3), sides(1, 3), sides(1, 2), sides(0, 2)
    size = [
        max((k - 1) * d + 1 - 2 * p, 1) + extra
        for k, d, p, extra in zip(kernel, dilations, pads, sides(0, 3), strict=True)
    ]
    layer = Layer(2, (3, 5), size, kernel, strides, pads, dilations, bias=data.draw(st.booleans()))
    layer.check(layer.written())


SMALL = ((2, 2), (3, 3), (1, 1), (1, 1), (1, 1))


def kinds(model: ir.Model) -> list[str]:
    WriteStandardOps()(model)
    LowerGradients("onnxruntime")(model)
    return [node.op_type for node in model.graph]


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
    y, dx, _ = run(layer.written(), layer.inputs)
    assert (y[:, :, :, :2] == 0).all()
    assert (dx[:, :, 3:] == 0).all()
    assert (y[:, :, :, 2:] != 0).all()


def test_a_filter_gradient_is_one_product_where_that_copies_less() -> None:
    for channels, products in ((64, 1), (16, 9)):
        layer = Layer(2, (16, channels), (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
        model = layer.private()
        found = kinds(model)
        assert (found.count("Gemm"), found.count("Conv")) == (products, 1)
        layer.check(model, 2e-6)


def test_an_error_is_that_of_the_direct_forms() -> None:
    layer = Layer(4, (256, 256), (4, 4), (3, 3), (1, 1), (1, 1), (1, 1), bias=False)
    layer.check(layer.written(), 5e-7)
