"""Forms of pointwise ops, pools and local response normalisation for onnxruntime, against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.cleanup import clean_up
from fathom_exporters.lowering.fast.standard import WriteStandardOps
from fathom_exporters.lowering.infer import InferShapes
from fathom_exporters.lowering.lower import LowerGradients
from support.graphs.lowering import FLOAT, close, lowered, private_model, run, value

EDGES = np.array([0, -0.0, 1e-30, -1e-30, 18.5, -18.5, 88, -88, 1000, -1000, 1, -1, 0.5])


def test_softplus_of_all_sizes() -> None:
    x = np.concatenate([EDGES, np.random.default_rng(0).normal(size=500) * 8])
    source, result = value("x", x), value("y", x)
    node = ir.node("Softplus", [source], outputs=[result])
    Tag("forward", "layer", "Softplus", "one").put(node)
    model = ir.Model(ir.Graph([source], [result], nodes=[node], opset_imports={"": 18}, name="g"), ir_version=10)
    assert WriteStandardOps()(model).modified
    (got,) = run(model, {"x": x})
    expected = F.softplus(torch.tensor(x.astype(np.float32)).double())
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=1.5e-7)
    assert (got >= 0).all()


@pytest.mark.parametrize("exponent", [0.25, 0.5, 0.75, -0.25, -0.5, -0.75, 1.5, 2.0])
def test_powers_are_roots(exponent: float) -> None:
    x = np.abs(np.random.default_rng(0).normal(size=500)).astype(np.float32)
    source, result = value("x", x), value("y", x)
    number = ir.Value(name="c", const_value=ir.tensor(np.float32(exponent)), type=FLOAT, shape=ir.Shape([]))
    node = ir.node("Pow", [source, number], outputs=[result])
    Tag("forward", "layer", "Pow", "one").put(node)
    graph = ir.Graph([source], [result], nodes=[node], initializers=[number], opset_imports={"": 18}, name="g")
    model = ir.Model(graph, ir_version=10)
    assert WriteStandardOps()(model).modified is (abs(exponent) < 1)
    np.testing.assert_allclose(run(model, {"x": x})[0], x.astype(np.float64) ** exponent, rtol=4e-7)


def test_relu_and_clip_gradients_are_exact() -> None:
    y = np.array([0, 1e-30, 3e-38, 0.5, 7, np.inf, 0], np.float32)
    dy = np.array([1, 2, 3, -4, 5, 6, -7], np.float32)
    (got,) = lowered("ReluGrad", {"dy": dy, "y": y}, [y.shape], "onnxruntime")
    assert got.tolist() == [0, 2, 3, -4, 5, 6, 0]
    x = np.array([-1, 0, np.nextafter(0, 1, dtype="f"), 0.5, np.nextafter(20, 0, dtype="f"), 20, 21], np.float32)
    x[2] = 1e-30
    (got,) = lowered("ClipGrad", {"dy": dy, "x": x}, [x.shape], "onnxruntime", min=0.0, max=20.0)
    assert got.tolist() == [0, 0, 3, -4, 5, 0, 0]


def test_pools_side_by_side_need_no_indices() -> None:
    arrays = {"dy": np.ones((2, 3, 4, 3)), "x": np.ones((2, 3, 8, 6))}
    window = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, "dilations": [1, 1]}
    model = private_model("MaxPoolGrad", arrays, [(2, 3, 8, 6)], **window)
    LowerGradients("onnxruntime")(model)
    assert "ScatterElements" not in [node.op_type for node in model.graph]
    (got,) = run(model, arrays)  # all are equal: the first of each window has it
    assert got.sum() == arrays["dy"].sum()
    assert (got[:, :, ::2, ::2] == 1).all()


@pytest.mark.parametrize(("beta", "rooted"), [(0.75, True), (0.5, True), (0.6, False)])
def test_local_response_normalisation_and_its_gradient(beta: float, rooted: bool) -> None:
    rng = np.random.default_rng(0)
    attributes = {"size": 5, "alpha": 0.3, "beta": beta, "bias": 1.5}
    x = torch.tensor(rng.normal(size=(2, 9, 4, 3)), requires_grad=True)
    y = F.local_response_norm(x, 5, 0.3, beta, 1.5)
    dy = torch.tensor(rng.normal(size=x.shape))
    (dx,) = torch.autograd.grad(y, x, dy)
    inputs = {"x": x.detach().numpy(), "dy": dy.numpy()}
    given = {name: value(name, array) for name, array in inputs.items()}
    forward = ir.node("LRN", [given["x"]], attributes)
    gradient = ir.node("LRNGrad", [given["dy"], given["x"], forward.outputs[0]], attributes, domain=DOMAIN)
    for node, name in ((forward, "y"), (gradient, "dx")):
        Tag("forward" if node is forward else "backward", "layer", node.op_type, name).put(node)
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = name, FLOAT, ir.Shape(x.shape)
    graph = ir.Graph(
        list(given.values()),
        [forward.outputs[0], gradient.outputs[0]],
        nodes=[forward, gradient],
        opset_imports={"": 18, DOMAIN: VERSION},
        name="g",
    )
    model = ir.Model(graph, ir_version=10)
    for step in (WriteStandardOps(), LowerGradients("onnxruntime"), InferShapes(), clean_up):
        step(model)
    kinds = [node.op_type for node in model.graph]
    assert ("LRN" not in kinds) is rooted
    assert kinds.count("Sqrt") == (0 if not rooted else 2 if beta == 0.75 else 1)  # shared by both
    assert kinds.count("Pow") == (not rooted)
    for found, expected in zip(run(model, inputs), (y.detach(), dx), strict=True):
        close(found, expected, 1e-6)
