"""Gradients of convolutions and pools with one, two or three sides, in groups, against PyTorch's own in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering.gradients import convolution
from fathom_exporters.lowering.lower import LowerGradients
from fathom_exporters.lowering.rules import RULES
from support.graphs.lowering import close, lowered, private_model, run

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def a_number(rank: int, low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(low, high)] * rank)


@st.composite
def settings_of_a_convolution(draw) -> dict[str, Any]:
    """Windows with other numbers at each side, other padding at each end, and any groups."""
    rank = draw(st.integers(1, 3))
    kernel, dilation = draw(a_number(rank, 1, 4 if rank < 3 else 3)), draw(a_number(rank, 1, 3 if rank < 3 else 2))
    starts, ends = draw(a_number(rank, 0, 3)), draw(a_number(rank, 0, 3))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    extra = draw(a_number(rank, 0, 4))
    size = [max(r - p - q, 1) + e for r, p, q, e in zip(reach, starts, ends, extra, strict=True)]
    group = draw(st.integers(1, 3))
    return {
        "size": size,
        "group": group,
        "channels": group * draw(st.sampled_from((1, 2, 16))),
        "filters": group * draw(st.integers(1, 2)),
        "window": {
            "kernel_shape": list(kernel),
            "strides": list(draw(a_number(rank, 1, 3))),
            "pads": [*starts, *ends],
            "dilations": list(dilation),
        },
    }


def reference(chosen: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Output, its gradient, input, filter and their gradients, by PyTorch in float64."""
    rng = np.random.default_rng(0)
    window, rank = chosen["window"], len(chosen["size"])
    x = torch.tensor(rng.normal(size=(2, chosen["channels"], *chosen["size"])), requires_grad=True)
    shape = (chosen["filters"], chosen["channels"] // chosen["group"], *window["kernel_shape"])
    w = torch.tensor(rng.normal(size=shape), requires_grad=True)
    around = [n for side in reversed(range(rank)) for n in (window["pads"][side], window["pads"][side + rank])]
    y = CONV[rank](F.pad(x, around), w, None, window["strides"], 0, window["dilations"], chosen["group"])
    dy = torch.tensor(rng.normal(size=y.shape))
    return y, dy, x, w, *torch.autograd.grad(y, (x, w), dy)


@settings(max_examples=60)
@given(chosen=settings_of_a_convolution(), form=st.sampled_from(sorted(RULES)))
def test_convolution_gradients_of_any_sides_and_groups(chosen, form) -> None:
    _, dy, x, w, dx, dw = reference(chosen)
    window = {**chosen["window"], "group": chosen["group"]}
    values = {"dy": dy.numpy(), "x": x.detach().numpy(), "w": w.detach().numpy()}
    close(
        lowered("Conv2DBackFilter", {k: values[k] for k in ("dy", "x")}, [tuple(w.shape)], form, **window)[0], dw, 5e-6
    )
    inputs = {k: values[k] for k in ("dy", "w")}
    model = private_model("Conv2DBackInput", inputs, [tuple(x.shape)], **window, input_shape=list(x.shape))
    LowerGradients(form)(model)
    close(run(model, inputs)[0], dx, 5e-6)
    if form == "simulators":
        assert "ConvTranspose" not in [node.op_type for node in model.graph]


def test_a_filter_gradient_of_shifted_windows_is_found(monkeypatch) -> None:
    """What the property test must be able to find."""
    chosen = {"size": [9], "group": 2, "channels": 4, "filters": 2}
    chosen["window"] = {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "dilations": [1]}
    right = convolution._by_convolution

    def wrong(b, node, dy, x):
        result = right(b, node, dy, x)
        (made,) = [n for n in b.nodes if n.op_type == "Conv"]
        made.attributes["pads"] = ir.AttrInt64s("pads", [0, 2])
        return result

    monkeypatch.setattr(convolution, "_by_convolution", wrong)
    _, dy, x, w, _, dw = reference(chosen)
    inputs = {"dy": dy.numpy(), "x": x.detach().numpy()}
    got = lowered("Conv2DBackFilter", inputs, [tuple(w.shape)], **chosen["window"], group=2)[0]
    with pytest.raises(AssertionError):
        close(got, dw, 5e-6)


@pytest.mark.parametrize("form", RULES)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "size"),
    [
        ((3,), (2,), (1,), (1,), (8,)),
        ((2,), (3,), (0,), (2,), (11,)),
        ((3, 2), (2, 1), (1, 0), (1, 2), (7, 8)),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), (5, 6, 7)),
        ((1, 2, 3), (1, 2, 1), (0, 1, 1), (1, 1, 2), (3, 5, 6)),
    ],
)
def test_max_pool_gradient_of_any_sides(form, kernel, stride, padding, dilation, size) -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.integers(0, 3, (2, 2, *size)).astype(np.float64), requires_grad=True)  # with ties
    y = POOL[len(size)](x, kernel, stride, padding, dilation)
    dy = torch.tensor(rng.normal(size=y.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    window = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding], "dilations": dilation}
    inputs = {"dy": dy.numpy(), "x": x.detach().numpy()}
    close(lowered("MaxPoolGrad", inputs, [tuple(x.shape)], form, **{k: list(v) for k, v in window.items()})[0], dx)


@pytest.mark.parametrize("group", [1, 4])
def test_the_filter_gradient_multiplies_what_its_definition_does(group) -> None:
    chosen = {"size": [5, 6, 7], "group": group, "channels": 4, "filters": 8}
    chosen["window"] = {"kernel_shape": [3] * 3, "strides": [2] * 3, "pads": [1] * 6, "dilations": [1] * 3}
    y, dy, x, w, _, _ = reference(chosen)
    inputs = {"dy": dy.numpy(), "x": x.detach().numpy()}
    model = private_model("Conv2DBackFilter", inputs, [tuple(w.shape)], **chosen["window"], group=group)
    LowerGradients("simulators")(model)
    (made,) = [node for node in model.graph if node.op_type == "Conv"]
    macs = math.prod(w.shape) * dy.shape[0] * math.prod(dy.shape[2:])
    filters = [*dy.shape[:1], *dy.shape[2:]]
    assert macs == math.prod(w.shape) * math.prod(filters) == y.numel() * (4 // group) * 27
    assert made.attributes["group"].as_int() == group
