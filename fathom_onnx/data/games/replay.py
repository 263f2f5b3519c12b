"""A replay memory: transitions of a game that a random player plays, from which batches are drawn uniformly.

Preprocessing follows Mnih et al. 2015 (methods, preprocessing): luminance scaled to a square, one action every four
frames, the last few frames stacked as a state, rewards clipped to -1..1, the loss of a life as the end of an episode.
Frames of a state before the start of its episode are zero, as in the authors' released code. Their memory has a million
transitions of a learning player; this is a short one of a random player.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, RequestedTensor, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["ACTIONS", "FRAME_SKIP", "TRANSITIONS", "Game", "ReplayMemory", "open_replay", "play", "scaled"]

ACTIONS = 4
"""Breakout's minimal action set: nothing, fire, right, left."""
FRAME_SKIP = 4
"""Frames that an action lasts (Mnih et al. 2015, extended data table 1: action repeat)."""
TRANSITIONS = 4000
"""Transitions in a memory; some 28 MB at 84x84."""


class Game(Protocol):
    """A game of one player with lives."""

    @property
    def over(self) -> bool:
        """Whether the last life is lost."""

    def reset(self) -> None:
        """Begin a new game."""

    def act(self, action: int) -> tuple[float, bool]:
        """Hold an action for :data:`FRAME_SKIP` frames; the points scored, and whether a life was lost."""

    def screen(self) -> Array:
        """Luminance of the screen, uint8 [height, width]."""


@dataclass(frozen=True)
class ReplayMemory:
    """Transitions in the order in which they were played; transition t leads from frame t to frame t + 1.

    Attributes:
        frames: uint8 [transitions + 1, side, side].
        starts: For each frame, the index of the first frame of its episode.
        actions: For each transition, the index of the action taken.
        rewards: For each transition, the points, clipped to -1..1.
        terminals: For each transition, whether it ended the episode.
    """

    frames: Array
    starts: Array
    actions: Array
    rewards: Array
    terminals: Array

    def states(self, at: Array, history: int) -> Array:
        """The last ``history`` frames at each index, oldest first: float32 [len(at), history, side, side] in 0..1."""
        index = at[:, None] + np.arange(1 - history, 1)
        in_episode = index >= self.starts[at][:, None]
        stacked = self.frames[np.maximum(index, 0)] * in_episode[:, :, None, None]
        return (stacked / np.float32(255)).astype("float32")


def scaled(screen: Array, side: int) -> Array:
    """A screen scaled to a square, uint8 [side, side]."""
    if screen.shape == (side, side):
        return screen
    from PIL import Image

    return np.asarray(Image.fromarray(screen).resize((side, side), Image.Resampling.BILINEAR))


def play(game: Game, side: int, transitions: int, rng: np.random.Generator) -> ReplayMemory:
    """Play ``game`` with random actions.

    Args:
        game: A game that has just begun.
        side: Side of the square that a frame is scaled to.
        transitions: Number of actions to take.
        rng: Draws the actions.
    """
    frames = np.zeros((transitions + 1, side, side), "uint8")
    starts = np.zeros(transitions + 1, "int64")
    rewards, terminals = np.zeros(transitions), np.zeros(transitions, bool)
    actions = rng.integers(0, ACTIONS, transitions)
    frames[0] = scaled(game.screen(), side)
    for t, action in enumerate(actions):
        points, terminals[t] = game.act(int(action))
        rewards[t] = min(max(points, -1.0), 1.0)
        if game.over:
            game.reset()
        frames[t + 1] = scaled(game.screen(), side)
        starts[t + 1] = t + 1 if terminals[t] else starts[t]
    return ReplayMemory(frames, starts, actions, rewards, terminals)


_PROVIDES = ("states", "next_states", "actions", "rewards", "terminals")


def _window(request: BatchRequest, source: str) -> tuple[int, int, int]:
    """Batch size, history length and image side of a request.

    Raises:
        DataError: It has no frames, or its shapes are inconsistent.
    """
    frames = request.spec("states") or request.spec("next_states")
    if frames is None:
        raise DataError(f"data source '{source}' was asked for no frames", "ask for 'states' or 'next_states'")
    shape = frames.shape
    if len(shape) != 4 or shape[2] != shape[3]:
        raise DataError(
            f"data source '{source}' cannot fill {frames.name} of shape {list(shape)}",
            "ask for [batch, history, side, side]",
        )
    batch = shape[0]
    shapes = {"actions": (batch, ACTIONS), "rewards": (batch,), "terminals": (batch,)}
    for spec in request.specs:
        expected = shapes.get(spec.name, shape)
        if spec.shape != expected:
            raise DataError(
                f"data source '{source}' cannot fill {spec.name} of shape {list(spec.shape)}",
                f"ask for {list(expected)}",
            )
    return batch, shape[1], shape[2]


def _value(memory: ReplayMemory, spec: RequestedTensor, at: Array, history: int) -> Array:
    if spec.name == "states":
        return memory.states(at, history)
    if spec.name == "next_states":
        return memory.states(at + 1, history)
    if spec.name == "actions":
        return np.eye(ACTIONS)[memory.actions[at]]
    return {"rewards": memory.rewards, "terminals": memory.terminals}[spec.name][at]


@functools.lru_cache(maxsize=2)
def _memory(source: str, begin: Callable[[np.random.Generator], Game], side: int, seed: int) -> ReplayMemory:
    rng = generator(seed, source)
    return play(begin(rng), side, TRANSITIONS, rng)


def open_replay(request: BatchRequest, source: str, begin: Callable[[np.random.Generator], Game]) -> Iterator[Batch]:
    """Endless batches of transitions drawn uniformly, with replacement, as in the paper.

    Args:
        request: Any of ``states`` and ``next_states`` [batch, history, side, side], one-hot ``actions`` [batch, 4],
            ``rewards`` and ``terminals`` [batch]; at least one of the first two.
        source: The name of the data source.
        begin: From what draws to a game that has just begun.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    check_inputs(request, source, _PROVIDES)
    batch, history, side = _window(request, source)
    memory = _memory(source, begin, side, request.seed)
    draw = generator(request.seed, f"{source}:draw")
    while True:
        at = draw.integers(0, len(memory.actions), batch)
        yield {spec.name: _value(memory, spec, at, history).astype(spec.dtype) for spec in request.specs}
