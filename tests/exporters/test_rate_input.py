"""The learning rate as an input of a training step, against optimizers and schedules of the frameworks in float64."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import optax
import pytest
import torch
from torch.optim import lr_scheduler as S

from fathom_onnx import export_step
from fathom_onnx.data import batches_for, workload_of
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import ExportRequest, export_graph, find_exporter
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.training import Rates, read_schedule
from fathom_onnx.verification import verify
from fathom_onnx.verification.double import DoubleGraph
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import RATE

pytestmark = pytest.mark.slow

STEPS = 5
TEXT = "warmup:2,cosine:4:0.1"

CASES = [
    *(("autoenc", framework) for framework in ("torch", "tensorflow", "jax")),
    *(("deepq", framework) for framework in ("torch", "tensorflow", "jax")),
    *(("dlrm", framework) for framework in ("torch", "tensorflow")),
    *(("vit", framework) for framework in ("torch", "tensorflow")),
]
"""Adam, RMSProp, plain descent and AdamW; the rules alone are in ``test_optimizers.py`` for all frameworks."""


def stepped(graph: Graph, feeds: list[dict[str, Any]], schedule: Any) -> list[dict[str, np.ndarray]]:
    """The new state after each step of a graph in float64, the rates by a schedule."""
    state = {name: np.asarray(value) for name, value in variable_values(graph, 0).items()}
    pairs = graph.metadata.state
    double = DoubleGraph(graph.model, [output for output, _ in pairs])
    start = {v.name: float(state[v.name]) for v in graph.metadata.variables if v.name in Rates(graph, schedule).names}
    first = next(iter(start.values()))
    found = []
    for taken, feed in enumerate(feeds):
        rate = schedule.rate(taken, 1.0)
        made = double.run({**feed, **state, **{name: np.float64(rate * own) for name, own in start.items()}})
        state = {**state, **{name: made[output] for output, name in pairs}}
        found.append(state)
    assert first > 0
    return found


@pytest.mark.parametrize(("name", "framework"), CASES)
def test_a_step_is_that_of_the_framework_with_the_rate_as_its_constant(name: str, framework: str) -> None:
    spec = replace(workload(name, "tiny"), rate_input=True)
    graph = export_graph(framework, ExportRequest(spec, "training", "input"))
    assert graph.inputs[-1].name == RATE
    assert workload_of(graph) == spec
    feeds = []
    rng = np.random.default_rng(1)
    for batch, _ in zip(batches_for(spec, "training", 0), range(2), strict=False):
        noise = {n.name: n.spec.draw.sample(n.shape, "float32", rng) for n in spec.noise.get("training", ())}
        feeds.append({**batch, **noise})
    schedule = read_schedule(TEXT, STEPS)
    states = [variable_values(graph, 0), *stepped(graph, feeds, schedule)]
    for taken, feed in enumerate(feeds):
        rate = schedule.rate(taken, spec.optimizer.learning_rate)
        constant = workload(name, "tiny", {RATE: rate})
        expected = find_exporter(framework).reference(constant, "training", "float64").step({**feed, **states[taken]})
        for variable in spec.carried("training"):
            before, after = states[taken][variable.name], states[taken + 1][variable.name]
            change = expected.outputs[variable.next.name] - before
            np.testing.assert_allclose(after - before, change, rtol=1e-5, atol=1e-9)


def test_such_a_graph_is_verified_like_any_other() -> None:
    check = verify(replace(workload("autoenc", "tiny"), rate_input=True), "torch", "training", steps=2)
    assert check.passed, check.faults


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def squared(outputs: torch.Tensor, batch: Any) -> torch.Tensor:
    return ((outputs - batch[1]) ** 2).mean()


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: torch.optim.Adam(p, 0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.01),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "Adamax": lambda p: torch.optim.Adamax(p, 0.01),
}


def torch_schedule(optimizer: torch.optim.Optimizer, text: str) -> Any:
    """The schedule of PyTorch that a text stands for."""
    return {
        "cosine:6": lambda: S.CosineAnnealingLR(optimizer, 6),
        "linear:4:0.25": lambda: S.LinearLR(optimizer, 1.0, 0.25, total_iters=4),
        "exponential:0.7": lambda: S.ExponentialLR(optimizer, 0.7),
        "step:2:0.5": lambda: S.StepLR(optimizer, 2, 0.5),
        TEXT: lambda: S.SequentialLR(
            optimizer, [S.LinearLR(optimizer, 1 / 2, 1.0, total_iters=1), S.LambdaLR(optimizer, decayed)], [2]
        ),
    }[text]()


def decayed(taken: int) -> float:
    return 0.1 + 0.9 * (1 + np.cos(np.pi * min(taken / 4, 1))) / 2


def natively(model: Any, optimizer: Any, batch: Any, schedule: Any) -> tuple[list[dict[str, np.ndarray]], list[float]]:
    """The parameters after each step of a user's own loop, and the rate of each step."""
    found, rates = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        squared(model(batch[0]), batch).backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        found.append({n: p.detach().numpy().copy() for n, p in model.named_parameters()})
    return found, rates


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kind, TEXT) for kind in OPTIMIZERS),
        *(("Adam", t) for t in ("cosine:6", "linear:4:0.25", "exponential:0.7", "step:2:0.5")),
    ],
)
def test_a_recipe_follows_a_schedule_as_the_loop_of_its_user_does(kind: str, text: str) -> None:
    torch.manual_seed(0)
    model = Net().double()
    batch = (torch.randn(6, 4).double(), torch.randn(6, 3).double())
    optimizer = OPTIMIZERS[kind](model.parameters())
    graph = export_step(model, batch, squared, optimizer, rate_input=True)
    feed = {t.name: value.numpy() for t, value in zip(graph.batch_inputs, batch, strict=True)}
    states = stepped(graph, [feed] * STEPS, read_schedule(text, STEPS))
    with contextlib.suppress(AttributeError):
        assert isinstance(optimizer.param_groups[0]["lr"], float)  # what the user has is not changed
    expected, rates = natively(model, optimizer, batch, torch_schedule(optimizer, text))
    own = read_schedule(text, STEPS)
    assert [own.rate(taken, graph_rate(graph)) for taken in range(STEPS)] == pytest.approx(rates, rel=1e-7)
    for state, parameters in zip(states, expected, strict=True):
        for name, value in parameters.items():
            np.testing.assert_allclose(state[name], value, rtol=0, atol=1e-9)  # steps are of 1e-2


