"""A convolution with both of its gradients, in PyTorch, in private ops and in a form."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
from hypothesis import strategies as st

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.fast.standard import WriteStandardOps
from fathom_exporters.lowering.gradients.fast.patches import Patches
from fathom_exporters.lowering.gradients.fast.shifts import Shifts
from fathom_exporters.lowering.gradients.fast.views import Views
from fathom_exporters.lowering.lower import LowerGradients
from fathom_exporters.lowering.window import Window
from support.graphs.lowering import FLOAT, close, run, value

__all__ = ["Layer", "drawn_layer", "kinds"]


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
        dx, dw = torch.autograd.grad(y, (x, w), dy)
        self.expected = {"y": y.detach(), "dx": dx, "dw": dw}
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
        for node, (name, expected) in zip(nodes, self.expected.items(), strict=True):
            Tag("forward" if node is forward else "backward", "layer", "Conv2D", name).put(node)
            node.outputs[0].name, node.outputs[0].type = name, FLOAT
            node.outputs[0].shape = ir.Shape(expected.shape)
        opsets = {"": 18, DOMAIN: VERSION}
        outputs = [node.outputs[0] for node in nodes]
        graph = ir.Graph(list(given.values()), outputs, nodes=nodes, opset_imports=opsets, name="g")
        return ir.Model(graph, ir_version=10)

    def written(self, form: type[Patches] | type[Views] | type[Shifts]) -> ir.Model:
        """The same in a form, what it has of it."""
        given = {name: value(name, array) for name, array in self.inputs.items()}
        graph = ir.Graph(list(given.values()), [], nodes=[], opset_imports={"": 18}, name="g")
        b = Builder(graph)
        b.begin(None)
        window = Window(ir.node("Conv2DBackFilter", [given["dy"], given["x"]], self.window))
        made = form(b, window, self.inputs["x"].shape, self.inputs["dy"].shape)
        outputs = {}
        if isinstance(made, Patches | Views):
            outputs["y"] = made.forward(given["x"], given["w"], given.get("bias"))
        outputs["dw"] = made.back_filter(given["dy"], given["x"])
        if isinstance(made, Patches):
            outputs["dx"] = made.back_input(given["dy"], given["w"])
        graph.extend(b.nodes)
        for name, output in outputs.items():
            output.name, output.type, output.shape = name, FLOAT, ir.Shape(self.expected[name].shape)
            graph.outputs.append(output)
        return ir.Model(graph, ir_version=10)

    def check(self, model: ir.Model, limit: float = 1e-6) -> None:
        """Every output of ``model`` against PyTorch's of that name."""
        for output, found in zip(model.graph.outputs, run(model, self.inputs), strict=True):
            close(found, self.expected[output.name], limit)


def drawn_layer(data: st.DataObject, ranks: tuple[int, int] = (1, 3), most_stride: int = 3) -> Layer:
    """A layer of so many sides, of any kernel, stride, padding and dilation."""
    rank = data.draw(st.integers(*ranks))

    def sides(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel, strides, dilations, pads = sides(1, 3), sides(1, most_stride), sides(1, 2), sides(0, 2)
    size = [
        max((k - 1) * d + 1 - 2 * p, 1) + extra
        for k, d, p, extra in zip(kernel, dilations, pads, sides(0, 3), strict=True)
    ]
    return Layer(2, (3, 5), size, kernel, strides, pads, dilations, bias=data.draw(st.booleans()))


def kinds(model: ir.Model) -> list[str]:
    """The ops of a model of private ops once it is lowered for onnxruntime, which is done in place."""
    WriteStandardOps()(model)
    LowerGradients("onnxruntime")(model)
    return [node.op_type for node in model.graph]
