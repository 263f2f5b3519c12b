"""ppo: sizes, work, and both frameworks' graphs against a step written out with loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.data import batches_for_graph
from fathom_onnx.data.games.pendulum import Pendulums
from fathom_onnx.data.games.rollouts import Policy, discounted_returns, record
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training.loop import open_training, train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Adam, Gradients
from support.graphs.exports import FRAMEWORKS


def test_published_sizes() -> None:
    spec = workload("ppo")
    hidden = 64 * 3 + 64 + 64 * 64 + 64
    # two networks with one output each, and the deviation
    assert sum(p.elements for p in spec.parameters) == 2 * (hidden + 64 + 1) + 1 == 8_963
    assert spec.optimizer == Adam(3e-4, 0.9, 0.999, 1e-5)
    assert spec.gradients == Gradients(clip_global_norm=0.5)
    shapes = {s.name: s.shape for s in spec.batch_inputs("training")}
    assert shapes["past_observations"] == (1, 2048, 3)
    assert shapes["places"] == (64,)
    assert [s.name for s in spec.batch_inputs("inference")] == ["observations"]
    c = spec.config
    assert (c.discount, c.gae, c.clip) == (0.99, 0.95, 0.2)


def test_a_minibatch_larger_than_the_segment_is_refused() -> None:
    with pytest.raises(UsageError, match="a minibatch of 25 of 24 recorded steps"):
        workload("ppo", "tiny", {"batch": "25"})
    assert workload("ppo", "tiny", {"batch": "24"}).config.batch == 24


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_macs_of_acting_are_those_of_two_networks(tiny, framework) -> None:
    # two actors' observations through 3-8-8-1, twice
    costs = graph_costs(tiny("ppo", framework, "inference"))
    assert sum(cost.macs or 0 for cost in costs) == 2 * 2 * (3 * 8 + 8 * 8 + 8)


def starting_point(seed: int = 0) -> dict[str, np.ndarray]:
    """All inputs of a step in which ratios leave the clipping range on both sides and gradients are over the norm."""
    spec = workload("ppo", "tiny")
    rng = np.random.default_rng(seed)
    values = spec.initial_values("training", seed)
    for p in spec.parameters:
        values[p.name] = (values[p.name] + rng.normal(0, 0.3, p.shape)).astype("float32")
    for slot in spec.optimizer.variables(spec.parameters):
        values[slot.name] = abs(rng.normal(0, 0.1, slot.shape)).astype("float32")
    values["adam.step"] = np.array(4, "float32")
    batch = {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in spec.batch_inputs("training")}
    batch["ends"] = (rng.random(batch["ends"].shape) < 0.2).astype("float32")
    old = batch["past_log_probabilities"]
    old[:] = rng.normal(-1.8, 0.6, old.shape)
    return {**values, **batch}


def network(v: dict[str, torch.Tensor], prefix: str, output: str, x: torch.Tensor) -> torch.Tensor:
    for number in (1, 2):
        x = torch.tanh(F.linear(x, v[f"{prefix}.hidden{number}.weight"], v[f"{prefix}.hidden{number}.bias"]))
    return F.linear(x, v[f"{prefix}.{output}.weight"], v[f"{prefix}.{output}.bias"])


def normal(v: dict[str, torch.Tensor], x: torch.Tensor) -> torch.distributions.Normal:
    return torch.distributions.Normal(network(v, "actor", "mean", x), v["actor.policy.log_deviation"].exp())


def estimates(given: dict[str, np.ndarray], last: np.ndarray) -> np.ndarray:
    """Generalised advantage estimates by their recurrence, from the last step to the first."""
    rewards, ends, values = (given[n].astype(float) for n in ("rewards", "ends", "past_values"))
    found = np.zeros_like(rewards)
    for actor in range(rewards.shape[0]):
        following, advantage = last[actor], 0.0
        for t in reversed(range(rewards.shape[1])):
            goes_on = 1 - ends[actor, t]
            delta = rewards[actor, t] + 0.99 * goes_on * following - values[actor, t]
            advantage = delta + 0.99 * 0.95 * goes_on * advantage
            found[actor, t], following = advantage, values[actor, t]
    return found


def step_by_hand(given: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One step in float64, and the ratios of the minibatch."""
    names = [p.name for p in workload("ppo", "tiny").parameters]
    v = {n: torch.tensor(a, dtype=torch.float64, requires_grad=n in names) for n, a in given.items()}
    places = torch.tensor(given["places"])
    advantages = estimates(given, network(v, "critic", "value", v["observations"])[:, 0].detach().numpy())
    returns = torch.tensor(advantages + given["past_values"]).reshape(-1)[places]
    a = advantages.reshape(-1)[given["places"]]
    a = torch.tensor((a - a.mean()) / (a.std() + 1e-8))
    seen = v["past_observations"].reshape(-1, 3)[places]
    policy = normal(v, seen)
    ratios = (
        policy.log_prob(v["past_actions"].reshape(-1, 1)[places]).sum(1)
        - v["past_log_probabilities"].reshape(-1)[places]
    ).exp()
    surrogate = torch.minimum(ratios * a, torch.clip(ratios, 0.8, 1.2) * a).mean()
    error = ((network(v, "critic", "value", seen)[:, 0] - returns) ** 2).mean()
    loss = 0.5 * error - surrogate - 0.01 * policy.entropy().mean()
    gradients = torch.autograd.grad(loss, [v[n] for n in names])
    norm = torch.sqrt(sum((g**2).sum() for g in gradients)).item()
    assert norm > 0.5
    new = {"loss": loss.detach().numpy(), "adam.step.next": given["adam.step"] + 1}
    for name, gradient in zip(names, gradients, strict=True):
        g = gradient.numpy() * 0.5 / norm
        m = 0.9 * given[f"{name}.adam_m"].astype(float) + 0.1 * g
        s = 0.999 * given[f"{name}.adam_v"].astype(float) + 0.001 * g**2
        new |= {f"{name}.adam_m.next": m, f"{name}.adam_v.next": s}
        new[f"{name}.next"] = given[name] - 3e-4 * (m / (1 - 0.9**5)) / (np.sqrt(s / (1 - 0.999**5)) + 1e-5)
    return new, ratios.detach().numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_step_is_the_papers(tiny, framework) -> None:
    given = starting_point()
    got = Evaluator(tiny("ppo", framework, "training")).step(given).outputs
    expected, ratios = step_by_hand(given)
    assert ratios.min() < 0.8
    assert ratios.max() > 1.2
    assert ((ratios > 0.8) & (ratios < 1.2)).any()
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            got[name], value, rtol=1e-4, atol=1e-6 * max(np.abs(value).max(), 1e-3), err_msg=name
        )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_acting_draws_from_the_policy(tiny, framework) -> None:
    given = {**starting_point(1), "noise": np.array([[1.5], [-0.5]], "float32")}
    got = Evaluator(tiny("ppo", framework, "inference", "input")).step(given).outputs
    v = {n: torch.tensor(a, dtype=torch.float64) for n, a in given.items()}
    policy = normal(v, v["observations"])
    actions = policy.mean + policy.stddev * v["noise"]
    np.testing.assert_allclose(got["actions"], actions, rtol=1e-5)
    np.testing.assert_allclose(got["log_probabilities"], policy.log_prob(actions).sum(1), rtol=1e-5)
    np.testing.assert_allclose(got["values"], network(v, "critic", "value", v["observations"])[:, 0], rtol=1e-5)


