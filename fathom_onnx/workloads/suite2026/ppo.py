"""ppo: proximal policy optimisation on a pendulum (Schulman et al. 2017, arXiv:1707.06347), continuous control.

Actor and critic are networks of their own, each with two hidden layers of 64 units and hyperbolic tangents (section
6.1). The actor gives the mean of a normal distribution whose standard deviation is a parameter of its own, the same in
every state. Inference is the acting step: an action is drawn, with its log probability and the value of the state.

A training step is one minibatch of one iteration of algorithm 1. It takes the whole segment that the actors recorded
(observations, actions, their log probabilities, values, rewards, ends of episodes) and the places of a minibatch in it,
and computes the generalised advantage estimates of the segment, the clipped surrogate (eq. 7), the error of the value
function and the entropy (eq. 9), the gradients and Adam's update.

The estimates (eq. 11) obey ``A_t = delta_t + c_t A_(t+1)`` with ``c_t = discount * lambda``, or 0 where an episode
ended. This recurrence is computed by doubling (Hillis and Steele 1986): every sum over 2^k steps is two sums over
2^(k-1) steps. That takes log2(T) rounds of elementwise operations on T values each. A loop would be T small nodes; a
product with a triangular matrix of powers is T^2 products, more than twice those of the networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Adam, Draw, Gradients, Initialiser, Layer, Noise, TensorSpec, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["ACTIONS", "DEFINITION", "OBSERVATIONS", "PpoConfig", "build"]

OBSERVATIONS = 3
"""What an actor observes of a pendulum: cosine and sine of the angle, angular velocity."""

ACTIONS = 1
"""What it does: one torque."""

_PPO = "Schulman et al. 2017"
_MUJOCO = f"{_PPO}, table 3 (MuJoCo)"
_BASELINES = "OpenAI Baselines, ppo2 (Dhariwal et al. 2017)"


@dataclass(frozen=True)
class PpoConfig:
    """Hyper-parameters of ppo."""

    actors: int = setting(1, f"{_BASELINES}: one environment for MuJoCo; N of algorithm 1 of {_PPO}")
    horizon: int = setting(2048, f"{_MUJOCO}: horizon T")
    batch: int = setting(64, f"{_MUJOCO}: minibatch size")
    hidden: tuple[int, ...] = setting((64, 64), f"{_PPO}, section 6.1: two hidden layers of 64 units")
    discount: float = setting(0.99, f"{_MUJOCO}: discount gamma")
    gae: float = setting(0.95, f"{_MUJOCO}: GAE parameter lambda")
    clip: float = setting(0.2, f"{_PPO}, table 1: the best clipping")
    value_coefficient: float = setting(0.5, f"{_BASELINES}: vf_coef")
    entropy_coefficient: float = setting(0.01, f"{_PPO}, table 5: the coefficient c2 of eq. 9")
    clip_norm: float = setting(0.5, f"{_BASELINES}: max_grad_norm; Engstrom et al. 2020, arXiv:2005.12729")
    learning_rate: float = setting(3e-4, f"{_MUJOCO}: Adam step size")
    epsilon: float = setting(1e-5, f"{_BASELINES}: epsilon of Adam")
    deviation: float = setting(1.0, f"{_BASELINES}: the standard deviation that actions start with")
    advantage_epsilon: float = setting(1e-8, f"{_BASELINES}: added to the deviation of a minibatch's advantages")


def _spread(gain: float, inputs: int, outputs: int) -> Initialiser:
    """Normal values with the mean square of an orthogonal matrix times ``gain``."""
    return Initialiser("normal", gain / math.sqrt(max(inputs, outputs)))


def _network(stack: Stack, prefix: str, hidden: tuple[int, ...], output: str, outputs: int, gain: float) -> None:
    """Add a network's layers: ``hidden1``, ``tanh1``, ... and the linear layer ``output``."""
    width = OBSERVATIONS
    for number, units in enumerate(hidden, 1):
        stack.linear(f"{prefix}.hidden{number}", width, units, _spread(math.sqrt(2.0), width, units))
        stack.plain(f"{prefix}.tanh{number}", "tanh")
        width = units
    stack.linear(f"{prefix}.{output}", width, outputs, _spread(gain, width, outputs))


