"""dlrm: published sizes, work by a closed formula, and both frameworks' graphs against embedding bags in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.data import batches_for_graph
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training.loop import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import GradientDescent
from fathom_onnx.workloads.suite2026.dlrm import DlrmConfig, pairs
from support.graphs.exports import FRAMEWORKS, exported


def test_published_sizes() -> None:
    spec = workload("dlrm")
    assert len(spec.config.rows) == 26
    assert sum(spec.config.rows) == 33_762_577
    bottom = 13 * 512 + 512 + 512 * 256 + 256 + 256 * 64 + 64 + 64 * 16 + 16
    top = (16 + 27 * 26 // 2) * 512 + 512 + 512 * 256 + 256 + 256 + 1
    assert sum(p.elements for p in spec.parameters) == 33_762_577 * 16 + bottom + top == 540_677_217
    assert spec.optimizer == GradientDescent(0.1)
    assert spec.batch_size == 128


def test_the_kept_products_are_those_below_the_diagonal() -> None:
    config = DlrmConfig(rows=(5, 5, 5))
    expected = np.flatnonzero(np.tril(np.ones((4, 4)), -1))
    assert pairs(config) == expected.tolist()


@pytest.mark.parametrize(("field", "value"), [("bottom", "8,5"), ("top", "8,2")])
def test_sizes_that_do_not_fit_are_refused(field: str, value: str) -> None:
    with pytest.raises(UsageError, match="perceptron ends with"):
        workload("dlrm", "tiny", {field: value})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_macs_by_a_closed_formula(framework: str) -> None:
    c = workload("dlrm", "tiny").config
    costs = graph_costs(from_model(exported("dlrm", framework, "inference"), "dlrm"))
    vectors = len(c.rows) + 1
    bottom = sum(a * b for a, b in itertools.pairwise((c.dense, *c.bottom)))
    top = sum(a * b for a, b in itertools.pairwise((c.embedding + len(pairs(c)), *c.top)))
    # a table is read and summed without a product; all pairs are multiplied, also those that are not kept
    expected = c.batch * (bottom + vectors * vectors * c.embedding + top)
    assert sum(cost.macs or 0 for cost in costs) == expected


def starting_point(seed: int = 0) -> dict[str, np.ndarray]:
    """All inputs of a step whose bags name rows more than once, within a bag and across bags."""
    spec = workload("dlrm", "tiny")
    rng = np.random.default_rng(seed)
    values = spec.initial_values("training", seed)
    values |= {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in spec.batch_inputs("training")}
    values["categories.0"][:4] = 7
    return values


def embedding_bags(v: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits, with pairs one by one."""
    c = workload("dlrm", "tiny").config
    x = v["dense"]
    for index in range(len(c.bottom)):
        x = F.relu(F.linear(x, v[f"bottom.{2 * index}.weight"], v[f"bottom.{2 * index}.bias"]))
    vectors = [x]
    for number, rows in enumerate(c.rows):
        bag = torch.nn.EmbeddingBag(rows, c.embedding, mode="sum", _weight=v[f"tables.{number}.weight"])
        flat = v[f"categories.{number}"].reshape(-1)
        offsets = torch.arange(0, len(flat), c.lookups)
        vectors.append(F.embedding_bag(flat, v[f"tables.{number}.weight"], offsets, mode=bag.mode))
    y = torch.cat([x, *((vectors[a] * vectors[b]).sum(1, True) for a in range(len(vectors)) for b in range(a))], 1)
    for index in range(len(c.top)):
        y = F.linear(y, v[f"top.{2 * index}.weight"], v[f"top.{2 * index}.bias"])
        y = F.relu(y) if index < len(c.top) - 1 else y
    return y


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_step_is_that_of_embedding_bags_in_double(framework: str) -> None:
    spec = workload("dlrm", "tiny")
    values = starting_point()
    made = Evaluator(from_model(exported("dlrm", framework, "training"), "dlrm")).step(values)
    v = {n: torch.tensor(a).double() if a.dtype == np.float32 else torch.tensor(a) for n, a in values.items()}
    for p in spec.parameters:
        v[p.name].requires_grad_(True)
    logit = embedding_bags(v)
    chance = torch.sigmoid(logit)
    loss = -(v["clicks"] * chance.log() + (1 - v["clicks"]) * (1 - chance).log()).mean()
    loss.backward()
    assert made.outputs["loss"] == pytest.approx(loss.item(), rel=1e-6)
    for p in spec.parameters:
        new = (v[p.name] - 0.1 * v[p.name].grad).detach().numpy()
        np.testing.assert_allclose(made.outputs[f"{p.name}.next"], new, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(made.gradients[p.name], v[p.name].grad.numpy(), rtol=1e-5, atol=1e-7)
    untouched = sorted(set(range(40)) - set(values["categories.0"].ravel()))
    old, new = values["tables.0.weight"], made.outputs["tables.0.weight.next"]
    np.testing.assert_array_equal(new[untouched], old[untouched])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_inference_is_the_sigmoid_of_the_logit(framework: str) -> None:
    spec = workload("dlrm", "tiny")
    values = starting_point(1)
    names = [s.name for s in spec.interface("inference").inputs]
    graph = from_model(exported("dlrm", framework, "inference"), "dlrm")
    made = Evaluator(graph).step({n: values[n] for n in names})
    v = {n: torch.tensor(a).double() if a.dtype == np.float32 else torch.tensor(a) for n, a in values.items()}
    expected = torch.sigmoid(embedding_bags(v)).numpy()
    np.testing.assert_allclose(made.outputs["probability"], expected, rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_on_clicks_lowers_the_loss(framework: str) -> None:
    graph = from_model(exported("dlrm", framework, "training"), "dlrm")
    losses = train(graph, batches_for_graph(graph, 0), 400, SessionSettings(threads=1)).losses
    # the mean over 2400 to 3200 clicks; chance gives 0.69
    assert np.mean(losses[-100:]) < 0.7 * np.mean(losses[:100])
