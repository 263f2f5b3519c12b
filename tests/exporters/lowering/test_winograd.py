"""Winograd's algorithm against PyTorch's convolution in float64, and where the rule of costs takes it."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnx_ir.passes.common import TopologicalSortPass

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.cleanup import CLEANUP
from fathom_exporters.lowering.fast.standard import WriteStandardOps
from fathom_exporters.lowering.gradients.fast import convolution as fast_convolution
from fathom_exporters.lowering.gradients.fast import costs
from fathom_exporters.lowering.gradients.fast.costs import Form, form_of
from fathom_exporters.lowering.gradients.fast.winograd import Winograd, matrices
from fathom_exporters.lowering.infer import InferShapes
from fathom_exporters.lowering.lower import LowerGradients
from fathom_exporters.lowering.window import Window
from support.graphs.lowering import FLOAT, close, run, value


@pytest.mark.parametrize("tile", [2, 4])
def test_the_matrices_are_those_of_a_correlation(tile: int) -> None:
    b, g, a = matrices(tile)
    x, w = np.eye(tile + 2), np.eye(3)
    # bilinear: the claim holds for all x and w if it does for all pairs of unit vectors
    for i, j in itertools.product(range(tile + 2), range(3)):
        expected = [x[i][k : k + 3] @ w[j] for k in range(tile)]
        np.testing.assert_allclose(a @ ((g @ w[j]) * (b @ x[i])), expected, atol=1e-14)


def test_f2_is_winograds_own() -> None:
    b, g, a = matrices(2)
    scale = np.array([1, 2, 2, 1])  # F(2, 3) as printed by Lavin and Gray (2016), up to the size of each product
    printed_g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    products = np.abs(b).sum(1) * np.abs(g).sum(1) * np.abs(a).sum(0)
    assert (np.sign(b) != 0).tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]]
    assert (
        np.abs(np.abs(g) / np.abs(g).max(1, keepdims=True)).tolist()
        == (np.abs(printed_g) / printed_g.max(1, keepdims=True)).tolist()
    )
    assert products.shape == scale.shape


class Step:
    """A convolution and both of its gradients in PyTorch, float64."""

    def __init__(self, batch=2, channels=(3, 5), size=(8, 8), pads=(1, 1, 1, 1), bias=False) -> None:
        rng = np.random.default_rng(0)
        top, left, bottom, right = self.pads = pads
        self.x = torch.tensor(rng.normal(size=(batch, channels[0], *size)), requires_grad=True)
        self.w = torch.tensor(rng.normal(size=(channels[1], channels[0], 3, 3)), requires_grad=True)
        self.bias = torch.tensor(rng.normal(size=channels[1])) if bias else None
        self.y = F.conv2d(F.pad(self.x, (left, right, top, bottom)), self.w, self.bias)
        self.dy = torch.tensor(rng.normal(size=self.y.shape))
        self.dx, self.dw = torch.autograd.grad(self.y, (self.x, self.w), self.dy)

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        given = {"x": self.x.detach().numpy(), "w": self.w.detach().numpy(), "dy": self.dy.numpy()}
        return given | ({} if self.bias is None else {"bias": self.bias.numpy()})

    def check(self, model: ir.Model, limit: float) -> None:
        for found, expected in zip(run(model, self.inputs), (self.y, self.dx, self.dw), strict=True):
            close(found, expected.detach(), limit)


def model_of(step: Step, nodes: list[ir.Node], outputs: list[ir.Value], graph: ir.Graph) -> ir.Model:
    for node in nodes:
        graph.append(node)
    for one, name, expected in zip(outputs, ("y", "dx", "dw"), (step.y, step.dx, step.dw), strict=True):
        one.name, one.type, one.shape = name, FLOAT, ir.Shape(expected.shape)
        graph.outputs.append(one)
    return ir.Model(graph, ir_version=10)


def written(step: Step, tile: int, groups: tuple[int, int] = (1, 1)) -> ir.Model:
    """The step in the form for a tile."""
    inputs = {name: value(name, array) for name, array in step.inputs.items()}
    graph = ir.Graph(list(inputs.values()), [], nodes=[], opset_imports={"": 18}, name="g")
    b = Builder(graph)
    b.begin(Tag("forward", "layer", "Conv2D", "one"))

    def form() -> Winograd:  # one for each, as the rules do it
        return Winograd(b, tile, step.x.shape, step.y.shape, step.pads[:2], groups)

    outputs = [
        form().forward(inputs["x"], inputs["w"], inputs.get("bias")),
        form().back_input(inputs["dy"], inputs["w"]),
        form().back_filter(inputs["dy"], inputs["x"]),
    ]
    return model_of(step, b.nodes, outputs, graph)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(
    ("size", "pads"),
    [
        ((8, 8), (1, 1, 1, 1)),
        ((9, 9), (0, 0, 0, 0)),
        ((7, 7), (1, 1, 1, 1)),
        ((3, 3), (1, 1, 1, 1)),
        ((3, 3), (0, 0, 0, 0)),
        ((5, 11), (1, 0, 1, 0)),
        ((10, 6), (2, 2, 2, 2)),
        ((6, 9), (0, 1, 1, 2)),
        ((4, 13), (1, 1, 0, 0)),
    ],
)
def test_all_three_are_those_of_the_convolution(tile: int, size, pads) -> None:
    step = Step(size=size, pads=pads)
    step.check(written(step, tile), 6e-6)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("groups", [(2, 1), (1, 3), (2, 3), (4, 6)])
def test_groups_of_tiles_change_nothing(tile: int, groups: tuple[int, int]) -> None:
    for extra in (0, -1):  # the last tile whole, and cut
        step = Step(size=(4 * tile + extra, 6 * tile + extra))
        step.check(written(step, tile, groups), 6e-6)


def test_one_batch_one_channel_and_a_bias() -> None:
    step = Step(batch=1, channels=(1, 1), bias=True)
    step.check(written(step, 4), 6e-6)


@pytest.mark.parametrize(("tile", "limit"), [(2, 6e-7), (4, 2e-6)])
def test_errors_are_of_the_size_that_the_table_says(tile: int, limit: float) -> None:
    step = Step(channels=(64, 16), size=(16, 16))
    step.check(written(step, tile), limit)


def private(step: Step, strides=(1, 1), group: int = 1, normalised: bool = True) -> ir.Model:
    """A Conv and the private ops of its gradients, as if there were a batch normalisation behind it, or none."""
    inputs = {name: value(name, array) for name, array in step.inputs.items()}
    window = {"kernel_shape": [3, 3], "strides": list(strides), "pads": list(step.pads), "dilations": [1, 1]}
    window["group"] = group
    operands = [inputs[name] for name in ("x", "w", "bias") if name in inputs]
    forward = ir.node("Conv", operands, window)
    size = {"input_shape": list(step.x.shape)}
    back_input = ir.node("Conv2DBackInput", [inputs["dy"], inputs["w"]], window | size, domain=DOMAIN)
    back_filter = ir.node("Conv2DBackFilter", [inputs["dy"], inputs["x"]], window, domain=DOMAIN)
    nodes = [forward, back_input, back_filter]
    for node in nodes:
        Tag("forward" if node is forward else "backward", "layer", "Conv2D", node.op_type).put(node)
        if normalised:
            node.metadata_props["fathom.normalised"] = "1"
    opsets = {"": 18, DOMAIN: VERSION}
    graph = ir.Graph(list(inputs.values()), [], nodes=[], opset_imports=opsets, name="g")
    return model_of(step, nodes, [node.outputs[0] for node in nodes], graph)


def lowered(model: ir.Model) -> list[str]:
    steps = (WriteStandardOps(), LowerGradients("onnxruntime"), InferShapes(), *CLEANUP, TopologicalSortPass())
    for step in steps:
        step(model)
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("bias", [False, True])
def test_the_three_share_their_transforms(bias: bool) -> None:
    step = Step(batch=4, channels=(64, 64), size=(16, 16), bias=bias)
    model = private(step)
    kinds = lowered(model)
    assert "Conv" not in kinds
    # x, dy: two matrices each; V U', dM U, dM' V; y, dx: two each
    assert kinds.count("MatMul") == 11
    assert kinds.count("Gemm") == 2
    step.check(model, 4e-6)


def half_empty(relu: bool) -> Step:
    """A step whose inputs are zero in the left part of each image and whose dy is zero in the rest."""
    step = Step(batch=2, channels=(64, 64), size=(32, 32))
    x, dy = step.x.detach().abs() if relu else step.x.detach().clone(), step.dy.clone()
    x[:, :, :, :6], dy[:, :, :, 5:] = 0, 0  # the edge is within a tile
    dy[:, :32] = step.dy[:, :32]  # of half of the output channels dy is everywhere
    step.x = x.requires_grad_()
    step.dy = dy
    w = step.w.detach().requires_grad_()
    step.y = F.conv2d(F.pad(step.x, (1, 1, 1, 1)), w)
    step.dx, step.dw = torch.autograd.grad(step.y, (step.x, w), dy)
    return step


@pytest.mark.parametrize("relu", [False, True])
def test_what_is_zero_in_the_direct_forms_is_zero(relu: bool) -> None:
    step = half_empty(relu)
    model = private(step, normalised=False)
    kinds = lowered(model)
    assert "Conv" not in kinds  # forward and the input's gradient are Winograd's
    assert kinds.count("MatMul") == 10
    step.check(model, 4e-6)
    y, _, dw = run(model, step.inputs)
    assert (np.asarray(step.y.detach()) == 0).any()
    np.testing.assert_array_equal(y == 0, step.y.detach() == 0)
    empty = np.asarray(step.dw == 0)
    assert empty.mean() > 0.1
    assert (dw[empty] == 0).all()


def test_a_bias_is_added_where_the_window_is_empty_too() -> None:
    step = half_empty(relu=True)
    step.bias = torch.arange(64.0).double()
    step.y = step.y + step.bias[:, None, None]
    model = private(step, normalised=False)
    lowered(model)
    step.check(model, 4e-6)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_a_batch_normalisation_behind_a_convolution_is_seen(normalised: bool, moved: bool) -> None:
    step = Step()
    model = private(step, normalised=False)
    conv, *gradients = list(model.graph)
    dy = gradients[0].inputs[0]
    kinds = ("BatchNormTraining", "BatchNormGrad") if normalised else ("Relu", "ReluGrad")
    behind, source = conv.outputs[0], dy
    nodes = []
    if moved:
        nodes = [ir.node("Transpose", [behind], {"perm": [0, 2, 3, 1]})]
        behind = nodes[0].outputs[0]
    nodes += [ir.node(kinds[0], [behind]), ir.node(kinds[1], [source])]
    made = nodes[-1].outputs[0]
    if moved:
        nodes.append(ir.node("Transpose", [made], {"perm": [0, 3, 1, 2]}))
        made = nodes[-1].outputs[0]
    model.graph.extend(nodes)
    for gradient in gradients:
        gradient.replace_input_with(0, made)
    fast_convolution.mark(model.graph)
    marked = ["fathom.normalised" in node.metadata_props for node in (conv, *gradients)]
    assert marked == [normalised] * 3


def test_the_filters_transform_is_a_quotient_of_exact_constants() -> None:
    step = Step(batch=4, channels=(64, 64), size=(16, 16))
    model = private(step)
    assert lowered(model).count("Div") == 1
    for constant in model.graph.initializers.values():
        array = constant.const_value.numpy()
        if array.dtype == np.float32:  # a few bits each: in float64 they are the same numbers
            mantissa, _ = np.frexp(array.astype(np.float64))
            assert (mantissa * 2**20 % 1 == 0).all()


def test_a_small_convolution_stays_direct() -> None:
    step = Step()
    model = private(step)
    assert "Conv" in lowered(model)
    step.check(model, 2e-6)


def test_a_convolution_without_gradients_stays() -> None:
    step = Step(batch=4, channels=(64, 64), size=(16, 16))
    model = private(step)
    for node in list(model.graph)[1:]:
        model.graph.outputs.remove(node.outputs[0])
        model.graph.remove(node, safe=True)
    assert not WriteStandardOps()(model).modified


@pytest.mark.parametrize(
    ("batch", "channels", "size", "pad", "expected"),
    [  # the rows of the measurements
        (8, (64, 64), 56, 1, Form(4, (7, 7))),
        (8, (128, 128), 28, 1, Form(4, (1, 1))),
        (8, (256, 256), 14, 1, Form(2, (1, 1))),
        (8, (512, 512), 7, 1, Form(2, (1, 1))),
        (2, (64, 64), 112, 1, Form(4, (14, 14))),
        (2, (256, 256), 56, 1, Form(4, (7, 7))),
        (2, (512, 512), 28, 1, Form(4, (1, 1))),
        (4, (128, 256), 28, 1, Form(4, (1, 1))),
        (2, (384, 256), 13, 1, Form(2, (1, 1))),
        (4, (256, 256), 8, 1, Form(2, (1, 1))),
        (4, (64, 64), 16, 1, Form(2, (1, 1))),
        (4, (32, 32), 32, 1, Form(4, (4, 4))),
        (4, (512, 512), 4, 1, None),
        (2, (512, 512), 2, 1, None),
        (32, (64, 64), 9, 0, Form(4, (1, 1))),
        (2, (3, 64), 224, 1, None),
    ],
)
def test_the_form_is_that_of_the_least_cost(batch, channels, size, pad, expected) -> None:
    assert chosen(batch, channels, size, pad) == expected


def chosen(batch, channels, size, pad, **other) -> Form | None:
    out = size + 2 * pad - 2
    x, y = (
        ir.Value(name=n, type=FLOAT, shape=ir.Shape([batch, c, s, s]))
        for n, c, s in zip("xy", channels, (size, out), strict=True)
    )
    attributes = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [pad] * 4, "dilations": [1, 1]} | other
    return form_of(x, y, Window(ir.node("Conv2DBackFilter", [y, x], attributes)))


@pytest.mark.parametrize("other", [{"strides": [2, 2]}, {"dilations": [2, 2]}, {"group": 64}, {"kernel_shape": [5, 5]}])
def test_other_windows_are_direct(other) -> None:
    assert chosen(8, (64, 64), 56, 1) is not None
    assert chosen(8, (64, 64), 56, 1, **other) is None


def test_an_input_too_large_to_keep_is_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    costs._cheapest.cache_clear()
    monkeypatch.setattr(costs, "_MOST_BYTES", 2**20)
    assert chosen(8, (64, 64), 56, 1) is None
    costs._cheapest.cache_clear()
