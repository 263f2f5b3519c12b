"""Lowering rules against PyTorch's own gradients in float64."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.canonical import CANONICAL
from fathom_exporters.lowering.lower import LowerGradients
from fathom_exporters.lowering.rules import RULES
from fathom_onnx.errors import ExportError, UnknownNameError
from fathom_onnx.graph.definition import MACS_BY_DEFINITION
from support.graphs.lowering import FLOAT, close, lowered, private_model, run, value


@pytest.mark.parametrize("form", RULES)
def test_every_canonical_gradient_op_has_a_rule(form: str) -> None:
    assert set(RULES[form]) == set(CANONICAL)


@settings(max_examples=80)
@given(
    form=st.sampled_from(sorted(RULES)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilation=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    extra=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    channels=st.sampled_from((3, 16)),  # to either side of where the form of the filter gradient changes
    seed=st.integers(0, 9),
)
def test_convolution_gradients(form, kernel, stride, pads, dilation, extra, channels, seed) -> None:
    rng = np.random.default_rng(seed)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [max(r - 2 * p, 1) + e for r, p, e in zip(reach, pads, extra, strict=True)]
    x = torch.tensor(rng.normal(size=(2, channels, *size)), requires_grad=True)
    w = torch.tensor(rng.normal(size=(4, channels, *kernel)), requires_grad=True)
    y = F.conv2d(x, w, None, stride, pads, dilation)
    dy = torch.tensor(rng.normal(size=y.shape))
    dx, dw = torch.autograd.grad(y, (x, w), dy)
    window = {
        "kernel_shape": list(kernel),
        "strides": list(stride),
        "pads": [*pads, *pads],
        "dilations": list(dilation),
        "group": 1,
    }
    values = {"dy": dy.numpy(), "x": x.detach().numpy(), "w": w.detach().numpy()}
    filter_inputs = {k: values[k] for k in ("dy", "x")}
    close(lowered("Conv2DBackFilter", filter_inputs, [tuple(w.shape)], form, **window)[0], dw, 5e-6)
    input_inputs = {k: values[k] for k in ("dy", "w")}
    model = private_model("Conv2DBackInput", input_inputs, [tuple(x.shape)], **window, input_shape=list(x.shape))
    LowerGradients(form)(model)
    close(run(model, input_inputs)[0], dx, 5e-6)
    if form == "simulators":
        assert "ConvTranspose" not in [node.op_type for node in model.graph]
        # as many as the forward convolution, or fewer where that multiplies padding that no gradient is needed of
        assert conv_macs(model)[1] <= y.numel() * channels * math.prod(kernel)


@pytest.mark.parametrize(
    ("side", "padding", "channels", "kind"),
    [
        (23, 1, 2, "Conv"),
        (22, 1, 2, "ConvTranspose"),  # few positions
        (40, 0, 2, "ConvTranspose"),  # an input larger than the output
        (21, 2, 2, "Conv"),
        (23, 1, 3, "ConvTranspose"),  # more output channels than input channels
    ],
)
def test_the_input_gradient_takes_its_form_by_positions_and_channels(
    side: int, padding: int, channels: int, kind: str
) -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(1, 2, side, side)), requires_grad=True)
    w = torch.tensor(rng.normal(size=(channels, 2, 3, 3)))
    y = F.conv2d(x, w, None, 1, padding)
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    inputs = {"dy": dy.numpy(), "w": w.numpy()}
    attributes = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [padding] * 4, "dilations": [1, 1], "group": 1}
    model = private_model("Conv2DBackInput", inputs, [tuple(x.shape)], **attributes, input_shape=list(x.shape))
    LowerGradients("onnxruntime")(model)
    assert kind in [node.op_type for node in model.graph]
    close(run(model, inputs)[0], dx)


def conv_macs(model: ir.Model) -> tuple[int, int]:
    """Multiply-accumulates of all convolutions: by their shapes, and as they state them where they do."""
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True, data_prop=True).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*proto.value_info, *proto.input, *proto.output]
    }
    written = stated = 0
    for node in proto.node:
        if node.op_type == "Conv":
            macs = math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
            written += macs
            stated += next((int(p.value) for p in node.metadata_props if p.key == MACS_BY_DEFINITION), macs)
    return written, stated


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "side", "convolutions"),
    [
        (3, 2, 1, 1, 12, 4),  # out 6
        (4, 2, 1, 1, 12, 4),
        (8, 4, 4, 1, 20, 1),  # one more position than rows: padding beyond the image is not multiplied
        (1, 2, 0, 1, 12, 1),
        (5, 3, 1, 1, 15, 9),
        (5, 3, 1, 1, 16, 9),
        (3, 2, 2, 2, 12, 1),  # a stride with a dilation: every element touches the same component
        (3, 2, 3, 3, 12, 4),
        (3, 3, 2, 2, 12, 9),
        (3, 1, 2, 2, 9, 1),
        (3, 1, 0, 1, 9, 1),  # no padding: zeros around the gradient
        (4, 2, 0, 1, 20, 1),
        (3, 2, 0, 2, 13, 1),
        (5, 1, 1, 2, 14, 1),
        (11, 4, 2, 1, 32, 16),
    ],
)
def test_the_plain_input_gradient_multiplies_what_its_definition_does(
    kernel, stride, padding, dilation, side, convolutions
) -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(2, 5, side, side)), requires_grad=True)
    w = torch.tensor(rng.normal(size=(3, 5, kernel, kernel)))
    y = F.conv2d(x, w, None, stride, padding, dilation)
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    window = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [padding] * 4,
        "dilations": [dilation] * 2,
    }
    inputs = {"dy": dy.numpy(), "w": w.numpy()}
    model = private_model("Conv2DBackInput", inputs, [tuple(x.shape)], **window, group=1, input_shape=list(x.shape))
    LowerGradients("simulators")(model)
    kinds = [node.op_type for node in model.graph]
    assert "ConvTranspose" not in kinds
    assert kinds.count("Conv") == convolutions
    positions = (-(-side // stride)) ** 2  # of all components, as the convolutions are written
    definition = min(y.shape[2] ** 2, positions)
    assert conv_macs(model) == tuple(2 * 3 * n * 5 * kernel**2 for n in (positions, definition))
    close(run(model, inputs)[0], dx, 5e-6)


@pytest.mark.parametrize(("stride", "dilation", "padding"), [(1, 1, 1), (2, 1, 0), (2, 2, 1), ((1, 2), (3, 1), (0, 1))])
@pytest.mark.parametrize("groups", [2, 6])
def test_the_plain_input_gradient_of_groups(groups, stride, dilation, padding) -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(2, 6, 11, 10)), requires_grad=True)
    w = torch.tensor(rng.normal(size=(12, 6 // groups, 3, 2)))
    y = F.conv2d(x, w, None, stride, padding, dilation, groups)
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    both = {
        name: [v] * 2 if isinstance(v, int) else list(v) for name, v in (("strides", stride), ("dilations", dilation))
    }
    pads = [padding] * 2 if isinstance(padding, int) else list(padding)
    window = {"kernel_shape": [3, 2], **both, "pads": pads * 2, "group": groups}
    inputs = {"dy": dy.numpy(), "w": w.numpy()}
    model = private_model("Conv2DBackInput", inputs, [tuple(x.shape)], **window, input_shape=list(x.shape))
    LowerGradients("simulators")(model)
    assert "ConvTranspose" not in [node.op_type for node in model.graph]
    assert conv_macs(model)[1] <= dy.numel() * (6 // groups) * 6
    close(run(model, inputs)[0], dx, 5e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "side"),
    [(3, 1, 0, 1, 9), (3, 1, 1, 1, 8), (3, 2, 1, 1, 9), (4, 2, 0, 1, 20), (5, 2, 2, 1, 12), (3, 2, 1, 2, 13)],
)
@pytest.mark.parametrize("channels", [3, 16])
def test_the_plain_filter_gradient_multiplies_what_its_definition_does(
    kernel, stride, padding, dilation, side, channels
) -> None:
    out = (side + 2 * padding - (kernel - 1) * dilation - 1) // stride + 1
    arrays = {"dy": np.zeros((2, 4, out, out)), "x": np.zeros((2, channels, side, side))}
    window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4, "dilations": [dilation] * 2}
    model = private_model("Conv2DBackFilter", arrays, [(4, channels, kernel, kernel)], **window, group=1)
    LowerGradients("simulators")(model)
    gemms = sum(node.op_type == "Gemm" for node in model.graph)
    assert conv_macs(model)[0] + gemms * 2 * 4 * out**2 * channels == 2 * 4 * out**2 * channels * kernel**2


def test_a_stride_that_differs_by_axis() -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(2, 3, 9, 8)), requires_grad=True)
    w = torch.tensor(rng.normal(size=(4, 3, 3, 4)))
    y = F.conv2d(x, w, None, (3, 2), (1, 1))
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    window = {"kernel_shape": [3, 4], "strides": [3, 2], "pads": [1] * 4, "dilations": [1, 1], "group": 1}
    inputs = {"dy": dy.numpy(), "w": w.numpy()}
    close(lowered("Conv2DBackInput", inputs, [tuple(x.shape)], **window, input_shape=list(x.shape))[0], dx)


@pytest.mark.parametrize(
    ("kernel", "stride", "channels", "form"),
    [
        (1, 2, 3, "Gemm"),
        (3, 1, 3, "Conv"),
        (3, 1, 16, "Gemm"),
        (3, 2, 16, "Gemm"),
        (4, 2, 16, "Conv"),
        (5, 1, 64, "Gemm"),
        (5, 2, 64, "Conv"),
        (7, 1, 64, "Conv"),
        (11, 4, 3, "Conv"),
    ],
)
def test_the_form_of_a_filter_gradient(kernel, stride, channels, form) -> None:
    size = kernel + 2 * stride
    arrays = {"dy": np.zeros((1, 2, 3, 3)), "x": np.zeros((1, channels, size, size))}
    window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [0] * 4, "dilations": [1, 1]}
    model = private_model("Conv2DBackFilter", arrays, [(2, channels, kernel, kernel)], **window, group=1)
    LowerGradients("simulators")(model)
    kinds = [node.op_type for node in model.graph]
    assert (kinds.count("Gemm"), kinds.count("Conv")) == ((kernel**2, 0) if form == "Gemm" else (0, 1))


@pytest.mark.parametrize("form", RULES)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [(3, 2, 1, 8), (2, 2, 0, 7), (2, 2, 0, 8), (3, 2, 0, 9), (3, 1, 1, 5), (2, 3, 0, 9), (5, 2, 2, 11)],
)
def test_max_pool_gradient_first_of_equals_takes_all(
    form: str, kernel: int, stride: int, padding: int, size: int
) -> None:
    rng = np.random.default_rng(0)
    # few distinct values, so that many windows have ties
    x = torch.tensor(rng.integers(0, 3, (2, 3, size, size)).astype(np.float64), requires_grad=True)
    y = F.max_pool2d(x, kernel, stride, padding)
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    inputs = {"dy": dy.numpy(), "x": x.detach().numpy()}
    got = lowered(
        "MaxPoolGrad",
        inputs,
        [tuple(x.shape)],
        form,
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[padding] * 4,
        dilations=[1, 1],
    )
    close(got[0], dx)


@pytest.mark.parametrize("form", RULES)
def test_max_pool_gradient_uses_the_forward_pool(form: str) -> None:
    x, dy = value("x", np.zeros((1, 1, 5, 5))), value("dy", np.zeros((1, 1, 2, 2)))
    window = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, "dilations": [1, 1]}
    pool = ir.node("MaxPool", [x], {k: v for k, v in window.items() if k != "dilations"})
    gradient = ir.node("MaxPoolGrad", [dy, x], window, domain=DOMAIN)
    for index, (node, side) in enumerate(((pool, 2), (gradient, 5))):
        node.outputs[0].name, node.outputs[0].type = f"y{index}", FLOAT
        node.outputs[0].shape = ir.Shape((1, 1, side, side))
        Tag("backward", "layer", "MaxPool", "one").put(node)
    outputs = [pool.outputs[0], gradient.outputs[0]]
    graph = ir.Graph([x, dy], outputs, nodes=[pool, gradient], opset_imports={"": 18, DOMAIN: VERSION}, name="g")
    model = ir.Model(graph, ir_version=10)
    LowerGradients(form)(model)
    kinds = [node.op_type for node in model.graph]
    assert kinds.count("MaxPool") == 1
    assert ("ScatterElements" in kinds) == (len(pool.outputs) == 2) == (form != "simulators")
    image = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
    y, dx = run(model, {"x": image, "dy": np.ones((1, 1, 2, 2))})
    assert y.ravel().tolist() == [6, 8, 16, 18]
    assert np.flatnonzero(dx).tolist() == [6, 8, 16, 18]


@pytest.mark.parametrize(
    ("op", "function", "from_output"),
    [
        ("ReluGrad", torch.relu, True),
        ("SigmoidGrad", torch.sigmoid, True),
        ("TanhGrad", torch.tanh, True),
        ("SoftplusGrad", F.softplus, False),
        ("LogSoftmaxGrad", lambda x: F.log_softmax(x, 1), True),
        ("SoftmaxGrad", lambda x: F.softmax(x, 1), True),
    ],
)
def test_pointwise_gradients(op, function, from_output) -> None:
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.normal(size=(5, 7)) * 3, requires_grad=True)
    y = function(x)
    dy = torch.tensor(rng.normal(size=(5, 7)))
    (dx,) = torch.autograd.grad(y, x, dy)
    second = {"y": y.detach().numpy()} if from_output else {"x": x.detach().numpy()}
    attributes = {"axis": 1} if "Softmax" in op else {}
    close(lowered(op, {"dy": dy.numpy(), **second}, [(5, 7)], **attributes)[0], dx)


def test_relu_gradient_at_zero_is_zero() -> None:
    got = lowered("ReluGrad", {"dy": np.array([1.0, 2.0, 3.0]), "y": np.array([0.0, 0.5, 0.0])}, [(3,)])
    assert got[0].tolist() == [0.0, 2.0, 0.0]


@pytest.mark.parametrize(("low", "high"), [(0.0, 20.0), (-1.0, 2.0)])
def test_clip_gradient(low, high) -> None:
    x = np.linspace(low - 3, high + 3, 60, dtype=np.float32).reshape(6, 10)
    x[0, :6] = [low, high, np.nextafter(low, 1, dtype="f"), np.nextafter(high, 0, dtype="f"), 0.0, high + 1]
    dy = np.random.default_rng(0).normal(size=x.shape)
    expected = torch.ops.aten.hardtanh_backward(torch.tensor(dy), torch.tensor(x, dtype=torch.float64), low, high)
    got = lowered("ClipGrad", {"dy": dy, "x": x}, [x.shape], min=low, max=high)[0]
    close(got, expected)
    assert ((got != 0) == (expected.numpy() != 0)).all()


def test_cross_entropy() -> None:
    rng = np.random.default_rng(2)
    logits = torch.tensor(rng.normal(size=(4, 6)), requires_grad=True)
    labels = torch.eye(6, dtype=torch.float64)[[0, 5, 2, 2]]
    loss = F.cross_entropy(logits, labels, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    inputs = {"logits": logits.detach().numpy(), "labels": labels.numpy()}
    got = lowered("CrossEntropy", inputs, [(4,), (4, 6)])
    close(got[0], loss.detach())
    close(got[1], gradient)


def test_batch_norm_and_its_gradient() -> None:
    rng = np.random.default_rng(3)
    x = torch.tensor(rng.normal(2.0, 3.0, (4, 3, 5, 5)), requires_grad=True)
    scale = torch.tensor(rng.normal(size=3), requires_grad=True)
    bias = torch.tensor(rng.normal(size=3), requires_grad=True)
    y = F.batch_norm(x, None, None, scale, bias, training=True, eps=1e-5)
    dy = torch.tensor(rng.normal(size=y.shape))
    gradients = torch.autograd.grad(y, (x, scale, bias), dy)
    mean, var = x.detach().mean((0, 2, 3)), x.detach().var((0, 2, 3), unbiased=False)
    inputs = {"x": x.detach().numpy(), "scale": scale.detach().numpy(), "bias": bias.detach().numpy()}
    got = lowered("BatchNormTraining", inputs, [(4, 3, 5, 5), (3,), (3,), (3,)], epsilon=1e-5)
    for actual, expected in zip(got, (y.detach(), mean, var, 1 / torch.sqrt(var + 1e-5)), strict=True):
        close(actual, expected)
    inputs = {
        "dy": dy.numpy(),
        "x": inputs["x"],
        "scale": inputs["scale"],
        "mean": mean.numpy(),
        "inv_std": (1 / torch.sqrt(var + 1e-5)).numpy(),
    }
    got = lowered("BatchNormGrad", inputs, [(4, 3, 5, 5), (3,), (3,)])
    for actual, expected in zip(got, gradients, strict=True):
        close(actual, expected, 1e-5)


def test_gather_gradient_adds_rows_that_are_gathered_twice() -> None:
    rng = np.random.default_rng(4)
    table = torch.tensor(rng.normal(size=(7, 3)), requires_grad=True)
    indices = torch.tensor([[0, 6, 6], [2, 0, 6]])
    y = F.embedding(indices, table)
    dy = torch.tensor(rng.normal(size=y.shape))
    (gradient,) = torch.autograd.grad(y, table, dy)
    got = lowered("GatherGrad", {"dy": dy.numpy(), "indices": indices.numpy()}, [(7, 3)], rows=7)
    close(got[0], gradient)


def test_slice_gradient() -> None:
    dy = np.arange(1.0, 5.0).reshape(2, 2)
    got = lowered("SliceGrad", {"dy": dy}, [(3, 4)], input_shape=[3, 4], starts=[1, 1])
    assert got[0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0]]


@pytest.mark.parametrize("channels", [7, 2])
@pytest.mark.parametrize(
    ("size", "alpha", "beta", "bias"), [(5, 5e-4, 0.75, 2.0), (3, 0.9, 0.6, 0.5), (1, 2.0, 1.5, 1.0)]
)
def test_local_response_norm_gradient(channels, size, alpha, beta, bias) -> None:
    rng = np.random.default_rng(4)
    x = torch.tensor(rng.normal(size=(2, channels, 3, 4)) * 3, requires_grad=True)
    y = F.local_response_norm(x, size, alpha, beta, bias)
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    inputs = {"dy": dy.numpy(), "x": x.detach().numpy(), "y": y.detach().numpy()}
    attributes = {"size": size, "alpha": alpha, "beta": beta, "bias": bias}
    close(lowered("LRNGrad", inputs, [tuple(x.shape)], **attributes)[0], dx)


def test_local_response_norm_of_a_window_without_a_middle_is_an_error() -> None:
    arrays = {name: np.ones((1, 4, 2, 2)) for name in ("dy", "x", "y")}
    model = private_model("LRNGrad", arrays, [(1, 4, 2, 2)], size=4, alpha=1.0, beta=0.5, bias=1.0)
    with pytest.raises(ExportError, match="window of 4 channels has no middle"):
        LowerGradients("simulators")(model)


def test_unknown_purpose_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown purpose 'simulator'; did you mean 'simulators'"):
        LowerGradients("simulator")
