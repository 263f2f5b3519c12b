"""The game Breakout, emulated by the Arcade Learning Environment (Bellemare et al. 2013).

The environment is the optional package ``ale-py``, which includes the emulator and the game; nothing is downloaded. As
in Mnih et al. 2015, each pixel is the maximum over two successive frames, since the console draws some objects in every
other frame only. Every action is executed as chosen (no sticky actions).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest
from fathom_onnx.errors import DataError, MissingDependencyError, one_line
from fathom_onnx.workloads.contract import Array

from .replay import ACTIONS, FRAME_SKIP, open_replay

__all__ = ["PACKAGE", "Emulated", "open_atari"]

PACKAGE = "ale_py"
"""Import name of the package that is needed."""
_GAME = "breakout"


class Emulated:
    """The emulated game; an implementation of :class:`fathom_onnx.data.games.replay.Game`.

    Args:
        seed: Seed of the emulator.

    Raises:
        MissingDependencyError: ``ale-py`` is not installed.
        DataError: It does not have the game, or has another game by that name.
    """

    def __init__(self, seed: int) -> None:
        try:
            import ale_py
            import ale_py.roms
        except ImportError as error:
            raise MissingDependencyError(
                f"data source 'atari' needs ale-py ({one_line(error, 120)})",
                "pip install 'fathom-onnx[atari]', or use the source 'breakout', a simulation",
            ) from error
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale: Any = ale_py.ALEInterface()
        self._ale.setInt("random_seed", seed)
        self._ale.setFloat("repeat_action_probability", 0.0)
        try:
            self._ale.loadROM(ale_py.roms.get_rom_path(_GAME))
        except (OSError, RuntimeError, TypeError) as error:
            raise DataError(
                f"ale-py does not have the game '{_GAME}' ({one_line(error, 120)})",
                "install ale-py 0.9 or newer, which brings it, or use the source 'breakout', a simulation",
            ) from error
        self._actions = list(self._ale.getMinimalActionSet())
        if len(self._actions) != ACTIONS:
            raise DataError(
                f"ale-py's '{_GAME}' has {len(self._actions)} actions, not {ACTIONS}",
                "install ale-py 0.9 or newer, which brings the game, or use the source 'breakout', a simulation",
            )
        self._last: Array = self._ale.getScreenGrayscale()

    @property
    def over(self) -> bool:
        """Whether the last life is lost."""
        return bool(self._ale.game_over())

    def reset(self) -> None:
        """Begin a new game."""
        self._ale.reset_game()
        self._last = self._ale.getScreenGrayscale()

    def act(self, action: int) -> tuple[float, bool]:
        """Hold an action for four frames; the points scored, and whether a life was lost."""
        before, points = self._ale.lives(), 0.0
        for _ in range(FRAME_SKIP):
            self._last = self._ale.getScreenGrayscale()
            points += self._ale.act(self._actions[action])
        return points, self._ale.lives() < before

    def screen(self) -> Array:
        """Luminance, the maximum over the last two frames, uint8 [210, 160]."""
        maximum: Array = np.maximum(self._last, self._ale.getScreenGrayscale())
        return maximum


def _begun(rng: np.random.Generator) -> Emulated:
    return Emulated(int(rng.integers(2**31)))


def open_atari(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of transitions of the emulated game; see :func:`fathom_onnx.data.games.replay.open_replay`.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
        MissingDependencyError: ``ale-py`` is not installed.
    """
    yield from open_replay(request, "atari", _begun)
