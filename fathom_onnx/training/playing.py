"""Learning from play: the network that is trained chooses the actions that fill its replay memory.

As in Mnih et al. 2015: actions are random with a probability that falls over the steps, and else those of the highest
Q value; batches are drawn uniformly from the last transitions; every so many steps the online network is copied into
the target network. As many games as a batch has rows are played side by side, so that the inference graph is run on
whole batches.

Everything that a player does follows from the seed, the weights and the number of the step. Games are not kept in
checkpoints, but the actions that were taken: a player that goes on from one plays them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.games.playable import Playable
from fathom_onnx.data.games.replay import ACTIONS, scaled
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper
from fathom_onnx.workloads.contract import Array

from .noise import NoiseInput

__all__ = ["LOG", "EpisodeReward", "PlayPlan", "Player"]

LOG = "player.actions"
"""Name under which a checkpoint keeps the actions that were taken, uint8 [actions of a game, games]."""

_JUDGED = 2**31
"""Seed of the games in which a player is judged, far from those that it learns from."""


@dataclass(frozen=True)
class PlayPlan:
    """How a network plays.

    Attributes:
        explore: Steps over which the share of random actions falls from 1 to ``least``.
        least: The share from then on (Mnih et al. 2015: 0.1).
        memory: Transitions of all games that are kept.
        begin: Random actions of each game before the first step.
        refresh: Steps between copies of the online network into the target network.
    """

    explore: int = 5000
    least: float = 0.1
    memory: int = 20_000
    begin: int = 100
    refresh: int = 250


class _Table:
    """Games played side by side, each begun anew when it is over, and the last frames of each.

    Args:
        game: The game.
        count: How many.
        side: Side of the square that a frame is scaled to.
        kept: Frames of each game that are kept.
        seed: Of the first one; the others have the seeds after it.
    """

    def __init__(self, game: Playable, count: int, side: int, kept: int, seed: int) -> None:
        self._games = [game.make(seed + index) for index in range(count)]
        self.latest = 0
        self._frames = np.zeros((count, kept, side, side), "uint8")
        self._starts = np.zeros((count, kept), "int64")
        self.actions = np.zeros((count, kept), "int64")
        self.rewards = np.zeros((count, kept), "float32")
        self.terminals = np.zeros((count, kept), bool)
        for index, one in enumerate(self._games):
            self._frames[index, 0] = scaled(one.screen(), side)

    @property
    def kept(self) -> int:
        """Frames of each game that are kept."""
        return self._frames.shape[1]

    def act(self, actions: Sequence[int]) -> tuple[Array, Array]:
        """An action in each game: the points, and which of them are over and were begun anew."""
        now, then = self.latest % self.kept, (self.latest + 1) % self.kept
        points, over = np.zeros(len(actions)), np.zeros(len(actions), bool)
        for index, (game, action) in enumerate(zip(self._games, actions, strict=True)):
            points[index], ended = game.act(int(action))
            over[index] = game.over
            if game.over:
                game.reset()
            self._frames[index, then] = scaled(game.screen(), self._frames.shape[2])
            self._starts[index, then] = self.latest + 1 if ended else self._starts[index, now]
            self.terminals[index, now] = ended
        self.actions[:, now] = actions
        self.rewards[:, now] = np.clip(points, -1.0, 1.0)
        self.latest += 1
        return points, over

    def states(self, games: Array, at: Array, history: int) -> Array:
        """The last frames of games up to others, oldest first: float32 [len(at), history, side, side] in 0..1."""
        index = at[:, None] + np.arange(1 - history, 1)
        in_episode = index >= self._starts[games, at % self.kept][:, None]
        stacked = self._frames[games[:, None], index % self.kept] * in_episode[:, :, None, None]
        found: Array = (stacked / np.float32(255)).astype("float32")
        return found


class _Network:
    """The inference graph: from states to the best actions."""

    def __init__(self, graph: Graph, settings: SessionSettings) -> None:
        (states,) = (t for t in graph.batch_inputs if t.name == "states")
        if states.shape is None:
            raise UsageError(f"graph '{graph.name}' has states without a shape", "export it again")
        self.games, self.history, self.side = states.shape[:3]
        self._evaluator = Evaluator(graph, settings)
        self._names = {t.name for t in graph.inputs}

    def actions(self, table: _Table, state: Mapping[str, Array], random: float, rng: np.random.Generator) -> Array:
        """An action for each game: a random one with a probability, else that of the highest Q value."""
        drawn, explores = rng.integers(0, ACTIONS, self.games), rng.random(self.games) < random
        if explores.all():
            return drawn
        states = table.states(np.arange(self.games), np.full(self.games, table.latest), self.history)
        weights = {name: value for name, value in state.items() if name in self._names}
        best = self._evaluator.step({**weights, "states": states}).outputs["q_values"].argmax(-1)
        return np.where(explores, drawn, best)


class Player:
    """The player of a training run.

    Args:
        game: What it plays.
        training: The training graph, with the variables of a target network.
        inference: The inference graph of the same workload.
        settings: How the session that plays runs.
        seed: Of the games, and of what is random in them.
        plan: How it plays.

    Raises:
        UsageError: The graph has no target network, or the memory is smaller than a game needs.
    """

    def __init__(
        self,
        game: Playable,
        training: Graph,
        inference: Graph,
        settings: SessionSettings,
        seed: int = 0,
        plan: PlayPlan | None = None,
    ) -> None:
        variables = training.metadata.variables if training.metadata else ()
        self.copies = {v.name: v.starts_as for v in variables if v.starts_as}
        """Variable of the target network to that of the online network."""
        if not self.copies:
            raise UsageError(f"graph '{training.name}' has no target network", "only deepq learns by playing")
        self.plan = plan or PlayPlan()
        self._network = _Network(inference, settings)
        kept = self.plan.memory // self._network.games + 1
        if kept < 2 * self._network.history:
            raise UsageError(f"a replay memory of {self.plan.memory} transitions is too small", "keep more")
        self._seed = seed
        self._game = game
        self._table = _Table(game, self._network.games, self._network.side, kept, seed * self._network.games)
        self._log: list[Array] = []

    def resume(self, actions: Array) -> None:
        """Play the actions of a checkpoint again."""
        for row in actions:
            self._act(row)

    @property
    def log(self) -> Array:
        """The actions that were taken, uint8 [actions of a game, games]."""
        return np.array(self._log, "uint8").reshape(-1, self._network.games)

    def _act(self, actions: Array) -> None:
        self._table.act([int(action) for action in actions])
        self._log.append(actions)

    def batch(self, step: int, stepper: Stepper) -> dict[str, Array]:
        """Play on, and draw the batch of a step; before that the target network is renewed if it is time for it.

        Args:
            step: The number of the step, from 1.
            stepper: The session that trains.
        """
        state = stepper.state()
        if step > 1 and (step - 1) % self.plan.refresh == 0:
            stepper.hold({copy: state[online] for copy, online in self.copies.items()})
        while len(self._log) < self.plan.begin + step:
            number = len(self._log)
            rng = np.random.default_rng([self._seed, 0, number])
            share = max(0.0, 1.0 - (step - 1) / self.plan.explore)
            random = 1.0 if number < self.plan.begin else self.plan.least + (1 - self.plan.least) * share
            self._act(self._network.actions(self._table, state, random, rng))
        return self._drawn(np.random.default_rng([self._seed, 1, step]))

    def _drawn(self, rng: np.random.Generator) -> dict[str, Array]:
        """As many transitions as there are games, of any of them."""
        table, history, count = self._table, self._network.history, self._network.games
        games = rng.integers(0, count, count)
        at = rng.integers(max(0, table.latest - table.kept + history), table.latest, count)
        slots = at % table.kept
        return {
            "states": table.states(games, at, history),
            "next_states": table.states(games, at + 1, history),
            "actions": np.eye(ACTIONS, dtype="float32")[table.actions[games, slots]],
            "rewards": table.rewards[games, slots],
            "terminals": table.terminals[games, slots].astype("float32"),
        }


class EpisodeReward:
    """An evaluation: the mean of the points of whole games, which the network plays with its weights as they are.

    Args:
        game: What is played.
        inference: The inference graph.
        settings: How its session runs.
        rounds: How often as many games as a batch has rows are played.
    """

    def __init__(self, game: Playable, inference: Graph, settings: SessionSettings, rounds: int = 8) -> None:
        self._game, self._rounds = game, rounds
        self._network = _Network(inference, settings)

    def measure(self, stepper: Stepper, noise: Sequence[NoiseInput]) -> dict[str, float]:
        """``episode reward``: points a game, not clipped."""
        return {"episode reward": self.of(stepper.state())}

    def of(self, values: Mapping[str, Array]) -> float:
        """The points of a game with given weights."""
        network, rng = self._network, np.random.default_rng(_JUDGED)
        total = 0.0
        for number in range(self._rounds):
            table = _Table(
                self._game, network.games, network.side, 2 * network.history, _JUDGED + number * network.games
            )
            playing = np.ones(network.games, bool)
            for _ in range(self._game.longest):
                points, over = table.act(network.actions(table, values, self._game.exploration, rng).tolist())
                total += float(points[playing].sum())
                playing &= ~over
                if not playing.any():
                    break
        return total / (self._rounds * network.games)
