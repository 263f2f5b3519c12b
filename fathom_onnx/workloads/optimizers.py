"""Update rules, and the treatment of gradients before the update: formulas that both frameworks implement alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .variables import Array, Initialiser, Variable

__all__ = ["RATE", "Adam", "AdamW", "GradientDescent", "Gradients", "Optimizer", "RMSProp"]

RATE = "learning_rate"
"""Name of the learning rate where it is an input of the training step: a scalar that no step changes."""

_ZERO = Initialiser.constant(0.0)


@dataclass(frozen=True)
class Gradients:
    """The treatment of gradients before the update, in this order; none by default.

    Attributes:
        clip_global_norm: Scale every gradient by ``clip / max(norm, clip)``, norm over all gradients; 0 for none.
        clip_norm: Scale each gradient by ``clip / max(norm, clip)``, norm of this gradient alone; 0 for none.
        noise: Standard deviation of normal noise added to each gradient; the noise tensor of parameter p is
            ``p.gradient_noise``.
        zero_rows: Pairs (parameter, row): the gradient of this row is set to zero, so that the row keeps its start.
    """

    clip_global_norm: float = 0.0
    clip_norm: float = 0.0
    noise: float = 0.0
    zero_rows: tuple[tuple[str, int], ...] = ()

    OP = "ClipGradient"

    @staticmethod
    def noise_of(parameter: str) -> str:
        """Name of the noise tensor of a parameter's gradient."""
        return f"{parameter}.gradient_noise"


@dataclass(frozen=True)
class Adam:
    """Adam, bias-corrected: ``p - lr * mhat / (sqrt(vhat) + epsilon)`` (Kingma and Ba 2015, algorithm 1).

    The step counter is one float32 scalar shared by all parameters.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    OP = "ApplyAdam"
    STEP = "adam.step"

    @staticmethod
    def slots(parameter: str) -> tuple[str, str]:
        """Names of the first and second moment of a parameter."""
        return f"{parameter}.adam_m", f"{parameter}.adam_v"

    def variables(self, parameters: tuple[Variable, ...]) -> tuple[Variable, ...]:
        """The optimizer's own state, in interface order."""
        state = [Variable(self.STEP, (), _ZERO)]
        for parameter in parameters:
            state += [Variable(slot, parameter.shape, _ZERO) for slot in self.slots(parameter.name)]
        return tuple(state)

    def update(self, name: str, values: Mapping[str, Array], new: Mapping[str, Array]) -> Array | None:
        """The new value of parameter ``name`` in float64, from its old value and the step's new moments.

        Adam divides each gradient by its own size, so a new parameter can be checked exactly only from the moments.
        """
        m, v = (new[f"{slot}.next"].astype(np.float64) for slot in self.slots(name))
        step = float(new[f"{self.STEP}.next"])
        denominator = np.sqrt(v / (1 - self.beta2**step)) + self.epsilon
        updated: Array = values[name] - self.learning_rate * (m / (1 - self.beta1**step)) / denominator
        return updated


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: every parameter shrinks by ``1 - lr * decay`` before Adam's own update.

    Loshchilov and Hutter 2019, algorithm 2, with the decay scaled by the learning rate as frameworks do.
    """

    weight_decay: float = 0.1

    def update(self, name: str, values: Mapping[str, Array], new: Mapping[str, Array]) -> Array | None:
        """The new value of parameter ``name`` in float64, from its old value and the step's new moments."""
        shrunk: Array = values[name] * (1 - self.learning_rate * self.weight_decay)
        return super().update(name, {**values, name: shrunk}, new)


@dataclass(frozen=True)
class RMSProp:
    """RMSProp with epsilon inside the root: ``v = decay * v + (1 - decay) * g^2; p - lr * g / sqrt(v + epsilon)``."""

    learning_rate: float
    decay: float = 0.95
    epsilon: float = 0.01

    OP = "ApplyRMSProp"

    @staticmethod
    def slots(parameter: str) -> tuple[str]:
        """Name of the mean square of a parameter's gradient."""
        return (f"{parameter}.rmsprop_v",)

    def variables(self, parameters: tuple[Variable, ...]) -> tuple[Variable, ...]:
        """The optimizer's own state, in interface order."""
        return tuple(Variable(slot, p.shape, _ZERO) for p in parameters for slot in self.slots(p.name))

    def update(self, name: str, values: Mapping[str, Array], new: Mapping[str, Array]) -> Array | None:
        """None: with epsilon inside the root a new parameter is as exact as its gradient, and is checked directly."""
        return None


@dataclass(frozen=True)
class GradientDescent:
    """Plain gradient descent: ``p - lr * g``."""

    learning_rate: float

    OP = "ApplyGradientDescent"

    def variables(self, parameters: tuple[Variable, ...]) -> tuple[Variable, ...]:
        """No state."""
        return ()

    def update(self, name: str, values: Mapping[str, Array], new: Mapping[str, Array]) -> Array | None:
        """None: a new parameter is as exact as its gradient, and is checked directly."""
        return None


Optimizer = Adam | AdamW | RMSProp | GradientDescent
"""The update rules that a workload can have."""
