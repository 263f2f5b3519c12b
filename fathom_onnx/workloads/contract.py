"""The framework-neutral nouns of a workload: tensors, initialisers, optimizers, layers.

A workload is data: what goes in, what comes out, which parameters it has in one canonical layout (convolution
OIHW, linear [out, in], images NCHW, labels as float one-hot) and how they start. Each framework authors the model
against that, so that the graphs of two frameworks can be swapped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "MODES",
    "Adam",
    "Array",
    "Draw",
    "Initialiser",
    "Interface",
    "Layer",
    "Mode",
    "Noise",
    "NoiseSource",
    "Optimizer",
    "TensorSpec",
    "Variable",
    "Workload",
]

Array = npt.NDArray[Any]
Mode = Literal["inference", "training"]
MODES: tuple[Mode, ...] = ("inference", "training")
NoiseSource = Literal["graph", "input"]
"""Where random tensors come from: drawn by the graph's own random ops, or fed as inputs for verification."""


@dataclass(frozen=True)
class Draw:
    """How stand-in values of an input are drawn where no data source provides it.

    ``kind`` is ``uniform`` (``low`` to ``high``), ``normal`` (mean 0, deviation ``high``), ``one_hot`` (one class of
    the last axis) or ``integers`` (``low`` inclusive to ``high`` exclusive).
    """

    kind: Literal["uniform", "normal", "one_hot", "integers"] = "uniform"
    low: float = 0.0
    high: float = 1.0

    def sample(self, shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
        """An array of ``shape`` and ``dtype``."""
        if self.kind == "uniform":
            values: Array = rng.uniform(self.low, self.high, shape)
        elif self.kind == "normal":
            values = rng.normal(0.0, self.high, shape)
        elif self.kind == "integers":
            values = rng.integers(int(self.low), int(self.high), shape)
        else:
            values = np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
        return values.astype(dtype)


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor of an interface: ``shape`` in elements, ``dtype`` as numpy names it."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    meaning: str = ""
    draw: Draw = field(default_factory=Draw)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Initialiser:
    """How a variable starts: ``constant`` (value), ``normal`` (deviation value) or ``uniform`` (-value to value)."""

    kind: Literal["constant", "normal", "uniform"]
    value: float

    @classmethod
    def constant(cls, value: float) -> Initialiser:
        """Every element ``value``."""
        return cls("constant", value)

    @classmethod
    def he_normal(cls, fan: int) -> Initialiser:
        """Normal with variance 2 / fan (He et al. 2015, arXiv:1502.01852, eq. 10)."""
        return cls("normal", math.sqrt(2.0 / fan))

    @classmethod
    def glorot_uniform(cls, fan_in: int, fan_out: int) -> Initialiser:
        """Uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
        return cls("uniform", math.sqrt(6.0 / (fan_in + fan_out)))

    def sample(self, name: str, shape: tuple[int, ...], dtype: str, seed: int) -> Array:
        """The starting values of variable ``name``; they depend on seed and name only, not on any order."""
        if self.kind == "constant":
            return np.full(shape, self.value, dtype=dtype)
        key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "little")
        rng = np.random.default_rng(key)
        if self.kind == "normal":
            return rng.normal(0.0, self.value, shape).astype(dtype)
        return rng.uniform(-self.value, self.value, shape).astype(dtype)


@dataclass(frozen=True)
class Variable:
    """A tensor that lives over steps: a parameter, a running statistic or an optimizer slot."""

    name: str
    shape: tuple[int, ...]
    initialiser: Initialiser
    dtype: str = "float32"

    @property
    def layer(self) -> str:
        """The layer that owns it: ``layer1.0.conv1`` for ``layer1.0.conv1.weight``."""
        return self.name.rpartition(".")[0]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def spec(self) -> TensorSpec:
        """The variable as a tensor of an interface."""
        return TensorSpec(self.name, self.shape, self.dtype)

    @property
    def next(self) -> TensorSpec:
        """The output of a training step that holds its new value."""
        return TensorSpec(f"{self.name}.next", self.shape, self.dtype)


@dataclass(frozen=True)
class Noise:
    """A random tensor that the step draws itself; with ``--noise input`` it becomes an input of this name."""

    name: str
    shape: tuple[int, ...]
    distribution: Literal["normal", "uniform"] = "normal"

    @property
    def spec(self) -> TensorSpec:
        """The noise as an input."""
        draw = Draw("normal") if self.distribution == "normal" else Draw("uniform")
        return TensorSpec(self.name, self.shape, "float32", f"{self.distribution} noise", draw)


@dataclass(frozen=True)
class Layer:
    """A layer of the model: the same name in both frameworks and in every node's address."""

    name: str
    kind: str


@dataclass(frozen=True)
class Adam:
    """Adam, bias-corrected: ``p - lr * mhat / (sqrt(vhat) + epsilon)`` (Kingma and Ba 2015, algorithm 1).

    The step counter is one float32 scalar shared by all parameters.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    op: str = "ApplyAdam"

    STEP = "adam.step"

    @staticmethod
    def slots(parameter: str) -> tuple[str, str]:
        """Names of the first and second moment of a parameter."""
        return f"{parameter}.adam_m", f"{parameter}.adam_v"

    def variables(self, parameters: tuple[Variable, ...]) -> tuple[Variable, ...]:
        """The optimizer's own state, in interface order."""
        zero = Initialiser.constant(0.0)
        state = [Variable(self.STEP, (), zero)]
        for parameter in parameters:
            state += [Variable(slot, parameter.shape, zero) for slot in self.slots(parameter.name)]
        return tuple(state)

    def update(self, name: str, values: Mapping[str, Array], new: Mapping[str, Array]) -> Array:
        """The new value of parameter ``name`` in float64, from its old value and the step's new moments."""
        m, v = (new[f"{slot}.next"].astype(np.float64) for slot in self.slots(name))
        step = float(new[f"{self.STEP}.next"])
        denominator = np.sqrt(v / (1 - self.beta2**step)) + self.epsilon
        updated: Array = values[name] - self.learning_rate * (m / (1 - self.beta1**step)) / denominator
        return updated


Optimizer = Adam
"""The optimizers a workload can name (a union as more are added)."""


@dataclass(frozen=True)
class Interface:
    """What a graph takes and gives, in order, and which output feeds which input of the next step."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    state: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Workload:
    """One workload at one configuration, framework-neutral.

    Attributes:
        name: The workload's name.
        preset: The preset its configuration came from.
        config: The configuration (a frozen dataclass; see :mod:`fathom_onnx.workloads.config`).
        features: Batch inputs of both modes.
        targets: Further batch inputs of training.
        noise: Random tensors drawn in the step, per mode.
        parameters: Trained variables.
        buffers: Variables that the forward pass updates (running statistics).
        outputs: What inference gives.
        layers: The layers, in forward order.
        optimizer: The update rule.
        data: The data source that feeds it (a name of :data:`fathom_onnx.data.SOURCES`).
    """

    name: str
    preset: str
    config: Any
    features: tuple[TensorSpec, ...]
    targets: tuple[TensorSpec, ...]
    noise: Mapping[Mode, tuple[Noise, ...]]
    parameters: tuple[Variable, ...]
    buffers: tuple[Variable, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[Layer, ...]
    optimizer: Optimizer
    data: str = "synthetic"

    LOSS = "loss"

    def batch_inputs(self, mode: Mode) -> tuple[TensorSpec, ...]:
        """What a data source must provide for one step."""
        return self.features + (self.targets if mode == "training" else ())

    def variables(self, mode: Mode) -> tuple[Variable, ...]:
        """Parameters, buffers and, in training, the optimizer's state."""
        state = self.optimizer.variables(self.parameters) if mode == "training" else ()
        return self.parameters + self.buffers + state

    def interface(self, mode: Mode, noise: NoiseSource = "graph") -> Interface:
        """Inputs and outputs of the graph of ``mode``, the same for every framework."""
        drawn = tuple(n.spec for n in self.noise.get(mode, ())) if noise == "input" else ()
        variables = self.variables(mode)
        inputs = self.batch_inputs(mode) + drawn + tuple(v.spec for v in variables)
        if mode == "inference":
            return Interface(inputs, self.outputs, ())
        outputs = (TensorSpec(self.LOSS, ()), *(v.next for v in variables))
        return Interface(inputs, outputs, tuple((v.next.name, v.name) for v in variables))

    def initial_values(self, mode: Mode, seed: int) -> dict[str, Array]:
        """Starting values of every variable of ``mode``."""
        return {v.name: v.initialiser.sample(v.name, v.shape, v.dtype, seed) for v in self.variables(mode)}
