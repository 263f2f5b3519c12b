"""Segments of play for ppo: a policy acts on pendulums, and minibatches are drawn from what is recorded.

The policy is the one that ppo's networks of the published size start with, for the seed of the request, computed with
NumPy. As in Schulman et al. 2017 (algorithm 1) a segment is used for some passes, each over all its steps in random
order, before the next is recorded; play goes on where the last segment stopped. Rewards are divided by the standard
deviation of the segment's discounted return; the authors' code keeps a running one (Engstrom et al. 2020, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array
from fathom_onnx.workloads.suite2026.ppo import ACTIONS, DEFINITION, OBSERVATIONS, PpoConfig

from .pendulum import Pendulums

__all__ = ["PASSES", "Policy", "discounted_returns", "open_pendulum", "record"]

PASSES = 10
"""Passes over a segment (Schulman et al. 2017, table 3: number of epochs)."""

SOURCE = "pendulum"
_SEGMENT = ("past_observations", "past_actions", "past_log_probabilities", "past_values", "rewards", "ends")
_PROVIDES = ("observations", *_SEGMENT, "places")


@dataclass(frozen=True)
class Policy:
    """Actor and critic of ppo in NumPy.

    Attributes:
        values: Parameter name to its value.
    """

    values: Mapping[str, Array]

    def _network(self, prefix: str, output: str, x: Array) -> Array:
        number = 1
        while f"{prefix}.hidden{number}.weight" in self.values:
            x = np.tanh(self._linear(f"{prefix}.hidden{number}", x))
            number += 1
        return self._linear(f"{prefix}.{output}", x)

    def _linear(self, name: str, x: Array) -> Array:
        product: Array = x @ self.values[f"{name}.weight"].T + self.values[f"{name}.bias"]
        return product

    def act(self, observations: Array, noise: Array) -> tuple[Array, Array, Array]:
        """Observations [N, 3] and normal noise [N, 1] -> actions [N, 1], log probabilities [N], values [N]."""
        mean = self._network("actor", "mean", observations)
        log_deviation = self.values["actor.policy.log_deviation"]
        log_probabilities = (-0.5 * noise**2 - log_deviation - 0.5 * math.log(2 * math.pi)).sum(1)
        actions = mean + np.exp(log_deviation) * noise
        return actions, log_probabilities, self._network("critic", "value", observations)[:, 0]


def discounted_returns(rewards: Array, ends: Array, discount: float) -> Array:
    """The running sums ``r_t + discount * sum_(t-1)`` [actors, T], which start anew after the end of an episode."""
    sums, total = np.zeros_like(rewards), np.zeros(rewards.shape[0])
    for t in range(rewards.shape[1]):
        total = rewards[:, t] + discount * total
        sums[:, t] = total
        total = total * (1 - ends[:, t])
    return sums


def record(policy: Policy, pendulums: Pendulums, horizon: int, rng: np.random.Generator) -> Batch:
    """Act for a number of steps.

    Returns:
        What ppo takes of a segment, by input name, each [actors, horizon, ...]; rewards as the pendulums give them.
    """
    steps: list[Batch] = []
    for _ in range(horizon):
        seen = pendulums.observe()
        actions, log_probabilities, values = policy.act(seen, rng.normal(size=(len(seen), ACTIONS)))
        rewards, over = pendulums.act(actions[:, 0])
        ends = np.full(len(seen), float(over))
        steps.append(dict(zip(_SEGMENT, (seen, actions, log_probabilities, values, rewards, ends), strict=True)))
    return {name: np.stack([step[name] for step in steps], 1) for name in _SEGMENT}


def _sizes(request: BatchRequest) -> tuple[int, int, int]:
    """Actors, steps of a segment and minibatch size; 0 for what is not requested.

    Raises:
        DataError: Shapes that cannot be filled.
    """
    shapes = {spec.name: spec.shape for spec in request.specs}
    segment = next((shapes[name][:2] for name in _SEGMENT if name in shapes and len(shapes[name]) >= 2), ())
    actors = segment[0] if segment else shapes.get("observations", (1,))[0]
    batch = shapes.get("places", (0,))[0]
    wide = {"past_observations": (OBSERVATIONS,), "past_actions": (ACTIONS,)}
    expected = {
        "observations": (actors, OBSERVATIONS),
        "places": (batch,),
        **{name: (*segment, *wide.get(name, ())) for name in _SEGMENT},
    }
    for name, shape in shapes.items():
        if name in _SEGMENT and not segment:
            raise DataError(
                f"data source '{SOURCE}' cannot fill {name} of shape {list(shape)}", "ask for [actors, steps]"
            )
        if shape != expected[name]:
            raise DataError(
                f"data source '{SOURCE}' cannot fill {name} of shape {list(shape)}", f"ask for {list(expected[name])}"
            )
    steps = segment[1] if segment else 0
    if batch and (not steps or batch > actors * steps):
        raise DataError(
            f"data source '{SOURCE}' cannot draw a minibatch of {batch} from {actors * steps} recorded steps",
            "ask for a segment of as many steps at least",
        )
    return actors, steps, batch


def open_pendulum(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of play.

    With a segment among the inputs, batches are its minibatches, :data:`PASSES` times over, and then those of the next
    segment. Without one, each is what the actors observe, one step after the other.

    Args:
        request: Any of ``observations`` [actors, 3]; ``past_observations`` [actors, T, 3], ``past_actions`` [actors, T,
            1], ``past_log_probabilities``, ``past_values``, ``rewards`` and ``ends`` [actors, T]; ``places`` [batch].

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    check_inputs(request, SOURCE, _PROVIDES)
    actors, horizon, size = _sizes(request)
    policy = Policy(DEFINITION.configure("paper").initial_values("inference", request.seed))
    rng, draw = generator(request.seed, SOURCE), generator(request.seed, f"{SOURCE}:places")
    pendulums = Pendulums(actors, rng)
    while True:
        if not horizon:
            yield {spec.name: pendulums.observe().astype(spec.dtype) for spec in request.specs}
            record(policy, pendulums, 1, rng)
            continue
        values = record(policy, pendulums, horizon, rng)
        deviation = discounted_returns(values["rewards"], values["ends"], PpoConfig().discount).std()
        values["rewards"] = values["rewards"] / (deviation + 1e-8)
        values["observations"] = pendulums.observe()
        for _ in range(PASSES):
            order = draw.permutation(actors * horizon)
            for start in range(0, order.size - size + 1, size or order.size):
                values["places"] = order[start : start + size]
                yield {spec.name: values[spec.name].astype(spec.dtype) for spec in request.specs}
