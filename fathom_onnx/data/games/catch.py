"""Catch: a ball falls, and a paddle has to be under it; a game whose best player is known.

A ball starts in a random column of a field of six by six cells and falls by a cell with each action. The paddle, two
cells wide in the lowest row, starts anywhere and moves by a cell. A ball that lands on it is worth 1 point, one that
does not costs 1, and the game is over. The paddle is four cells from the ball's column at most, and there are five
actions: the best player has 1 point in every game. A random one has -1/3 on average, all starts and actions counted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest
from fathom_onnx.workloads.contract import Array

from .replay import open_replay

__all__ = ["BEST", "CELLS", "PADDLE", "Catch", "open_catch"]

BEST = 1.0
"""Points of the best player in every game."""
CELLS = 6
"""Rows and columns of the field."""
PADDLE = 2
"""Cells of the paddle."""
_PIXELS = 6
_MOVES = {2: 1, 3: -1}
"""Action to columns, numbered as in Breakout: 0 and 1 do nothing, 2 is right, 3 left."""


class Catch:
    """The game; an implementation of :class:`fathom_onnx.data.games.replay.Game`.

    Args:
        rng: Draws where the ball and the paddle start.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        """Begin a new game."""
        self.row = 0
        self.column = int(self._rng.integers(CELLS))
        self.paddle = int(self._rng.integers(CELLS - PADDLE + 1))

    @property
    def over(self) -> bool:
        """Whether the ball has landed."""
        return self.row == CELLS - 1

    def act(self, action: int) -> tuple[float, bool]:
        """Move the paddle, and let the ball fall by a cell; the points scored, and whether the ball has landed."""
        self.paddle = min(max(self.paddle + _MOVES.get(action, 0), 0), CELLS - PADDLE)
        self.row += 1
        if not self.over:
            return 0.0, False
        return (1.0 if self.paddle <= self.column < self.paddle + PADDLE else -1.0), True

    def screen(self) -> Array:
        """Luminance, uint8 [36, 36]: the ball is white, the paddle grey."""
        cells = np.zeros((CELLS, CELLS), "uint8")
        cells[-1, self.paddle : self.paddle + PADDLE] = 128
        cells[self.row, self.column] = 255
        return cells.repeat(_PIXELS, 0).repeat(_PIXELS, 1)


def open_catch(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of transitions of the game; see :func:`fathom_onnx.data.games.replay.open_replay`.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    yield from open_replay(request, "catch", Catch)
