"""deepq: sizes, the frozen network, and both frameworks' graphs against a step written out with torch.nn.functional."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fathom_onnx.data import batches_for, batches_for_graph
from fathom_onnx.errors import GraphError, UsageError
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.training.loop import open_training, train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import RMSProp
from support.graphs.exports import FRAMEWORKS

LAYERS = ("conv1", "relu1", "conv2", "relu2", "conv3", "relu3", "flatten", "fc1", "relu4", "fc2")


def test_published_sizes() -> None:
    of_workload = workload("deepq")
    assert {p.name: p.shape for p in of_workload.parameters} == {
        "conv1.weight": (32, 4, 8, 8),
        "conv1.bias": (32,),
        "conv2.weight": (64, 32, 4, 4),
        "conv2.bias": (64,),
        "conv3.weight": (64, 64, 3, 3),
        "conv3.bias": (64,),
        "fc1.weight": (512, 64 * 7 * 7),
        "fc1.bias": (512,),
        "fc2.weight": (4, 512),
        "fc2.bias": (4,),
    }
    assert sum(p.elements for p in of_workload.parameters) == 1_686_180
    assert of_workload.optimizer == RMSProp(2.5e-4, 0.95, 0.01)
    shapes = {spec.name: spec.shape for spec in of_workload.batch_inputs("training")}
    frames = (32, 4, 84, 84)
    scalars = {"rewards": (32,), "terminals": (32,)}
    assert shapes == {"states": frames, "next_states": frames, "actions": (32, 4), **scalars}
    assert tuple(layer.name for layer in of_workload.layers) == (*LAYERS, *(f"target.{n}" for n in LAYERS), "bootstrap")


def test_the_target_network_is_frozen_and_starts_as_the_online_one() -> None:
    spec = workload("deepq", "tiny")
    assert [v.name for v in spec.frozen] == [f"target.{p.name}" for p in spec.parameters]
    start = spec.initial_values("training", 5)
    for parameter in spec.parameters:
        np.testing.assert_array_equal(start[f"target.{parameter.name}"], start[parameter.name])
    interface = spec.interface("training")
    assert not [t.name for t in interface.outputs if t.name.startswith("target.")]
    assert not [source for _, source in interface.state if source.startswith("target.")]
    assert not [t.name for t in spec.interface("inference").inputs if t.name.startswith("target.")]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image", "35", "image side 35 leaves nothing after convolution 3"),
        ("image", "7", "image side 7 leaves nothing after convolution 1"),
        ("filters", "4,8", "filters has 2 values, not 3"),
    ],
)
def test_impossible_configurations(field: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        workload("deepq", "tiny", {field: value})


def q_network(values: dict[str, torch.Tensor], prefix: str, x: torch.Tensor) -> torch.Tensor:
    for index, stride in ((1, 4), (2, 2), (3, 1)):
        x = F.relu(F.conv2d(x, values[f"{prefix}conv{index}.weight"], values[f"{prefix}conv{index}.bias"], stride))
    x = F.relu(F.linear(x.reshape(len(x), -1), values[f"{prefix}fc1.weight"], values[f"{prefix}fc1.bias"]))
    return F.linear(x, values[f"{prefix}fc2.weight"], values[f"{prefix}fc2.bias"])


def starting_point(seed: int = 0) -> dict[str, np.ndarray]:
    """All inputs of a step in which the target network is another than the online one and errors are over 1 too."""
    spec = workload("deepq", "tiny")
    rng = np.random.default_rng(seed)
    values = spec.initial_values("training", seed)
    for variable in (*spec.frozen, *spec.optimizer.variables(spec.parameters)):
        drawn = rng.normal(0, 0.2, variable.shape).astype("float32")
        values[variable.name] = values[variable.name] + (abs(drawn) if "rmsprop" in variable.name else drawn)
    batch = {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in spec.batch_inputs("training")}
    batch["rewards"] = np.array([3.0, -4.0, 0.5, 0.0], "float32")
    batch["terminals"] = np.array([0.0, 0.0, 1.0, 0.0], "float32")
    return {**values, **batch}


def step_by_hand(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One step in float64: forward, Huber, autograd, RMSProp with epsilon inside the root."""
    names = [p.name for p in workload("deepq", "tiny").parameters]
    v = {name: torch.tensor(value, dtype=torch.float64, requires_grad=name in names) for name, value in given.items()}
    best = q_network(v, "target.", v["next_states"]).max(1).values
    y = torch.where(v["terminals"] == 1, v["rewards"], v["rewards"] + 0.99 * best)
    q = q_network(v, "", v["states"])[torch.arange(4), v["actions"].argmax(1)]
    loss = F.smooth_l1_loss(q, y.detach())
    new = {"loss": loss.detach().numpy()}
    for name, gradient in zip(names, torch.autograd.grad(loss, [v[n] for n in names]), strict=True):
        g = gradient.numpy()
        mean_square = 0.95 * given[f"{name}.rmsprop_v"].astype(float) + 0.05 * g**2
        new[f"{name}.rmsprop_v.next"] = mean_square
        new[f"{name}.next"] = given[name] - 2.5e-4 * g / np.sqrt(mean_square + 0.01)
    return new


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_step_is_the_papers(tiny, framework) -> None:
    given = starting_point()
    got = Evaluator(tiny("deepq", framework, "training")).step(given).outputs
    expected = step_by_hand(given)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-6 * max(np.abs(value).max(), 1e-3))
    moved = {p.name for p in workload("deepq", "tiny").parameters if (got[f"{p.name}.next"] != given[p.name]).any()}
    assert moved == {p.name for p in workload("deepq", "tiny").parameters}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_negative_q_values_are_not_clamped(tiny, framework) -> None:
    given = starting_point(3)
    expected = q_network(
        {n: torch.tensor(a, dtype=torch.float64) for n, a in given.items()}, "", torch.tensor(given["states"]).double()
    )
    got = Evaluator(tiny("deepq", framework, "inference")).step(given).outputs["q_values"]
    assert (got < 0).any()
    assert (got > 0).any()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_after_the_end_of_an_episode_only_the_reward_counts(tiny, framework) -> None:
    evaluator = Evaluator(tiny("deepq", framework, "training"))
    given = starting_point()
    others = {**given, "next_states": given["next_states"][::-1].copy()}
    ended = np.ones(4, "float32")
    losses = [
        evaluator.step({**v, "terminals": t}).outputs["loss"] for t in (ended, 0 * ended) for v in (given, others)
    ]
    assert losses[0] == losses[1]
    assert losses[2] != losses[3]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_flows_back_into_the_target(tiny, framework) -> None:
    graph = tiny("deepq", framework, "training")
    places = {(a.phase, a.scope) for a in graph.addresses.values()}
    assert {scope for phase, scope in places if phase == "forward"} == {
        x.name for x in workload("deepq", "tiny").layers
    }
    assert {scope for phase, scope in places if phase == "backward"} == {*LAYERS, "loss"}
    forward = Counter(node.op_type for node in graph.model.graph.node if node.name.startswith("forward/"))
    # biases are the convolutions' own, and nothing is moved but into rows
    network = {"Conv": 6, "Relu": 8, "Reshape": 2, "Gemm": 4}
    assert forward == {**network, "ReduceMax": 1, "Sub": 1, "Mul": 2, "Add": 1}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_frozen_variables_are_constants_of_a_session(tiny, framework) -> None:
    graph = tiny("deepq", framework, "training")
    spec = workload("deepq", "tiny")
    assert isinstance(graph.metadata, GraphMetadata)
    assert graph.metadata.variables == spec.variables("training")
    assert [t.name for t in graph.batch_inputs] == [s.name for s in spec.batch_inputs("training")]
    values = variable_values(graph, 0)
    prepared = prepare(graph, values)
    frozen = {v.name for v in spec.frozen}
    assert frozen <= {t.name for t in prepared.model.graph.initializer}
    assert not frozen & {i.name for i in prepared.model.graph.input}
    assert not frozen & prepared.initial.keys()
    with pytest.raises(GraphError, match=r"variable 'target.fc2.bias' \(4,\) has no value"):
        prepare(graph, {name: value for name, value in values.items() if name != "target.fc2.bias"})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_on_the_game_lowers_the_loss(tiny, framework) -> None:
    graph = tiny("deepq", framework, "training")
    losses = train(graph, batches_for_graph(graph, 0, "breakout"), 200, SessionSettings(threads=1)).losses
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


