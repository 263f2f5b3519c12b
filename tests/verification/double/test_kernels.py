"""Operators in float64 compute what onnxruntime's kernels compute, with more digits, at any of their settings."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.verification.double import DoubleGraph

SETTINGS = 25
"""Random settings of each operator."""


def model_of(op_type: str, inputs: list[np.ndarray | None], outputs: int, **attributes) -> onnx.ModelProto:
    """A model of one node; integer inputs and those of one dimension after the first are constants."""
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    given = [n for n, v in zip(names, inputs, strict=False) if v is not None and v.dtype == np.float32]
    constants = [(n, v) for n, v in zip(names, inputs, strict=False) if v is not None and v.dtype != np.float32]
    while not names[-1]:  # onnxruntime ends the process where a LayerNormalization names an input that is left out
        names.pop()
    made = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, made, "node", **attributes)],
        "one",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, inputs[names.index(n)].shape) for n in given],
        [helper.make_empty_tensor_value_info(n) for n in made],
        [numpy_helper.from_array(v, n) for n, v in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def both(op_type: str, inputs: list[np.ndarray | None], outputs: int = 1, **attributes):
    model = model_of(op_type, inputs, outputs, **{k: v for k, v in attributes.items() if v is not None})
    values = {f"x{i}": v for i, v in enumerate(inputs) if v is not None and v.dtype == np.float32}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(DoubleGraph(model).run(values).values()), session.run(None, values)


def agree(op_type: str, inputs: list[np.ndarray | None], outputs: int = 1, digits: bool = True, **attributes) -> None:
    """Both give the same; a result in float64 has digits that float32 has not."""
    ours, theirs = both(op_type, inputs, outputs, **attributes)
    for own, other in zip(ours, theirs, strict=True):
        assert own.shape == other.shape
        if other.dtype != np.float32:
            np.testing.assert_array_equal(own, other)
            continue
        assert own.dtype == np.float64
        np.testing.assert_allclose(own, other, rtol=2e-5, atol=2e-5 * float(np.abs(other).max(initial=0)))
        if digits and own.size > 8:
            assert (own != own.astype(np.float32)).any()


@pytest.fixture(params=range(SETTINGS))
def rng(request) -> np.random.Generator:
    return np.random.default_rng(request.param)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def pick(rng: np.random.Generator, *choices):
    return choices[rng.integers(len(choices))]


def some(rng: np.random.Generator, low: int, high: int, count: int) -> list[int]:
    return [int(n) for n in rng.integers(low, high + 1, count)]


def test_convolution(rng) -> None:
    rank, groups = int(rng.integers(1, 4)), pick(rng, 1, 1, 2, 3)
    channels, filters = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    kernel = some(rng, 1, 3, rank)
    auto = pick(rng, None, None, "SAME_UPPER", "SAME_LOWER", "VALID")
    agree(
        "Conv",
        [
            normal(rng, int(rng.integers(1, 3)), channels, *some(rng, 7, 9, rank)),
            normal(rng, filters, channels // groups, *kernel),
            pick(rng, None, normal(rng, filters)),
        ],
        group=groups,
        strides=some(rng, 1, 3, rank),
        dilations=None if auto in ("SAME_UPPER", "SAME_LOWER") else some(rng, 1, 3, rank),
        auto_pad=auto,
        pads=some(rng, 0, 2, 2 * rank) if auto is None else None,
    )


def test_transposed_convolution(rng) -> None:
    rank, groups = int(rng.integers(1, 4)), pick(rng, 1, 2, 3)
    channels, filters = groups * int(rng.integers(1, 4)), int(rng.integers(1, 4))
    strides = some(rng, 1, 3, rank)
    pads = some(rng, 0, 1, 2 * rank)
    agree(
        "ConvTranspose",
        [
            normal(rng, int(rng.integers(1, 3)), channels, *some(rng, 3, 5, rank)),
            normal(rng, channels, filters, *some(rng, 2, 3, rank)),
            pick(rng, None, normal(rng, filters * groups)),
        ],
        group=groups,
        strides=strides,
        dilations=some(rng, 1, 2, rank),
        pads=pads,
        output_padding=[int(rng.integers(0, s)) for s in strides],
    )


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
def test_pooling(rng, op_type) -> None:
    rank = int(rng.integers(1, 4))
    kernel = some(rng, 2, 3, rank)
    auto = pick(rng, None, None, "SAME_UPPER", "SAME_LOWER", "VALID")
    ceil = int(rng.integers(0, 2)) if auto is None else 0
    own = {
        "MaxPool": {"storage_order": 0, "dilations": None if auto else some(rng, 1, 2, rank)},
        "AveragePool": {"count_include_pad": int(rng.integers(0, 2))},
        "LpPool": {"p": int(rng.integers(1, 4))},
    }[op_type]
    pads = [int(rng.integers(0, (k + 1) // 2)) for k in kernel] if auto is None else None
    agree(
        op_type,
        [normal(rng, 2, 3, *some(rng, 6, 9, rank))],
        outputs=2 if op_type == "MaxPool" else 1,
        digits=op_type != "MaxPool",
        kernel_shape=kernel,
        strides=some(rng, 1, 2, rank),  # onnxruntime refuses windows that lie apart with an automatic padding
        auto_pad=auto,
        pads=None if pads is None else pads + pads,
        ceil_mode=ceil,
        **own,
    )


def test_gathered_and_scattered_elements(rng) -> None:
    shape = some(rng, 3, 6, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape), len(shape)))
    smaller = [int(rng.integers(1, n + 1)) for n in shape]
    indices = rng.integers(-shape[axis], shape[axis], smaller)
    agree("GatherElements", [normal(rng, *shape), indices], digits=False, axis=axis)
    for reduction in ("add", "mul", "max", "min"):
        inputs = [normal(rng, *shape), indices, normal(rng, *smaller)]
        agree("ScatterElements", inputs, digits=False, axis=axis, reduction=reduction)
    order = np.argsort(rng.random(shape), axis)[tuple(slice(n) for n in smaller)]  # each index once
    agree("ScatterElements", [normal(rng, *shape), order, normal(rng, *smaller)], digits=False, axis=axis)


def test_gathered_and_scattered_slices(rng) -> None:
    shape = some(rng, 3, 5, 4)
    batch = int(rng.integers(0, 3))
    depth = int(rng.integers(1, 5 - batch))
    places = [*shape[:batch], 2, 3]
    ends = np.array(shape[batch : batch + depth])
    indices = rng.integers(-ends, ends, (*places, depth))
    agree("GatherND", [normal(rng, *shape), indices], digits=False, batch_dims=batch)
    ends = np.array(shape[:depth])
    indices = rng.integers(-ends, ends, (7, depth))
    for reduction in ("add", "mul", "max", "min"):
        inputs = [normal(rng, *shape), indices, normal(rng, 7, *shape[depth:])]
        agree("ScatterND", inputs, digits=False, reduction=reduction)


def test_padding(rng) -> None:
    rank = int(rng.integers(1, 4))
    shape = some(rng, 4, 6, rank)
    mode = pick(rng, "constant", "constant", "edge", "reflect")
    low = -1 if mode == "constant" else 0
    axes = np.sort(rng.permutation(rank)[: int(rng.integers(1, rank + 1))])
    pads = np.array(some(rng, low, 2, 2 * len(axes)))
    value = np.float32(rng.standard_normal()) if mode == "constant" else None
    agree(
        "Pad",
        [normal(rng, *shape), pads, None if value is None else np.array(value), axes],
        digits=False,
        mode=mode,
    )


def test_normalisations(rng) -> None:
    x = normal(rng, 2, 6, 5, 4)
    six = [normal(rng, 6), normal(rng, 6)]
    axis = int(rng.integers(1, 4))
    inner = x.shape[axis:]
    bias = pick(rng, None, normal(rng, *inner))
    agree("LayerNormalization", [x, normal(rng, *inner), bias], axis=axis, epsilon=1e-3)
    agree("InstanceNormalization", [x, *six], epsilon=1e-3)
    variance = np.abs(normal(rng, 6)) + 0.1
    agree("BatchNormalization", [x, *six, normal(rng, 6), variance], epsilon=1e-3)
    agree("LRN", [x], size=pick(rng, 1, 3, 5), alpha=0.3, beta=0.75, bias=2.0)


def test_groups_are_normalised() -> None:
    rng = np.random.default_rng(0)
    x, scale, bias = normal(rng, 2, 6, 5), normal(rng, 3), normal(rng, 3)
    model = model_of("GroupNormalization", [x, scale, bias], 1, num_groups=3, epsilon=1e-3)
    (own,) = DoubleGraph(model).run({"x0": x, "x1": scale, "x2": bias}).values()
    wide = x.astype(np.float64)
    for n in range(2):
        for g in range(3):
            part = wide[n, 2 * g : 2 * g + 2]
            right = (part - part.mean()) / np.sqrt(part.var() + 1e-3) * scale[g] + bias[g]
            np.testing.assert_allclose(own[n, 2 * g : 2 * g + 2], right, rtol=1e-13, atol=1e-13)


UNARY = [
    *("Abs", "Acos", "Asin", "Asinh", "Atan", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "HardSigmoid"),
    *("HardSwish", "LeakyRelu", "LogSoftmax", "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh"),
    *("Softmax", "Softplus", "Softsign", "Tan", "Tanh", "ThresholdedRelu", "Celu", "Reciprocal", "Hardmax"),
]
EXACT = {"Abs", "Ceil", "Floor", "Neg", "Relu", "Round", "Sign", "ThresholdedRelu", "Hardmax"}


@pytest.mark.parametrize("op_type", UNARY)
def test_functions_of_one_tensor(op_type) -> None:
    x = np.random.default_rng(0).uniform(-0.95, 0.95, (4, 5)).astype(np.float32)
    agree(op_type, [x], digits=op_type not in EXACT)


@pytest.mark.parametrize("op_type", ["Sqrt", "Log", "Acosh", "Atanh"])
def test_functions_of_a_part_of_the_numbers(op_type) -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (4, 5)).astype(np.float32)
    agree(op_type, [x + 1 if op_type == "Acosh" else x])


@pytest.mark.parametrize(
    "op_type", ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
)
def test_reductions(rng, op_type) -> None:
    shape = some(rng, 2, 4, 3)
    axes = np.sort(rng.permutation(3)[: int(rng.integers(1, 4))])
    x = np.abs(normal(rng, *shape)) if op_type == "LogSum" else normal(rng, *shape)
    agree(f"Reduce{op_type}", [x, axes], digits=False, keepdims=int(rng.integers(0, 2)))


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum", "PRelu"])
def test_functions_of_two_tensors(rng, op_type) -> None:
    agree(op_type, [normal(rng, 3, 4, 5), normal(rng, 4, pick(rng, 1, 5))], digits=op_type not in ("Max", "Min"))


def test_products(rng) -> None:
    a, b = normal(rng, 4, 5), normal(rng, 5, 6)
    left, right = int(rng.integers(0, 2)), int(rng.integers(0, 2))
    c = pick(rng, None, normal(rng, 6), normal(rng, 4, 1), normal(rng, 4, 6), normal(rng, 1))
    inputs = [np.ascontiguousarray(a.T) if left else a, np.ascontiguousarray(b.T) if right else b, c]
    agree("Gemm", inputs, transA=left, transB=right, alpha=0.3, beta=0.7)
    agree("MatMul", [normal(rng, 2, 1, 4, 5), normal(rng, 3, 5, 6)])
    equation = pick(rng, "bij,bjk->bik", "bij,bjk->bk", "bij,bjk", "b...j,bjk->b...k")
    agree("Einsum", [normal(rng, 2, 3, 4), normal(rng, 2, 4, 5)], equation=equation)


def test_running_sums(rng) -> None:
    for exclusive in (0, 1):
        for reverse in (0, 1):
            agree("CumSum", [normal(rng, 3, 4, 5), np.array(pick(rng, 0, 1, -1))], exclusive=exclusive, reverse=reverse)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resizing(rng, mode) -> None:
    transformation = pick(rng, "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
    x = normal(rng, 2, 3, *some(rng, 3, 7, 2))
    # positions of whole numbers are rounding's to decide with the other two
    extra = {"nearest_mode": pick(rng, "round_prefer_floor", "round_prefer_ceil")}
    extra = extra if mode == "nearest" else {"cubic_coeff_a": -0.75} if mode == "cubic" else {}
    sizes = np.array([2, 3, *some(rng, 3, 11, 2)])
    agree(
        "Resize",
        [x, None, None, sizes],
        digits=False,
        mode=mode,
        coordinate_transformation_mode=transformation,
        **extra,
    )
    scales = np.array([1, 1, *rng.choice([0.5, 2, 2.3], 2)], np.float32)
    model = model_of("Resize", [x, None, scales], 1, mode=mode, coordinate_transformation_mode=transformation, **extra)
    scale_input = model.graph.input.pop()
    model.graph.initializer.append(numpy_helper.from_array(scales, scale_input.name))
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    (other,) = session.run(None, {"x0": x})
    (own,) = DoubleGraph(model).run({"x0": x}).values()
    np.testing.assert_allclose(own, other, rtol=2e-5, atol=5e-5)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_sampling_on_a_grid(rng, mode, padding) -> None:
    grid = rng.uniform(-1.2, 1.2, (2, 4, 3, 2)).astype(np.float32)
    corners = int(rng.integers(0, 2))
    inputs = [normal(rng, 2, 3, 5, 6), grid]
    agree("GridSample", inputs, digits=mode != "nearest", mode=mode, padding_mode=padding, align_corners=corners)


def test_columns_to_image(rng) -> None:
    kernel, stride, dilation, pad = pick(rng, 2, 3), int(rng.integers(1, 3)), int(rng.integers(1, 3)), pick(rng, 0, 1)
    size = [8, 7]
    blocks = [(n + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for n in size]
    agree(
        "Col2Im",
        [normal(rng, 2, 3 * kernel * kernel, blocks[0] * blocks[1]), np.array(size), np.array([kernel] * 2)],
        digits=False,
        dilations=[dilation] * 2,
        strides=[stride] * 2,
        pads=[pad] * 4,
    )


def test_one_hot_and_other_ops_of_types() -> None:
    rng = np.random.default_rng(0)
    agree("OneHot", [rng.integers(-5, 5, (3, 4)), np.array(5), np.array([0.5, 2], np.float32)], digits=False, axis=1)
    agree("TopK", [normal(rng, 3, 7), np.array([3])], outputs=2, digits=False, axis=1)
    agree("ArgMax", [normal(rng, 3, 7)], axis=1, keepdims=0)
    agree("Trilu", [normal(rng, 4, 5), np.array(1)], digits=False, upper=0)
    agree("Clip", [normal(rng, 3, 4), np.array(-0.5, np.float32), np.array(0.5, np.float32)], digits=False)
    agree("Pow", [np.abs(normal(rng, 3, 4)), np.array(1.7, np.float32)])
    agree("Mod", [normal(rng, 3, 4), np.array(0.3, np.float32)], digits=False, fmod=1)


def test_a_logarithm_of_a_softmax_that_is_zero() -> None:
    ours, theirs = both("LogSoftmax", [np.array([[0.0, -2000.0]], np.float32)])
    np.testing.assert_array_equal(ours[0], [[0.0, -2000.0]])
    np.testing.assert_array_equal(theirs[0], ours[0])
