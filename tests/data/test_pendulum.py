"""The pendulum behind ppo: its equations in closed form, segments of play, and what the source hands on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fathom_onnx.data import batches, batches_for
from fathom_onnx.data.games.pendulum import EPISODE, Pendulums, advance
from fathom_onnx.data.games.rollouts import Policy, discounted_returns, record
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import TensorSpec


def one(angle: float, velocity: float = 0.0, torque: float = 0.0) -> tuple[float, float, float]:
    angles, velocities, rewards = advance(np.array([angle]), np.array([velocity]), np.array([torque]))
    return float(angles[0]), float(velocities[0]), float(rewards[0])


# the equations


def test_upright_and_at_rest_it_stays_for_nothing() -> None:
    assert one(0.0) == (0.0, 0.0, 0.0)


def test_a_level_rod_falls_by_its_weight() -> None:
    # 3 g / (2 l) = 15, for 0.05 s
    assert one(math.pi / 2) == pytest.approx((math.pi / 2 + 0.05 * 0.75, 0.75, -((math.pi / 2) ** 2)))


@pytest.mark.parametrize(("torque", "felt"), [(1.0, 1.0), (2.0, 2.0), (5.0, 2.0), (-7.0, -2.0)])
def test_a_torque_turns_it_and_is_limited(torque: float, felt: float) -> None:
    # 3 / (m l^2) = 3, for 0.05 s
    assert one(0.0, 0.0, torque) == pytest.approx((0.05 * 0.15 * felt, 0.15 * felt, -0.001 * felt**2))


def test_the_speed_is_limited() -> None:
    assert one(math.pi / 2, 7.9, 2.0)[1] == 8.0
    assert one(-math.pi / 2, -7.9, -2.0)[1] == -8.0


@pytest.mark.parametrize(
    ("angle", "turned"), [(1.5 * math.pi, -0.5 * math.pi), (-3 * math.pi, math.pi), (7.0, 7 - 2 * math.pi)]
)
def test_a_reward_knows_no_turns(angle: float, turned: float) -> None:
    assert one(angle, 2.0, 1.0)[2] == pytest.approx(-(turned**2 + 0.1 * 4 + 0.001))


def test_small_swings_below_follow_the_linear_recurrence() -> None:
    """About the lowest point ``x'' = -15 x``; its steps are ``x_(t+1) = (2 - 15 h^2) x_t - x_(t-1)``: a pure cosine."""
    angles, velocities = np.array([math.pi + 1e-6]), np.zeros(1)
    found = []
    for _ in range(40):
        angles, velocities, _ = advance(angles, velocities, np.zeros(1))
        found.append(float(angles[0] - math.pi))
    turn = math.acos(1 - 15 * 0.05**2 / 2)
    # from x_0 = x_1 / (1 - 15 h^2) = 1e-6, the phase at which x_(-1) = x_0
    expected = [1e-6 * math.cos((t + 0.5) * turn) / math.cos(turn / 2) for t in range(1, 41)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-12)


def test_an_episode_ends_after_its_steps_and_another_starts() -> None:
    pendulums = Pendulums(3, np.random.default_rng(0))
    over = [pendulums.act(np.zeros(3))[1] for _ in range(2 * EPISODE)]
    assert [t for t, ended in enumerate(over, 1) if ended] == [200, 400]
    assert (abs(pendulums.velocities) <= 1).all()
    assert (abs(pendulums.angles) <= math.pi).all()
    np.testing.assert_allclose((pendulums.observe()[:, :2] ** 2).sum(1), 1)


# segments


def test_a_policy_by_hand() -> None:
    values = {f"{n}.hidden1.weight": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]) for n in ("actor", "critic")}
    values |= {f"{n}.hidden1.bias": np.array([0.0, 1.0]) for n in ("actor", "critic")}
    values |= {"actor.mean.weight": np.array([[1.0, 3.0]]), "actor.mean.bias": np.array([0.5])}
    values |= {"critic.value.weight": np.array([[2.0, 0.0]]), "critic.value.bias": np.array([-1.0])}
    values["actor.policy.log_deviation"] = np.array([math.log(2.0)])
    actions, log_probabilities, found = Policy(values).act(np.array([[0.5, 9.0, -0.25]]), np.array([[3.0]]))
    mean = math.tanh(0.5) + 3 * math.tanh(0.5) + 0.5
    assert actions.tolist() == [[pytest.approx(mean + 6)]]
    density = math.exp(-(6**2) / (2 * 4)) / (2 * math.sqrt(2 * math.pi))
    assert log_probabilities.tolist() == [pytest.approx(math.log(density))]
    assert found.tolist() == [pytest.approx(2 * math.tanh(0.5) - 1)]


def test_discounted_returns_by_hand() -> None:
    found = discounted_returns(np.array([[1.0, 2.0, 4.0, 8.0]]), np.array([[0.0, 1.0, 0.0, 0.0]]), 0.5)
    assert found.tolist() == [[1.0, 2.5, 4.0, 10.0]]


def test_a_segment_is_what_happened() -> None:
    policy = Policy(workload("ppo").initial_values("inference", 0))
    rng = np.random.default_rng(1)
    played = record(policy, Pendulums(2, rng), 450, rng)
    assert [t for t in range(450) if played["ends"][:, t].all()] == [199, 399]
    assert played["ends"].sum() == 4
    seen, actions = played["past_observations"], played["past_actions"][..., 0]
    for t in (0, 198, 200, 448):  # the next observation follows from this one and the action
        angles = np.arctan2(seen[:, t, 1], seen[:, t, 0])
        angles, velocities, rewards = advance(angles, seen[:, t, 2], actions[:, t])
        np.testing.assert_allclose(played["rewards"][:, t], rewards, rtol=1e-9)
        np.testing.assert_allclose(seen[:, t + 1], np.stack([np.cos(angles), np.sin(angles), velocities], 1), atol=1e-9)
    assert abs(seen[:, 200, 2]).max() <= 1


# the source


def test_passes_go_over_a_segment_in_minibatches_and_then_comes_the_next() -> None:
    stream = batches_for(workload("ppo", "tiny"), "training", 0)
    first = [next(stream) for _ in range(30)]  # 24 steps in minibatches of 8, ten times
    for start in range(0, 30, 3):
        places = np.concatenate([b["places"] for b in first[start : start + 3]])
        assert sorted(places.tolist()) == list(range(24))
    assert all((b["rewards"] == first[0]["rewards"]).all() for b in first)
    after = next(stream)
    # play goes on where the last segment stopped
    np.testing.assert_array_equal(after["past_observations"][:, 0], first[0]["observations"])
    assert (after["rewards"] != first[0]["rewards"]).any()


def test_the_policy_that_plays_is_the_one_that_training_starts_with() -> None:
    spec = workload("ppo")
    batch = next(batches_for(spec, "training", 7))
    seen = batch["past_observations"][0]
    x = seen
    v = spec.initial_values("inference", 7)
    for number in (1, 2):
        x = np.tanh(x @ v[f"actor.hidden{number}.weight"].T + v[f"actor.hidden{number}.bias"])
    mean = x @ v["actor.mean.weight"].T + v["actor.mean.bias"]
    expected = -0.5 * (batch["past_actions"][0] - mean)[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(batch["past_log_probabilities"][0], expected, rtol=1e-4, atol=1e-5)
    # 2048 draws of deviation 1
    assert abs((batch["past_actions"][0] - mean).std() - 1) < 0.05
    returns = discounted_returns(batch["rewards"].astype(float), batch["ends"], 0.99)
    assert returns.std() == pytest.approx(1, rel=1e-4)


def test_acting_sees_one_step_after_the_other() -> None:
    seen = [b["observations"] for b in itertools.islice(batches_for(workload("ppo"), "inference", 0), 5)]
    for before, after in itertools.pairwise(seen):
        assert before.shape == (1, 3)
        # the angle moves by the new velocity times 0.05 s
        moved = np.arctan2(after[0, 1], after[0, 0]) - np.arctan2(before[0, 1], before[0, 0])
        moved = (moved + math.pi) % (2 * math.pi) - math.pi
        assert moved == pytest.approx(0.05 * after[0, 2], abs=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "advice"),
    [
        ("observations", (2, 4), r"ask for \[2, 3\]"),
        ("past_actions", (2, 5, 2), r"ask for \[2, 5, 1\]"),
        ("rewards", (5,), r"ask for \[actors, steps\]"),
        ("places", (8,), "ask for a segment"),
        ("images", (8, 3), "has no input 'images'"),
    ],
)
def test_what_cannot_be_filled_is_refused(name: str, shape: tuple[int, ...], advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        batches("pendulum", [TensorSpec(name, shape)], 0)