def graph_rate(graph: Graph) -> float:
    rates = Rates(graph, read_schedule("constant", 1))
    return float(rates.at(1)[rates.first])


def test_groups_keep_the_proportion_of_their_rates() -> None:
    torch.manual_seed(0)
    model = Net()
    groups = [{"params": model.first.parameters()}, {"params": model.second.parameters(), "lr": 0.5}]
    batch = (torch.randn(6, 4), torch.randn(6, 3))
    graph = export_step(model, batch, squared, torch.optim.SGD(groups, 0.1), rate_input=True)
    rates = Rates(graph, read_schedule("exponential:0.5", 3))
    assert rates.names == ("optimizer.lr", "optimizer.lr_2")
    assert [float(v) for v in rates.at(2).values()] == pytest.approx([0.05, 0.25])


@contextlib.contextmanager
def double_keras():
    """While entered, Keras makes everything in float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def keras_net() -> Any:
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])


KERAS_SCHEDULES = {
    "cosine:4:0.1": lambda rate: keras.optimizers.schedules.CosineDecay(rate, 4, 0.1),
    "linear:3:0.25": lambda rate: keras.optimizers.schedules.PolynomialDecay(rate, 3, rate * 0.25, power=1.0),
    "exponential:0.7": lambda rate: keras.optimizers.schedules.ExponentialDecay(rate, 1, 0.7),
    "step:2:0.5": lambda rate: keras.optimizers.schedules.ExponentialDecay(rate, 2, 0.5, staircase=True),
}


@pytest.mark.parametrize("text", KERAS_SCHEDULES)
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_a_keras_recipe_follows_a_schedule_as_keras_does(kind: str, text: str) -> None:
    keras.utils.set_random_seed(1)
    model = keras_net()
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 3)).astype("float32"))
    make = getattr(keras.optimizers, kind)
    loss = keras.losses.MeanSquaredError()
    graph = export_step(model, batch, loss, make(0.01), rate_input=True)
    feed = {t.name: value for t, value in zip(graph.batch_inputs, batch, strict=True)}
    states = stepped(graph, [feed] * STEPS, read_schedule(text, STEPS))
    names = list(graph.metadata.parameters)
    weights = model.get_weights()
    with double_keras():
        other = keras_net()
        other.set_weights(weights)
        other.compile(make(KERAS_SCHEDULES[text](float(np.float32(0.01)))), keras.losses.MeanSquaredError())
        for state in states:
            other.train_on_batch(*batch)
            # the graph's 1 - 0.999 is a float32 that is off by 5e-5, of which a step of 1e-2 has the root
            for name, variable in zip(names, other.trainable_variables, strict=True):
                np.testing.assert_allclose(state[name], np.array(variable), rtol=0, atol=5e-7)


def test_a_keras_optimizer_with_a_schedule_of_its_own_has_no_such_input() -> None:
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 3)).astype("float32"))
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))
    with pytest.raises(UsageError, match="given by a schedule of the optimizer's own"):
        export_step(keras_net(), batch, keras.losses.MeanSquaredError(), optimizer, rate_input=True)


def test_schedules_of_optax_can_be_given_as_they_are() -> None:
    schedule = optax.cosine_decay_schedule(0.01, 4, 0.1)
    own = read_schedule("cosine:4:0.1", STEPS)
    assert [float(schedule(n)) for n in range(6)] == pytest.approx([own.rate(n, 0.01) for n in range(6)], rel=1e-6)
