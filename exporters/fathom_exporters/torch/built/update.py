"""The update of parameters in the reference step, by PyTorch's own optimizers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from fathom_exporters.torch.stepping.gradients import treat
from fathom_onnx.workloads.contract import RATE, Workload

from .optimizers import optimizer_of, slots_of

__all__ = ["update_in_place"]


def _no_mark(scope: str, op: str) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


def update_in_place(
    workload: Workload,
    parameters: Mapping[str, nn.Parameter],
    state: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Update parameters, and the optimizer's state of each, in place.

    PyTorch has Adam and plain descent. It has neither RMSProp with epsilon inside the root nor a clipping without an
    epsilon of its own: these are what is exported (:mod:`fathom_exporters.torch.built.optimizers`,
    :mod:`fathom_exporters.torch.stepping.gradients`), which the tests compare with NumPy.

    Args:
        workload: The workload, with the update rule and the treatment of gradients.
        parameters: Parameter name to the tensor to change.
        state: The optimizer's state, noise for the gradients and the learning rate where it is an input, by name.
        gradients: Gradients by parameter name.

    Returns:
        The optimizer's new state by variable name.
    """
    treated = treat(workload.gradients, state, gradients, _no_mark)
    optimizer = optimizer_of(workload, parameters.values())
    if workload.rate_input:
        optimizer.param_groups[0]["lr"] = float(state[RATE])
    slots = slots_of(workload)
    for name, parameter in parameters.items():
        parameter.grad = treated[name]
        # the number of steps is one tensor, which each parameter would add one to
        own = {key: state[slot] for key, slot in slots[name].items()}
        optimizer.state[parameter] = {key: slot if slot.ndim else slot.clone() for key, slot in own.items()}
    with torch.no_grad():
        optimizer.step()
    new: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        new |= {slot: optimizer.state[parameter][key] for key, slot in slots[name].items()}
        parameter.grad = None
    return new