def test_another_target_network_is_given_as_values(tiny) -> None:
    graph = tiny("deepq", "torch", "training")
    spec = workload("deepq", "tiny")
    batch = next(batches_for(spec, "training", 0, "breakout"))
    given = starting_point()
    losses = []
    for values in ({}, {v.name: given[v.name] for v in spec.frozen}):
        stepper = open_training(graph, SessionSettings(threads=1), 0, values)
        stepper.step(batch)
        by_hand = step_by_hand({**spec.initial_values("training", 0), **values, **batch})
        losses.append(float(stepper.results()["loss"]))
        assert losses[-1] == pytest.approx(float(by_hand["loss"]), rel=1e-4)
    assert losses[0] != losses[1]


def test_show_lists_what_is_frozen() -> None:
    from click.testing import CliRunner

    from fathom_onnx.cli import main

    shown = CliRunner().invoke(main, ["show", "deepq", "--preset", "tiny"]).output
    row = next(line for line in shown.splitlines() if line.startswith("target.fc2.weight"))
    assert row.split() == ["target.fc2.weight", "[4,", "16]", "fc2.weight"]
    actual = json.loads(CliRunner().invoke(main, ["show", "deepq", "--preset", "tiny", "--json"]).output)
    assert actual["frozen"][-1] == {"name": "target.fc2.bias", "shape": [4], "starts_as": "fc2.bias"}


def test_huber_in_tensorflow_by_hand() -> None:
    tf = pytest.importorskip("tensorflow")
    from fathom_exporters.tensorflow.layers import huber

    values = tf.constant([0.0, 0.5, -2.0, 7.0], tf.float64)
    targets = tf.constant([0.0, 1.0, 1.0, 4.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = huber(values, targets, 2.0)
    # errors 0, -0.5, -3, 3: 0, 0.125 and twice 2 * (3 - 1)
    assert float(loss) == pytest.approx((0 + 0.125 + 4 + 4) / 4)
    np.testing.assert_allclose(tape.gradient(loss, values), np.array([0, -0.5, -2, 2]) / 4)


def test_huber_in_jax_by_hand() -> None:
    jax = pytest.importorskip("jax")
    from fathom_exporters.jax.models.suite2016.deepq import huber

    with jax.enable_x64(True):
        values, targets = (jax.numpy.asarray(x) for x in ([0.0, 0.5, -2.0, 7.0], [0.0, 1.0, 1.0, 4.0]))
        loss, gradient = jax.value_and_grad(huber)(values, targets, 2.0)
    assert float(loss) == pytest.approx((0 + 0.125 + 4 + 4) / 4)
    np.testing.assert_allclose(gradient, np.array([0, -0.5, -2, 2]) / 4)
