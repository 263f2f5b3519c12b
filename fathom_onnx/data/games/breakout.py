"""A simulation of Breakout: the objects on the screen and their motion, as on the Atari 2600.

The screen of 160x210 pixels shows walls at three sides, six rows of eighteen bricks, a paddle and a ball, in the sizes
and brightness of the console, without the score line. The player serves the ball. It bounces off the walls, the bricks
and the paddle (at a flatter angle the farther from the paddle's middle), and gets faster after the fourth and the
twelfth hit of the paddle. Bricks are worth 1, 4 and 7 points, two rows each, from below. A game has five lives; when
all bricks are gone, all are set up again. The console's exact angles, its shrinking paddle and its rules for the second
set of bricks are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest
from fathom_onnx.workloads.contract import Array

from .replay import FRAME_SKIP, open_replay

__all__ = ["Breakout", "open_breakout"]

WIDTH, HEIGHT = 160, 210
LEFT, RIGHT, TOP = 8, 152, 32
"""Inner edges of the walls, in pixels."""
_WALL_TOP = 17
_WALL = 142
BRICKS_TOP, BRICK_HEIGHT, BRICK_WIDTH = 57, 6, 8
ROWS, COLUMNS = 6, 18
_BRIGHTNESS = (110, 129, 131, 148, 124, 85)
"""Luminance of the rows from the top: red, orange, brown, yellow, green, blue."""
POINTS = (7, 7, 4, 4, 1, 1)
"""Points of a brick, by row from the top."""
PADDLE_TOP, PADDLE_WIDTH, PADDLE_HEIGHT = 189, 16, 4
_PADDLE_STEP = 5
_BALL_WIDTH, _BALL_HEIGHT = 2, 4
_SERVED_FROM = 122
_SPEEDS = ((12, 2.0), (4, 1.5), (0, 1.0))
"""(hits of the paddle, vertical speed in pixels per frame from then on), fastest first."""
LIVES = 5

_FIRE, _RIGHT, _LEFT = 1, 2, 3


class Breakout:
    """A simulated game; an implementation of :class:`fathom_onnx.data.games.replay.Game`.

    Args:
        rng: Draws the position and the side to which a ball is served.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        """Begin a new game: five lives, all bricks, the paddle in the middle, no ball."""
        self.lives = LIVES
        self.bricks = np.ones((ROWS, COLUMNS), bool)
        self.paddle = (LEFT + RIGHT - PADDLE_WIDTH) // 2
        self.ball: tuple[float, float] | None = None
        self.direction = (0.0, 1.0)
        self._touches = 0

    @property
    def over(self) -> bool:
        """Whether the last life is lost."""
        return self.lives == 0

    def act(self, action: int) -> tuple[float, bool]:
        """Hold an action (0 nothing, 1 fire, 2 right, 3 left) for four frames.

        Returns:
            The points scored, and whether a life was lost.
        """
        before, points = self.lives, 0
        for _ in range(FRAME_SKIP):
            if not self.over:
                points += self._frame(action)
        return float(points), self.lives < before

    def serve(self, x: float, sideways: float) -> None:
        """Put a ball into play at column ``x``, moving down and ``sideways`` columns per row."""
        self.ball = (x, float(_SERVED_FROM))
        self.direction = (sideways, 1.0)
        self._touches = 0

    def _frame(self, action: int) -> int:
        """Advance by one frame; the points scored in it."""
        step = {_RIGHT: _PADDLE_STEP, _LEFT: -_PADDLE_STEP}.get(action, 0)
        self.paddle = min(max(self.paddle + step, LEFT), RIGHT - PADDLE_WIDTH)
        if self.ball is None:
            if action == _FIRE:
                self.serve(float(self._rng.integers(LEFT, RIGHT - _BALL_WIDTH)), float(self._rng.choice((-1, 1))))
            return 0
        speed = next(speed for touches, speed in _SPEEDS if self._touches >= touches)
        dx, dy = self.direction
        x, y = self.ball[0] + dx * speed, self.ball[1] + dy * speed
        if not LEFT <= x <= RIGHT - _BALL_WIDTH:
            x, dx = min(max(x, LEFT), RIGHT - _BALL_WIDTH), -dx
        if y < TOP:
            y, dy = TOP, 1.0
        points = self._hit(x, y)
        if points:
            dy = -dy
        on_paddle = self.paddle - _BALL_WIDTH < x < self.paddle + PADDLE_WIDTH
        if dy > 0 and on_paddle and PADDLE_TOP <= y + _BALL_HEIGHT < PADDLE_TOP + PADDLE_HEIGHT + speed:
            # from -1 at the paddle's left end to 1 at its right
            offset = (x + _BALL_WIDTH / 2 - self.paddle) / PADDLE_WIDTH * 2 - 1
            dx, dy = 1.5 * offset, -1.0
            y = float(PADDLE_TOP - _BALL_HEIGHT)
            self._touches += 1
        self.ball, self.direction = (x, y), (dx, dy)
        if y >= HEIGHT - _BALL_HEIGHT:
            self.ball = None
            self.lives -= 1
        return points

    def _hit(self, x: float, y: float) -> int:
        """Remove the brick under the middle of the ball, if there is one; its points, else 0."""
        row = int((y + _BALL_HEIGHT / 2 - BRICKS_TOP) // BRICK_HEIGHT)
        column = int((x + _BALL_WIDTH / 2 - LEFT) // BRICK_WIDTH)
        if not (0 <= row < ROWS and 0 <= column < COLUMNS and self.bricks[row, column]):
            return 0
        self.bricks[row, column] = False
        if not self.bricks.any():
            self.bricks[:] = True
        return POINTS[row]

    def screen(self) -> Array:
        """Luminance, uint8 [210, 160]."""
        screen = np.zeros((HEIGHT, WIDTH), "uint8")
        screen[_WALL_TOP:TOP] = _WALL
        screen[_WALL_TOP : PADDLE_TOP + PADDLE_HEIGHT, :LEFT] = _WALL
        screen[_WALL_TOP : PADDLE_TOP + PADDLE_HEIGHT, RIGHT:] = _WALL
        wall = np.repeat(self.bricks * np.array(_BRIGHTNESS, "uint8")[:, None], BRICK_HEIGHT, axis=0)
        screen[BRICKS_TOP : BRICKS_TOP + ROWS * BRICK_HEIGHT, LEFT:RIGHT] = np.repeat(wall, BRICK_WIDTH, axis=1)
        screen[PADDLE_TOP : PADDLE_TOP + PADDLE_HEIGHT, self.paddle : self.paddle + PADDLE_WIDTH] = _BRIGHTNESS[0]
        if self.ball is not None:
            x, y = int(self.ball[0]), int(self.ball[1])
            screen[y : y + _BALL_HEIGHT, x : x + _BALL_WIDTH] = _BRIGHTNESS[0]
        return screen


def open_breakout(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of transitions of the simulated game; see :func:`fathom_onnx.data.games.replay.open_replay`.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    yield from open_replay(request, "breakout", Breakout)