def advantages_of(framework: str, given: dict[str, np.ndarray], last: np.ndarray) -> np.ndarray:
    rows = [given[n].astype("float64") for n in ("rewards", "ends", "past_values")]
    if framework == "torch":
        from fathom_exporters.torch.models.suite2026.ppo import Advantages

        found, _ = Advantages(0.99, 0.95)(*map(torch.tensor, rows), torch.tensor(last[:, None]))
        return found.numpy()
    tf = pytest.importorskip("tensorflow")
    from fathom_exporters.tensorflow.models.suite2026.ppo import advantages
    from fathom_exporters.tensorflow.net import Net

    spec = workload("ppo")
    found, _ = advantages(Net({}, "training"), spec.config, *map(tf.constant, rows), tf.constant(last[:, None]))
    return found.numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("horizon", [1, 2, 7, 64, 100])
def test_advantages_by_doubling_are_those_of_the_recurrence(framework, horizon) -> None:
    rng = np.random.default_rng(horizon)
    given = {n: rng.normal(size=(2, horizon)) for n in ("rewards", "past_values")}
    last = rng.normal(size=2)
    for share in (0.0, 0.1, 1.0):
        given["ends"] = (rng.random((2, horizon)) < share).astype(float)
        np.testing.assert_allclose(advantages_of(framework, given, last), estimates(given, last), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_advantages_in_closed_form(framework) -> None:
    """A reward of 1 in every step and no values: a geometric series, which an end of an episode cuts off."""
    given = {"rewards": np.ones((1, 50)), "past_values": np.zeros((1, 50)), "ends": np.zeros((1, 50))}
    given["ends"][0, 29] = 1
    q = 0.99 * 0.95
    left = np.array([30 - t if t < 30 else 50 - t for t in range(50)])
    found = advantages_of(framework, given, np.zeros(1))
    np.testing.assert_allclose(found[0], (1 - q**left) / (1 - q), rtol=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_flows_back_into_advantages(tiny, framework) -> None:
    graph = tiny("ppo", framework, "training")
    backward = {a.scope for a in graph.addresses.values() if a.phase == "backward"}
    assert not backward & {"advantages", "minibatch"}
    assert {"actor.policy", "critic.value", "actor.hidden1", "loss"} <= backward


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_on_the_pendulum_lowers_the_loss(tiny, framework) -> None:
    graph = tiny("ppo", framework, "training")
    losses = train(graph, batches_for_graph(graph, 0), 400, SessionSettings(threads=1)).losses
    assert np.mean(losses[-100:]) < 0.8 * np.mean(losses[:100])
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.slow
def test_the_exported_step_learns_to_swing_a_pendulum_up() -> None:
    """The whole of algorithm 1 around the graph: segments of the policy as it is, ten passes over each."""
    spec = workload("ppo", "paper", {"discount": 0.9, "learning_rate": 1e-3})  # the horizon of a pendulum is short
    graph = from_model(find_exporter("torch").export(ExportRequest(spec, "training")), "ppo")
    stepper = open_training(graph, SessionSettings(threads=1), 0)
    rng = np.random.default_rng(0)
    pendulums, parameters, scale = Pendulums(1, rng), spec.initial_values("inference", 0), 0.0
    scores = []
    for _ in range(30):
        batch = record(Policy(parameters), pendulums, spec.config.horizon, rng)
        scores.append(200 * batch["rewards"].mean())
        scale = scale or discounted_returns(batch["rewards"], batch["ends"], 0.9).std()
        batch |= {"rewards": batch["rewards"] / scale, "observations": pendulums.observe()}
        fixed = {name: value.astype("float32") for name, value in batch.items()}
        for _ in range(10):
            for places in rng.permutation(spec.config.horizon).reshape(-1, spec.config.batch):
                stepper.step({**fixed, "places": places})
        parameters = {name: stepper.state()[name] for name in parameters}
    assert np.mean(scores[:5]) < -900
    assert np.mean(scores[-5:]) > -600
