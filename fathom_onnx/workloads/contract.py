"""The workload contract: a framework-neutral description of inputs, outputs, variables, layers and update rule.

A workload is data. Its tensors have one canonical layout (convolution weights OIHW, linear weights [out, in], images
NCHW, labels as float one-hot), and its variables say how they start. Each framework implements the model against this
contract, so that the graphs of two frameworks can be exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fathom_onnx.errors import UsageError

from .optimizers import RATE, Adam, AdamW, GradientDescent, Gradients, Optimizer, RMSProp
from .variables import Array, Draw, Initialiser, Noise, TensorSpec, Variable, initial_values

__all__ = [
    "MODES",
    "RATE",
    "Adam",
    "AdamW",
    "Array",
    "Draw",
    "GradientDescent",
    "Gradients",
    "Initialiser",
    "Interface",
    "Layer",
    "Mode",
    "Noise",
    "NoiseSource",
    "Optimizer",
    "RMSProp",
    "TensorSpec",
    "Variable",
    "Workload",
    "initial_values",
]

Mode = Literal["inference", "training"]
"""What a graph computes: an inference step, or a whole training step."""

MODES: tuple[Mode, ...] = ("inference", "training")
"""All modes."""

NoiseSource = Literal["graph", "input"]
"""Where random tensors come from: the graph's own random ops, or graph inputs (for verification)."""


@dataclass(frozen=True)
class Layer:
    """A layer of the model; both frameworks, and the addresses of nodes, use its name.

    Attributes:
        name: The name.
        kind: What it is, in words.
    """

    name: str
    kind: str


@dataclass(frozen=True)
class Interface:
    """Inputs and outputs of a graph, in order, and the state: pairs (output, input of the next step that it feeds)."""

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
        outputs: Outputs of inference.
        layers: The layers, in forward order.
        parameters: Trained variables.
        optimizer: The update rule.
        targets: Further batch inputs of training.
        noise: Random tensors drawn in the step, by mode.
        buffers: Variables that the forward pass of training updates (running statistics).
        frozen: Variables that a training step reads and does not change (a target network).
        data: The data source that feeds it (a name of :data:`fathom_onnx.data.SOURCES`).
        gradients: What is done to gradients before the update.
        modes: The modes that it has.
        caches: Variables that a step of inference computes new values of (keys and values of the tokens so far).
        rate_input: Whether the learning rate is an input of the training step (:data:`RATE`) and not a constant of it.
        row_gradients: Parameter to the batch input with the numbers of its rows that a step reads, and nothing else of
            it. Its gradient is one row for each of these numbers, in their order, and no tensor as large as it: the
            update adds each to its row, and touches no other. Of plain gradient descent only.

    Raises:
        ValueError: There are row gradients that the update rule or the treatment of gradients cannot take.
    """

    name: str
    preset: str
    config: Any
    features: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[Layer, ...]
    parameters: tuple[Variable, ...]
    optimizer: Optimizer
    targets: tuple[TensorSpec, ...] = ()
    noise: Mapping[Mode, tuple[Noise, ...]] = field(default_factory=dict)
    buffers: tuple[Variable, ...] = ()
    frozen: tuple[Variable, ...] = ()
    data: str = "synthetic"
    gradients: Gradients = field(default_factory=Gradients)
    modes: tuple[Mode, ...] = MODES
    caches: tuple[Variable, ...] = ()
    rate_input: bool = False
    row_gradients: Mapping[str, str] = field(default_factory=dict)

    LOSS = "loss"

    def __post_init__(self) -> None:
        plain = isinstance(self.optimizer, GradientDescent) and self.gradients == Gradients()
        if self.row_gradients and not plain:
            raise ValueError("gradients by rows are for gradient descent alone: other rules change rows without one")

    @property
    def batch_size(self) -> int | None:
        """The configuration's batch size; None where it has no field ``batch``."""
        size = getattr(self.config, "batch", None)
        return None if size is None else int(size)

    def check_mode(self, mode: Mode) -> None:
        """Refuse a mode that the workload lacks.

        Raises:
            UsageError: It does.
        """
        if mode not in self.modes:
            raise UsageError(f"workload '{self.name}' has no {mode} step", f"give the mode '{self.modes[0]}'")

    def batch_inputs(self, mode: Mode) -> tuple[TensorSpec, ...]:
        """The tensors that a data source must provide for one step."""
        return self.features + (self.targets if mode == "training" else ())

    @property
    def slots(self) -> tuple[Variable, ...]:
        """The optimizer's state, in interface order."""
        return self.optimizer.variables(self.parameters)

    def carried(self, mode: Mode) -> tuple[Variable, ...]:
        """Variables that a step computes new values of, in interface order; in inference the caches."""
        if mode == "inference":
            return self.caches
        return self.parameters + self.buffers + self.slots

    def variables(self, mode: Mode) -> tuple[Variable, ...]:
        """All variables of a mode, in interface order.

        Parameters and buffers; then caches in inference, in training optimizer state, frozen ones and the learning rate
        where it is an input.
        """
        if mode == "inference":
            return self.parameters + self.buffers + self.caches
        start = Initialiser.constant(self.optimizer.learning_rate) if self.rate_input else None
        rate = () if start is None else (Variable(RATE, (), start),)
        return self.carried(mode) + self.frozen + rate

    def gradient(self, parameter: Variable) -> TensorSpec:
        """The gradient of a parameter as a tensor: of its shape or, of a row gradient, one row for each row read."""
        numbers = {spec.name: spec.shape for spec in self.features}.get(self.row_gradients.get(parameter.name, ""))
        if numbers is None:
            return parameter.spec
        return replace(parameter.spec, shape=(math.prod(numbers), *parameter.shape[1:]))

    def interface(self, mode: Mode, noise: NoiseSource = "graph") -> Interface:
        """Inputs and outputs of the graph of ``mode``, the same for every framework."""
        drawn = tuple(n.spec for n in self.noise.get(mode, ())) if noise == "input" else ()
        inputs = self.batch_inputs(mode) + drawn + tuple(v.spec for v in self.variables(mode))
        carried = self.carried(mode)
        made = self.outputs if mode == "inference" else (TensorSpec(self.LOSS, ()),)
        outputs = (*made, *(v.next for v in carried))
        return Interface(inputs, outputs, tuple((v.next.name, v.name) for v in carried))

    def initial_values(self, mode: Mode, seed: int) -> dict[str, Array]:
        """Initial values of all variables of ``mode``."""
        return initial_values(self.variables(mode), seed)
