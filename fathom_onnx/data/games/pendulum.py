"""A pendulum to be swung up and held upright by a torque too weak to lift it at once.

The equations and constants are those of the task ``Pendulum`` of OpenAI Gym (Brockman et al. 2016, arXiv:1606.01540):
a rod of length 1 m and mass 1 kg that turns about its end, ``acceleration = 3 g / (2 l) sin(angle) + 3 / (m l^2)
torque``, by steps of 0.05 s in which the velocity changes first. The angle is 0 upright. A step costs ``angle^2 + 0.1
velocity^2 + 0.001 torque^2``, with the angle between -pi and pi, all before the step. An episode ends after 200 steps.
"""

from __future__ import annotations

import math

import numpy as np

from fathom_onnx.workloads.contract import Array

__all__ = ["EPISODE", "TORQUE", "Pendulums", "advance"]

GRAVITY, MASS, LENGTH = 10.0, 1.0, 1.0
STEP = 0.05
"""Seconds of a step."""
SPEED = 8.0
"""The highest angular velocity, in radians a second."""
TORQUE = 2.0
"""The highest torque, in newton metres."""
EPISODE = 200
"""Steps of an episode."""


def advance(angles: Array, velocities: Array, torques: Array) -> tuple[Array, Array, Array]:
    """One step of any number of pendulums: new angles, new velocities, rewards.

    Args:
        angles: In radians, 0 upright, of any number of turns.
        velocities: In radians a second.
        torques: In newton metres; beyond :data:`TORQUE` they are held there.
    """
    torques = np.clip(torques, -TORQUE, TORQUE)
    turned = (angles + math.pi) % (2 * math.pi) - math.pi
    rewards: Array = -(turned**2 + 0.1 * velocities**2 + 0.001 * torques**2)
    acceleration = 3 * GRAVITY / (2 * LENGTH) * np.sin(angles) + 3 / (MASS * LENGTH**2) * torques
    velocities = np.clip(velocities + STEP * acceleration, -SPEED, SPEED)
    return angles + STEP * velocities, velocities, rewards


class Pendulums:
    """Pendulums side by side, each of which starts anew when its episode ends.

    Args:
        count: How many.
        rng: Draws where an episode starts: any angle, a velocity of at most 1.
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self.angles, self.velocities = self._starts(count)
        self._played = 0

    def _starts(self, count: int) -> tuple[Array, Array]:
        return self._rng.uniform(-math.pi, math.pi, count), self._rng.uniform(-1.0, 1.0, count)

    def observe(self) -> Array:
        """Cosine and sine of the angle, and the velocity, [count, 3]."""
        return np.stack([np.cos(self.angles), np.sin(self.angles), self.velocities], 1)

    def act(self, torques: Array) -> tuple[Array, bool]:
        """Apply a torque to each for one step; their rewards, and whether their episodes ended."""
        self.angles, self.velocities, rewards = advance(self.angles, self.velocities, torques)
        self._played += 1
        over = self._played == EPISODE
        if over:
            self.angles, self.velocities = self._starts(len(self.angles))
            self._played = 0
        return rewards, over
