"""The subject of a recording: a module with its loss and optimizer, and the workload that says what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from fathom_onnx.workloads.contract import Workload

__all__ = ["Batch", "Subject"]

Batch = Mapping[str, Any]
"""A step's inputs by interface name."""


@dataclass(frozen=True)
class Subject:
    """What a step is made of.

    Attributes:
        model: The module. A step puts tensors in the places of its parameters and buffers, and takes them out again.
        workload: What the step's inputs and outputs are called.
        paths: Variable to the path of the module's parameter or buffer that it stands for.
        parameters: Trained variable to the module's own parameter.
        forward: From a batch to the outputs.
        loss: From (outputs, batch) to the scalar loss.
        optimizer: The optimizer, over the module's own parameters; None for inference alone.
        slots: Parameter to its optimizer state: key of the state to the variable that holds it. Several parameters can
            share a variable that counts steps.
        constants: State that is no tensor and stays as it is, by parameter.
        options: (Number of a parameter group, option) to the variable that takes its place: a learning rate.
        outputs: From the outputs of inference to tensors by interface name.
        root: The layer of what is computed in no other.
        layers: Path of a module to the name of its layer, where that is not the path itself.
        parts: Parts that the batch is cut into along its first axis, whose gradients are added up.
        capturable: Whether the optimizer is recorded in its forms for recording.
        counters: Paths of counters of batches that no result depends on, and no variable stands for.
        draws: Whether the module draws random numbers itself, which a step then takes from the workload's noise.
    """

    model: nn.Module
    workload: Workload
    paths: Mapping[str, str]
    parameters: Mapping[str, nn.Parameter]
    forward: Callable[[Batch], Any]
    loss: Callable[[Any, Batch], Tensor]
    optimizer: Optimizer | None = None
    slots: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    constants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[tuple[int, str], str] = field(default_factory=dict)
    outputs: Callable[[Any], Mapping[str, Tensor]] = lambda outputs: outputs
    root: str = ""
    layers: Mapping[str, str] = field(default_factory=dict)
    parts: int = 1
    capturable: bool = False
    counters: frozenset[str] = frozenset()
    draws: bool = False
