"""The update of parameters in the reference step, by PyTorch's own optimizers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from fathom_onnx.workloads.contract import Adam, GradientDescent, Workload

from . import optimizers

__all__ = ["update"]

_ADAM_STATE = ("exp_avg", "exp_avg_sq")
"""What PyTorch's Adam calls the moments, in the order of the slots."""


def _no_mark(scope: str, op: str) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


def update(
    workload: Workload, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Update parameters in place.

    PyTorch has Adam and plain descent. It has neither RMSProp with epsilon inside the root nor a clipping without an
    epsilon of its own: these are the formulas that are exported (:mod:`fathom_exporters.torch.optimizers`), which the
    tests compare with NumPy.

    Args:
        workload: The workload, with the update rule and the treatment of gradients.
        parameters: Parameter name to the tensor to change.
        state: The optimizer's state, and noise that is added to gradients, by name.
        gradients: Gradients by parameter name.

    Returns:
        The optimizer's new state by variable name.
    """
    rule = workload.optimizer
    gradients = optimizers.treat(workload.gradients, state, gradients, _no_mark)
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    try:
        if isinstance(rule, Adam):
            return _adam(rule, parameters, state)
        if isinstance(rule, GradientDescent):
            torch.optim.SGD(parameters.values(), rule.learning_rate, foreach=False).step()
            return {}
    finally:
        for parameter in parameters.values():
            parameter.grad = None
    new = optimizers.apply_rule(rule, {**state, **parameters}, gradients, _no_mark)
    for name, parameter in parameters.items():
        parameter.copy_(new.pop(name))
    return new


def _adam(rule: Adam, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A step of ``torch.optim.Adam`` from the given state."""
    optimizer = torch.optim.Adam(
        parameters.values(), rule.learning_rate, (rule.beta1, rule.beta2), rule.epsilon, foreach=False
    )
    new: dict[str, Tensor] = {rule.STEP: state[rule.STEP] + 1}
    for name, parameter in parameters.items():
        moments = [state[slot].clone() for slot in rule.slots(name)]
        own: dict[str, Any] = dict(zip(_ADAM_STATE, moments, strict=True))
        optimizer.state[parameter] = {"step": state[rule.STEP].to(torch.float32).clone(), **own}
        new |= dict(zip(rule.slots(name), moments, strict=True))
    optimizer.step()
    return new
