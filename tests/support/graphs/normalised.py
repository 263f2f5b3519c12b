"""A workload of a user's own: convolution, a batch normalisation of any settings, ReLU and a linear layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from fathom_onnx.workloads.contract import (
    Adam,
    Draw,
    Initialiser,
    Layer,
    Optimizer,
    TensorSpec,
    Variable,
    Workload,
)

__all__ = ["NAME", "NormalisedConfig", "model_class", "normalised"]

NAME = "normalised"


@dataclass(frozen=True)
class NormalisedConfig:
    """No settings."""


def model_class(norm: Callable[[], nn.Module], activation: Callable[[], nn.Module] = nn.ReLU) -> type[nn.Module]:
    """The PyTorch model with a normalisation of 3 channels."""

    class Normalised(nn.Module):
        def __init__(self, config: NormalisedConfig) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3, bias=False)
            self.norm = norm()
            self.relu = activation()
            self.fc = nn.Linear(48, 5)

        def forward(self, batch):
            return {"logits": self.fc(self.relu(self.norm(self.conv(batch["x"]))).flatten(1))}

        def loss(self, outputs, batch) -> torch.Tensor:
            return F.cross_entropy(outputs["logits"], batch["labels"])

    return Normalised


def normalised(model: type[nn.Module], optimizer: Optimizer | None = None, left_out: str = "") -> Workload:
    """The workload with the variables of the model, but for the buffer ``left_out``."""
    made = model(NormalisedConfig())
    start = Initialiser("uniform", 0.5)
    buffers = {
        name: Variable(
            name,
            tuple(buffer.shape),
            Initialiser.constant(float(name.endswith("var"))),
            str(buffer.dtype).removeprefix("torch."),
        )
        for name, buffer in made.named_buffers()
        if name != left_out
    }
    return Workload(
        name=NAME,
        preset="tiny",
        config=NormalisedConfig(),
        features=(TensorSpec("x", (4, 2, 6, 6), draw=Draw("normal")),),
        targets=(TensorSpec("labels", (4, 5), draw=Draw("one_hot")),),
        outputs=(TensorSpec("logits", (4, 5)),),
        layers=(
            Layer("conv", "convolution"),
            Layer("norm", "batch norm"),
            Layer("relu", "relu"),
            Layer("fc", "linear"),
        ),
        parameters=tuple(Variable(n, tuple(p.shape), start) for n, p in made.named_parameters()),
        buffers=tuple(buffers.values()),
        optimizer=optimizer or Adam(1e-2),
    )