def build(preset: str, config: PpoConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: A minibatch is larger than what the actors record.
    """
    c = config
    steps = c.actors * c.horizon
    if c.batch > steps:
        raise ValueError(f"a minibatch of {c.batch} of {steps} recorded steps")
    stack = Stack()
    _network(stack, "actor", c.hidden, "mean", ACTIONS, 0.01)
    start = Initialiser.constant(math.log(c.deviation))
    stack.add(Layer("actor.policy", "normal distribution"), start, log_deviation=(ACTIONS,))
    _network(stack, "critic", c.hidden, "value", 1, 1.0)
    stack.plain("advantages", "generalised advantage estimation")
    stack.plain("minibatch", "gather")
    segment = (c.actors, c.horizon)
    wide = Draw("normal")
    return Workload(
        name="ppo",
        preset=preset,
        config=c,
        features=(
            TensorSpec(
                "observations",
                (c.actors, OBSERVATIONS),
                meaning="what each actor observes; in training after the segment's last step",
                draw=wide,
            ),
        ),
        targets=(
            TensorSpec("past_observations", (*segment, OBSERVATIONS), meaning="before each step", draw=wide),
            TensorSpec("past_actions", (*segment, ACTIONS), meaning="as drawn, before they are limited", draw=wide),
            TensorSpec(
                "past_log_probabilities", segment, meaning="of the actions, when they were drawn", draw=Draw("normal")
            ),
            TensorSpec("past_values", segment, meaning="of the observations, by the critic of then", draw=wide),
            TensorSpec("rewards", segment, meaning="of each step", draw=wide),
            TensorSpec("ends", segment, meaning="1 where a step ended an episode, else 0", draw=Draw("integers", 0, 2)),
            TensorSpec(
                "places",
                (c.batch,),
                "int64",
                "the minibatch: steps of the segment, those of the first actor first",
                Draw("integers", 0, steps),
            ),
        ),
        noise={"inference": (Noise("noise", (c.actors, ACTIONS)),)},
        parameters=tuple(stack.parameters),
        outputs=(
            TensorSpec("actions", (c.actors, ACTIONS), meaning="drawn, not limited"),
            TensorSpec("log_probabilities", (c.actors,), meaning="of the actions"),
            TensorSpec("values", (c.actors,), meaning="expected return"),
        ),
        layers=tuple(stack.layers),
        optimizer=Adam(c.learning_rate, epsilon=c.epsilon),
        data="pendulum",
        gradients=Gradients(clip_global_norm=c.clip_norm),
    )


_PAPER = PpoConfig()

DEFINITION = Definition(
    name="ppo",
    summary="proximal policy optimisation with its advantage estimation, on a pendulum",
    presets={
        "paper": _PAPER,
        "small": _PAPER,
        "tiny": replace(_PAPER, actors=2, horizon=12, batch=8, hidden=(8, 8)),
    },
    build=build,
    fidelity="The paper's experiments are on MuJoCo; here a pendulum is swung up, whose equations are few. A step of "
    "the paper's algorithm is 10 passes over a segment in 32 minibatches each; the graph is one of these 320 "
    "updates, and computes the advantages of the whole segment anew in each, where the authors' code does it "
    "once. The value after the segment is that of the critic as it is, not as it was when the segment was "
    "recorded. The error of the value function is the paper's, without the clipping of the authors' code. "
    "Eq. 9 is there in full, with the entropy's coefficient of the Atari experiments, since those on MuJoCo "
    "leave the entropy out. Weights start normal with the mean square of the orthogonal matrices of the "
    "authors' code. The learning rate is constant. Data come from the policy that a seed starts with: the "
    "updates do not reach the source, so that a long training drifts away from it.",
    papers=(
        "Schulman et al., Proximal Policy Optimization Algorithms, 2017, arXiv:1707.06347",
        "Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation, ICLR 2016, "
        "arXiv:1506.02438",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
