"""The games that a network being trained can play, by the name of their data source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .atari import Emulated
from .breakout import Breakout
from .catch import Catch
from .replay import Game

__all__ = ["GAMES", "Playable"]


@dataclass(frozen=True)
class Playable:
    """A game to play.

    Attributes:
        make: From a seed to a game that has just begun; the same seed and the same actions give the same game.
        exploration: Share of random actions where the player is judged: 0.05 in Breakout as in Mnih et al. 2015,
            without which some players never serve the ball.
        longest: Actions after which a game that is judged is ended.
    """

    make: Callable[[int], Game]
    exploration: float = 0.05
    longest: int = 2000


GAMES: dict[str, Playable] = {
    "catch": Playable(lambda seed: Catch(np.random.default_rng(seed)), exploration=0.0),
    "breakout": Playable(lambda seed: Breakout(np.random.default_rng(seed))),
    "atari": Playable(Emulated),
}
"""Name of a data source to its game."""
