"""Values of a run, back in a PyTorch model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from fathom_onnx.recipes.giving import fitting_values
from fathom_onnx.workloads.contract import Array

__all__ = ["give_values"]


def give_values(model: nn.Module, values: Mapping[str, Array]) -> nn.Module:
    """Set parameters and buffers in place.

    Raises:
        DataError: A parameter has no value, or a value has another shape.
    """
    parameters = dict(model.named_parameters())
    own = {**parameters, **dict(model.named_buffers())}
    fitting = fitting_values({name: tuple(tensor.shape) for name, tensor in own.items()}, values, parameters)
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(torch.from_numpy(np.array(value)))
    return model
