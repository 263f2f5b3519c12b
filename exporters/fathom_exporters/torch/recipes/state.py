"""The state of a live optimizer as variables: what is carried from step to step, and what it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Optimizer

from fathom_exporters.torch.stepping.updating import (
    drop_hooks,
    group_numbers,
    initial_state,
    numbers_stay_tensors,
    twin,
)
from fathom_onnx.errors import ExportError, one_line

__all__ = ["SHARED", "Start", "State", "needs_capturable_form", "state_of", "with_rates_as_tensors"]

SHARED = ("step", "mu_product", "eta", "mu")
"""Scalars of ``torch.optim``'s state that are the same for all parameters with the same options."""


@dataclass(frozen=True)
class Start:
    """How a variable starts: its shape and type, and its value, as a tensor or as one number for all elements."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    value: Tensor | float


@dataclass
class State:
    """An optimizer's state by variable.

    Attributes:
        slots: Parameter to its state: key to variable.
        constants: State that is no tensor and no number, by parameter.
        options: (Group, option) to the variable that holds it.
        starts: Variables of the state to how they start.
        option_starts: Variables of options to how they start.
    """

    slots: dict[str, dict[str, str]] = field(default_factory=dict)
    constants: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[tuple[int, str], str] = field(default_factory=dict)
    starts: dict[str, Start] = field(default_factory=dict)
    option_starts: dict[str, Start] = field(default_factory=dict)


def _fresh(optimizer: Optimizer, group: int, parameter: nn.Parameter) -> dict[str, Any]:
    """The state before a parameter's first step: starts by key, and other values.

    Raises:
        ExportError: It takes no step of its own accord.
    """
    try:
        small = initial_state(optimizer, group, (1,) * parameter.dim(), parameter.dtype)
        if not small:
            return {}
        with FakeTensorMode():
            shapes = initial_state(optimizer, group, tuple(parameter.shape), parameter.dtype)
    except ExportError:
        raise
    except Exception as error:
        raise _unrecordable(optimizer, error) from error
    found: dict[str, Any] = {}
    for key, value in small.items():
        if isinstance(value, Tensor):
            found[key] = Start(tuple(shapes[key].shape), value.dtype, float(value.reshape(-1)[0]))
        else:
            found[key] = value
    return found


def _held(optimizer: Optimizer, parameter: nn.Parameter) -> dict[str, Any]:
    """The state that an optimizer already has of a parameter."""
    return {
        key: Start(tuple(value.shape), value.dtype, value.detach()) if isinstance(value, Tensor) else value
        for key, value in (optimizer.state.get(parameter) or {}).items()
        if value is not None
    }


def state_of(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> State:
    """The state of an optimizer over the given parameters, by variable.

    Raises:
        ExportError: The optimizer has no state that can be carried from step to step.
    """
    state = State()
    groups = group_numbers(optimizer)
    shared: dict[tuple[Any, ...], str] = {}
    fresh: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        number = groups[id(parameter)]
        held = _held(optimizer, parameter)
        if not held:
            key = (number, tuple(parameter.shape), parameter.dtype)
            if key not in fresh:
                fresh[key] = _fresh(optimizer, number, parameter)
            held = fresh[key]
        options = {k: repr(v) for k, v in optimizer.param_groups[number].items() if k not in ("params", "param_names")}
        slots: dict[str, str] = {}
        for key_, start in held.items():
            if isinstance(start, int | float) and not isinstance(start, bool):
                start = Start((), torch.float32, float(start))
            if not isinstance(start, Start):
                state.constants.setdefault(name, {})[key_] = start
                continue
            if parameter.dtype == torch.float64 and start.shape == () and start.dtype == torch.float32:
                start = replace(start, dtype=torch.float64)  # the optimizer computes with a count in Python's numbers
            value = float(start.value) if start.shape == () and not _is_fake(start.value) else None
            if start.shape == () and key_ in SHARED and value is not None:
                mark = (key_, value, start.dtype, tuple(sorted(options.items())))
                slot = shared.setdefault(mark, _numbered(f"optimizer.{key_}", set(state.starts)))
            else:
                slot = f"{name}.{key_}"
            slots[key_] = slot
            state.starts.setdefault(slot, start)
        state.slots[name] = slots
    _put_options(optimizer, state)
    return state


def _is_fake(value: Any) -> bool:
    return isinstance(value, Tensor) and hasattr(value, "fake_mode")


def _numbered(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _put_options(optimizer: Optimizer, state: State) -> None:
    """Options that are tensors, such as a learning rate, become variables."""
    known: dict[int, str] = {}
    for number, group in enumerate(optimizer.param_groups):
        for option, value in group.items():
            if isinstance(value, Tensor):
                taken = {*state.starts, *state.option_starts}
                name = known.setdefault(id(value), _numbered(f"optimizer.{option}", taken))
                state.options[number, option] = name
                state.option_starts.setdefault(name, Start(tuple(value.shape), value.dtype, value.detach()))


def with_rates_as_tensors(optimizer: Optimizer) -> Optimizer:
    """An optimizer like the given one over the same parameters, with a tensor for each learning rate that is a number.

    Groups with the same learning rate share its tensor.
    """
    groups = optimizer.param_groups
    dtype = next((p.dtype for group in groups for p in group["params"]), torch.float32)
    numbers = {g["lr"] for g in groups if isinstance(g.get("lr"), int | float)}
    tensors = {rate: torch.tensor(rate, dtype=dtype) for rate in sorted(numbers)}
    options = {(n, "lr"): tensors[g["lr"]] for n, g in enumerate(groups) if g.get("lr") in tensors}
    own: dict[nn.Parameter, Tensor] = {p: p for group in groups for p in group["params"]}
    state: Any = optimizer.state  # whose keys PyTorch's types call tensors
    return twin(optimizer, own, state, options)


def needs_capturable_form(optimizer: Optimizer, parameter: nn.Parameter) -> bool:
    """Whether an optimizer's usual form branches on numbers, so that its form for recording is needed.

    Raises:
        ExportError: It cannot be recorded in either form.
    """
    group = group_numbers(optimizer)[id(parameter)]
    failure: Exception = RuntimeError("it takes no step")
    for capturable in (False, True):
        with FakeTensorMode(allow_non_fake_inputs=True):
            leaf = torch.empty(parameter.shape, dtype=parameter.dtype).requires_grad_(True)
            leaf.grad = torch.empty(parameter.shape, dtype=parameter.dtype)
            start = initial_state(optimizer, group, tuple(parameter.shape), parameter.dtype)
            options = {
                (group, option): torch.empty(value.shape, dtype=value.dtype)
                for option, value in optimizer.param_groups[group].items()
                if isinstance(value, Tensor)
            }
            state = {key: _unknown(value) for key, value in start.items()}
            made = twin(optimizer, {parameter: leaf}, {parameter: state}, options, capturable)
            drop_hooks(made)
            try:
                with numbers_stay_tensors(made):
                    made.step()
            except Exception as error:
                failure = error
            else:
                return capturable
    raise _unrecordable(optimizer, failure)


def _unrecordable(optimizer: Optimizer, error: Exception) -> ExportError:
    return ExportError(
        f"the optimizer {type(optimizer).__name__} cannot be recorded ({type(error).__name__}: {one_line(error)})",
        "its step takes dense gradients and no closure, and chooses by torch.where and not by a tensor's value",
    )


def _unknown(value: Any) -> Any:
    """A tensor whose value a fake tensor does not know."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return torch.empty((), dtype=torch.float32)
    return torch.empty(value.shape, dtype=value.dtype) if isinstance(value, Tensor) else value
