"""gat: published sizes, work by a closed formula, and both frameworks' graphs against a dense adjacency in NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.data import batches_for, batches_for_graph
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.suite2026.gat import DEFINITION, GatConfig, build, gat_layers
from support.graphs.exports import FRAMEWORKS, exported


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("paper", 751_574),  # the number in the leaderboard of ogbn-products
        ("small", 1433 * 64 + 2 * 64 + 64 + 64 * 7 + 2 * 7 + 7),
    ],
)
def test_published_sizes(preset: str, count: int) -> None:
    assert sum(p.elements for p in workload("gat", preset).parameters) == count


def test_sampled_sizes() -> None:
    sizes = [(s.sources, s.targets, s.edges) for s in gat_layers(GatConfig())]
    assert sizes == [(371_712, 61_952, 371_712), (61_952, 5_632, 61_952), (5_632, 512, 5_632)]
    cora = list(gat_layers(workload("gat", "small").config))
    assert [(s.sources, s.targets, s.edges) for s in cora] == [(2708, 2708, 13_566)] * 2
    assert [(s.inputs, s.width) for s in cora] == [(1433, 64), (64, 7)]


@pytest.mark.parametrize(("field", "value"), [("fanouts", "4"), ("hidden", "4,4"), ("hidden_dropout", "1")])
def test_sizes_that_do_not_fit_are_refused(field: str, value: str) -> None:
    with pytest.raises(UsageError, match="cannot have this configuration"):
        workload("gat", "tiny", {field: value})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_macs_by_a_closed_formula(framework: str) -> None:
    config = workload("gat", "tiny").config
    costs = graph_costs(from_model(exported("gat", framework, "inference"), "gat"))
    # the projection of every source, and the layer around; attention and sums over edges have no product
    expected = sum(
        s.sources * s.inputs * s.heads * s.outputs + s.targets * s.inputs * s.width for s in gat_layers(config)
    )
    assert sum(cost.macs or 0 for cost in costs) == expected


def dense_network(config: GatConfig, v: dict[str, np.ndarray], training: bool) -> np.ndarray:
    """The logits in float64, every layer by its matrix of edges, one head at a time."""
    x = v["features"].astype(float)
    for s in gat_layers(config):
        name = s.name
        sources, targets = (v[edges] for edges in s.lists)
        if training and s.dropout:
            x = np.where(v[f"{name}.dropout.noise"] >= s.dropout, x / (1 - s.dropout), 0)
        adjacent = np.zeros((s.targets, s.sources))
        dropped = np.ones((s.targets, s.sources, s.heads))
        for edge, (j, i) in enumerate(zip(sources, targets, strict=True)):
            if i < s.targets:
                adjacent[i, j] += 1
                if training and config.attention_dropout:
                    rate = config.attention_dropout
                    dropped[i, j] = (v[f"{name}.attention_dropout.noise"][edge] >= rate) / (1 - rate)
        assert adjacent.max() == 1
        made = []
        for head in range(s.heads):
            rows = slice(head * s.outputs, (head + 1) * s.outputs)
            z = x @ v[f"{name}.linear.weight"][rows].astype(float).T
            of_source, of_target = (
                z @ v[f"{name}.attention.{end}"][head].astype(float) for end in ("source", "target")
            )
            e = of_target[: s.targets, np.newaxis] + of_source
            e = np.where(e > 0, e, 0.2 * e)
            weights = adjacent * np.exp(e)
            weights = weights / weights.sum(1, keepdims=True) * dropped[..., head]
            made.append(weights @ z)
        y = sum(made) / s.heads if s.last else np.concatenate(made, 1)
        y = y + v[f"{name}.gathering.bias"]
        if config.skips:
            y = y + x[: s.targets] @ v[f"{name}.skip.weight"].astype(float).T + v[f"{name}.skip.bias"]
        x = y if s.last else np.where(y > 0, y, np.exp(np.minimum(y, 0)) - 1)
    return np.asarray(x)


CORA_LIKE = {
    "batch": 30, "fanouts": (), "edges": 80, "skips": 0, "input_dropout": 0.5, "hidden": (4,), "heads": (3, 1),
}  # fmt: skip


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("whole", [False, True])
def test_both_modes_are_those_of_a_dense_adjacency_in_double(framework: str, whole: bool) -> None:
    spec = build("tiny", replace(DEFINITION.presets["tiny"], **(CORA_LIKE if whole else {})))
    rng = np.random.default_rng(0)
    values = {p.name: (p.initial_value(0) + rng.normal(0, 0.3, p.shape)).astype("float32") for p in spec.parameters}
    values |= {s.name: s.initial_value(0) for s in spec.optimizer.variables(spec.parameters)}
    values |= next(batches_for(spec, "training", 0, noise="input"))
    graphs = {
        mode: from_model(find_exporter(framework).export(ExportRequest(spec, mode, "input")), "gat")
        for mode in ("inference", "training")
    }
    names = [s.name for s in spec.interface("inference").inputs]
    made = Evaluator(graphs["inference"]).step({n: values[n] for n in names})
    np.testing.assert_allclose(made.outputs["logits"], dense_network(spec.config, values, False), rtol=2e-5, atol=2e-6)

    def loss(v: dict[str, np.ndarray]) -> float:
        logits, labels = dense_network(spec.config, v, True), v["labels"]
        kept = labels.sum(1) > 0
        log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        squares = sum((v[p.name].astype(float) ** 2).sum() for p in spec.parameters if not p.name.endswith("bias"))
        return -(log * labels)[kept].sum() / kept.sum() + spec.config.decay / 2 * squares

    step = Evaluator(graphs["training"]).step(values)
    assert step.outputs["loss"] == pytest.approx(loss(values), rel=1e-5)
    for p in spec.parameters:  # a directional derivative of each parameter by central differences
        direction = rng.normal(size=p.shape)
        near = [loss({**values, p.name: values[p.name].astype(float) + h * direction}) for h in (1e-6, -1e-6)]
        expected = (near[0] - near[1]) / 2e-6
        assert (step.gradients[p.name] * direction).sum() == pytest.approx(expected, rel=2e-3, abs=2e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_on_citations_lowers_the_loss(framework: str) -> None:
    graph = from_model(exported("gat", framework, "training"), "gat")
    losses = train(graph, batches_for_graph(graph, 0), 200, SessionSettings(threads=1)).losses
    assert np.mean(losses[-40:]) < 0.75 * np.mean(losses[:20])
