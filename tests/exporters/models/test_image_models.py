"""What vgg and alexnet have that the other models have not: drawn dropout and local response normalisation."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fathom_exporters.torch import models
from fathom_exporters.torch.layers import Dropout
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import Address, from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.verification import verify, verify_pair
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS, exported

RATE = 0.2
STRONG = {"lrn_size": 3, "lrn_alpha": 0.3, "lrn_beta": 0.6, "lrn_k": 0.5, "dropout": RATE}
"""A norm that changes what it is given, where the published alpha of 1e-4 hardly does, and an unequal dropout."""


@functools.cache
def strong(framework: str) -> onnx.ModelProto:
    """The training graph of a tiny alexnet with these settings, dropout drawn."""
    return find_exporter(framework).export(ExportRequest(workload("alexnet", "tiny", STRONG), "training"))


def starting_values(name: str, changes: dict | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    spec = workload(name, "tiny", changes)
    rng = np.random.default_rng(seed)
    drawn = {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in spec.interface("training", "input").inputs}
    return {**drawn, **spec.initial_values("training", seed)}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_drawn_masks_have_the_right_keep_rate_and_scale(framework) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(strong(framework))
    draws = [node for node in model.graph.node if node.op_type == "RandomUniform"]
    assert {Address.parse(node.name).scope for node in draws} == {"dropout6", "dropout7"}
    masks = []
    for node in draws:  # the draw, what is kept of it, that as a number, and scaled
        tensor = node.output[0]
        for kind in ("GreaterOrEqual", "Cast", "Mul"):
            (user,) = [n for n in model.graph.node if tensor in n.input]
            assert user.op_type == kind
            tensor = user.output[0]
        masks.append(tensor)
    expected = [*masks, *(node.output[0] for node in draws)]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in expected)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = starting_values("alexnet", STRONG)
    fed = {i.name: values[i.name] for i in session.get_inputs()}
    runs = [session.run(expected, fed) for _ in range(20)]
    for first, second, draw6, draw7 in runs:
        for mask, draw in ((first, draw6), (second, draw7)):
            assert draw.min() >= 0
            assert draw.max() < 1
            np.testing.assert_array_equal(mask, np.where(draw >= np.float32(RATE), np.float32(1 / (1 - RATE)), 0))
        assert (draw6 != draw7).any()  # of one shape, but two draws
    for index in range(2):
        masks = np.stack([run[index] for run in runs])
        assert (masks[0] != masks[1]).any()
        assert abs((masks > 0).mean() - (1 - RATE)) < 0.04  # five deviations of 2560 draws


@pytest.mark.parametrize("name", ["vgg", "alexnet"])
def test_the_same_noise_gives_the_same_step_in_both_frameworks(name) -> None:
    values = starting_values(name)
    graphs = [Evaluator(from_model(exported(name, f, "training", "input"), name)) for f in FRAMEWORKS]
    first, second = (graph.step(values).outputs for graph in graphs)
    assert first.keys() == second.keys()
    for key, value in first.items():
        if not key.endswith((".weight.next", ".bias.next")):  # Adam's first step makes a sign of a gradient near zero
            assert np.abs(value - second[key]).max() <= 1e-5 * np.abs(value).max(), key
    other = {**values, "dropout6.noise": values["dropout6.noise"][::-1].copy()}
    losses = [float(graph.step(other).outputs["loss"]) for graph in graphs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(float(first["loss"]), rel=1e-3)


def test_dropout_in_torch() -> None:
    layer = Dropout(0.25)
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    noise = torch.tensor([[0.0, 0.24, 0.25, 0.99]], dtype=torch.float64)
    torch.testing.assert_close(layer(x, noise), torch.tensor([[0.0, 0.0, 4.0, 16 / 3]], dtype=torch.float64))
    torch.manual_seed(0)
    drawn = layer(torch.ones(10_000), None)
    assert set(drawn.tolist()) == {0.0, float(np.float32(4 / 3))}
    assert abs((drawn > 0).float().mean() - 0.75) < 0.02
    layer.eval()
    assert layer(x, None) is x


def test_local_response_norm_in_torch_takes_alpha_for_the_sum() -> None:
    config = workload("alexnet", "tiny", STRONG)
    norm = models.make(config).get_submodule("norm1")
    x = np.random.default_rng(3).normal(size=(2, 5, 3, 4))
    want = np.empty_like(x)
    for i in range(5):
        total = (x[:, max(i - 1, 0) : i + 2] ** 2).sum(1)
        want[:, i] = x[:, i] / (0.5 + 0.3 * total) ** 0.6
    np.testing.assert_allclose(norm(torch.tensor(x)), want, rtol=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_strong_local_response_norm_is_right_forward_and_backward(framework) -> None:
    spec = workload("alexnet", "tiny", STRONG)
    assert verify(spec, framework, "training", steps=2).faults == ()


def test_a_strong_local_response_norm_is_the_same_in_both_frameworks() -> None:
    assert verify_pair(workload("alexnet", "tiny", STRONG), FRAMEWORKS, "training", steps=2).faults == ()


def test_each_framework_names_the_norm_by_its_own_operations() -> None:
    """TensorFlow has a kernel for it, PyTorch puts it together."""
    actual = {}
    for framework in FRAMEWORKS:
        addresses = (Address.parse(node.name) for node in strong(framework).graph.node)
        actual[framework] = {(a.phase, a.op) for a in addresses if a.scope == "norm1"}
    assert actual["tensorflow"] == {("forward", "LRN"), ("backward", "LRNGrad")}
    assert {("forward", "AvgPool"), ("forward", "Pow"), ("backward", "AvgPoolGrad")} <= actual["torch"]
    assert all(op not in ("LRN", "LRNGrad") for _, op in actual["torch"])
