"""Learning from play: frames and batches of the games, exploration, the target network, and resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.data.games.catch import Catch
from fathom_onnx.data.games.playable import GAMES, Playable
from fathom_onnx.data.games.replay import play
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import CheckpointFolder, EpisodeReward, Player, PlayPlan
from fathom_onnx.training import playing as module
from fathom_onnx.training.playing import LOG, _Table
from support.graphs.small_models import line_training

CPU = SessionSettings(threads=1)
CATCH = GAMES["catch"]


def followed(table: _Table, actions: np.ndarray) -> _Table:
    for row in actions:
        table.act(row.tolist())
    return table


def test_frames_are_those_of_the_replay_memory_of_a_game() -> None:
    rng = np.random.default_rng(3)
    memory = play(Catch(np.random.default_rng(5)), 36, 40, rng)
    table = followed(_Table(CATCH, 2, 36, 50, 4), np.stack([memory.actions, memory.actions], 1))
    at = np.arange(41)
    np.testing.assert_array_equal(table.states(np.ones(41, int), at, 4), memory.states(at, 4))
    for name in ("actions", "rewards", "terminals"):
        np.testing.assert_array_equal(getattr(table, name)[1, :40], getattr(memory, name))
    assert memory.rewards.any()
    assert (table.states(np.zeros(41, int), at, 4) != memory.states(at, 4)).any()  # the other game is another


def test_a_memory_that_is_full_forgets_the_oldest_frames_only() -> None:
    actions = np.random.default_rng(0).integers(0, 4, (60, 3))
    small, large = (followed(_Table(CATCH, 3, 36, kept, 0), actions) for kept in (20, 100))
    for game in range(3):
        at = np.arange(60 - 20 + 4, 61)
        games = np.full(len(at), game)
        np.testing.assert_array_equal(small.states(games, at, 4), large.states(games, at, 4))
        np.testing.assert_array_equal(small.rewards[games[:-1], at[:-1] % 20], large.rewards[games[:-1], at[:-1]])


def best_actions(network: Any, table: _Table, *_: Any) -> np.ndarray:
    return np.array([2 if g.column > g.paddle + 1 else 3 if g.column < g.paddle else 0 for g in table._games])


def test_the_reward_of_whole_games(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = EpisodeReward(CATCH, tiny("deepq", "torch", "inference"), CPU, 50)
    monkeypatch.setattr(module._Network, "actions", best_actions)
    assert judged.of({}) == 1.0
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module._Network, "actions", lambda network, *_: rng.integers(0, 4, network.games))
    assert judged.of({}) == pytest.approx(-1 / 3, abs=0.15)
    monkeypatch.setattr(module._Network, "actions", lambda network, *_: np.zeros(network.games, int))
    endless = EpisodeReward(Playable(CATCH.make, longest=3), tiny("deepq", "torch", "inference"), CPU, 2)
    assert endless.of({}) == 0.0  # ended before the ball lands


def test_a_graph_without_a_target_network_and_a_small_memory_are_refused(tiny) -> None:
    inference = tiny("deepq", "torch", "inference")
    with pytest.raises(UsageError, match="has no target network"):
        Player(CATCH, line_training(), inference, CPU)
    with pytest.raises(UsageError, match="of 10 transitions is too small"):
        Player(CATCH, tiny("deepq", "torch", "training"), inference, CPU, 0, PlayPlan(memory=10))


class Fed:
    """A stepper that remembers what it is told to hold."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.values, self.held = values, []

    def state(self) -> dict[str, np.ndarray]:
        return self.values

    def hold(self, values: dict[str, np.ndarray]) -> None:
        self.held.append(values)


def test_the_target_network_is_renewed_every_so_many_steps_and_exploration_ends(tiny, monkeypatch) -> None:
    from fathom_onnx.runtime.weights import variable_values

    training = tiny("deepq", "torch", "training")
    shares: list[float] = []
    own = module._Network.actions
    monkeypatch.setattr(
        module._Network, "actions", lambda n, t, s, share, rng: shares.append(share) or own(n, t, s, share, rng)
    )
    player = Player(CATCH, training, tiny("deepq", "torch", "inference"), CPU, 0, PlayPlan(4, 0.25, 200, 5, 3))
    fed: Any = Fed(variable_values(training, 0))
    renewed = []
    for step in range(1, 8):
        before = len(fed.held)
        batch = player.batch(step, fed)
        renewed += [step] * (len(fed.held) - before)
        assert batch["states"].shape == (4, 4, 36, 36)
        np.testing.assert_array_equal(batch["actions"].sum(-1), np.ones(4))
    assert renewed == [4, 7]
    assert set(fed.held[0]) == set(player.copies)
    assert all(fed.held[0][copy] is fed.values[online] for copy, online in player.copies.items())
    assert shares == pytest.approx([1.0] * 6 + [1 - 0.75 / 4, 1 - 0.75 / 2, 1 - 0.75 * 3 / 4, 0.25, 0.25, 0.25])
    assert player.log.shape == (12, 4)


@pytest.mark.slow
def test_a_run_that_plays_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    common = ("train", "deepq", "--preset", "tiny", "--data", "catch", "--play", "--threads", "1", "--json")
    common += ("--explore", "20", "--refresh", "7", "--eval-every", "15")

    def call(*arguments: str) -> Any:
        found = CliRunner().invoke(main, [*common, *arguments])
        assert found.exit_code == 0, found.stderr
        return json.loads(found.stdout)

    whole = call("--steps", "30", "--checkpoint", str(tmp_path / "whole"))
    call("--steps", "13", "--checkpoint", str(tmp_path / "run"))
    rest = call("--steps", "30", "--checkpoint", str(tmp_path / "run"), "--resume")
    assert rest["first_step"] == 14
    assert rest["losses"] == whole["losses"]
    assert {row["name"] for row in rest["metrics"]} == {"episode reward"}
    first, second = (CheckpointFolder(tmp_path / name).latest()[0] for name in ("whole", "run"))
    assert first.values[LOG].shape == (130, 4)
    assert {n: v.tobytes() for n, v in first.values.items()} == {n: v.tobytes() for n, v in second.values.items()}
    changed = CliRunner().invoke(
        main, [*common, "--refresh", "8", "--steps", "31", "--checkpoint", str(tmp_path / "run"), "--resume"]
    )
    assert (changed.exit_code, "another data source" in changed.stderr) == (2, True)


@pytest.mark.slow
def test_what_cannot_be_played_is_refused() -> None:
    for arguments, told in (
        (["deepq", "--data", "synthetic"], "'synthetic' is no game"),
        (["memnet", "--data", "catch"], "has no target network"),
    ):
        found = CliRunner().invoke(main, ["train", *arguments, "--preset", "tiny", "--play", "--steps", "1"])
        assert (found.exit_code, told in found.stderr) == (2, True), found.stderr
