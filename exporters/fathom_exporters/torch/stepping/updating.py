"""The update of parameters by the user's own optimizer, on other tensors than its own.

An optimizer of ``torch.optim`` keeps its parameters in groups and its state by parameter. A *twin* has the same class,
options and hooks, with other tensors in their place; its own ``step()`` is what runs, and what is recorded.

A recording knows no numbers, only tensors. Where an optimizer reads one from a tensor (a step count), the tensor itself
goes on (:func:`numbers_stay_tensors`); the arithmetic is the optimizer's own.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import sys
import unittest.mock
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from fathom_onnx.errors import ExportError

__all__ = ["apply_op", "drop_hooks", "group_numbers", "initial_state", "numbers_stay_tensors", "twin"]

_OPS = {
    "SGD": "ApplyGradientDescent",
    "RMSprop": "ApplyRMSProp",
    "Adagrad": "ApplyAdagrad",
    "Adadelta": "ApplyAdagrad",
    "ASGD": "ApplyGradientDescent",
    "Rprop": "ApplyGradientDescent",
}
"""Optimizer class to canonical op, where it is not of Adam's kind: moments of gradient and square."""

_STEP_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
"""Attributes of an optimizer in which its hooks are."""


def group_numbers(optimizer: Optimizer) -> dict[int, int]:
    """Identity of a parameter to the number of its group."""
    return {id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]}


def apply_op(optimizer: Optimizer) -> str:
    """The canonical op of an optimizer's update."""
    given = getattr(optimizer, "OP", None)
    if isinstance(given, str):
        return given
    name = type(optimizer).__name__
    if name == "SGD" and any(group.get("momentum") for group in optimizer.param_groups):
        return "ApplyMomentum"
    return _OPS.get(name, "ApplyAdam" if "betas" in optimizer.defaults or "Ada" in name else "ApplyMomentum")


def twin(
    optimizer: Optimizer,
    tensors: Mapping[nn.Parameter, Tensor],
    state: Mapping[nn.Parameter, Mapping[str, Any]],
    options: Mapping[tuple[int, str], Tensor] | None = None,
    capturable: bool = False,
) -> Optimizer:
    """An optimizer like the given one, with other tensors.

    Args:
        optimizer: The optimizer; it is not changed.
        tensors: Its parameters to the tensors that take their places; a parameter that is not here is left out.
        state: Parameter to its state.
        options: (Number of a group, name of an option) to the tensor that takes its place, such as a learning rate.
        capturable: Whether the optimizer shall use its forms for recording, where it has them.
    """
    made: Optimizer = object.__new__(type(optimizer))
    made.__dict__.update({k: v for k, v in optimizer.__dict__.items() if k != "step"})  # a scheduler replaces it
    made.param_groups = []
    for number, group in enumerate(optimizer.param_groups):
        own = {**group, "params": [tensors[p] for p in group["params"] if p in tensors]}
        own.update({k: v for k, v in (("foreach", False), ("fused", False)) if k in own})
        if "capturable" in own:
            own["capturable"] = capturable
        own.update({option: tensor for (n, option), tensor in (options or {}).items() if n == number})
        if own["params"]:
            made.param_groups.append(own)
    made.state = defaultdict(dict, {tensors[p]: dict(values) for p, values in state.items() if p in tensors})
    return made


def drop_hooks(optimizer: Optimizer) -> None:
    """Take the hooks off a twin, which the user's optimizer keeps."""
    for name in _STEP_HOOKS:
        setattr(optimizer, name, type(getattr(optimizer, name, {}))())


def with_marked_hooks(optimizer: Optimizer, mark: Callable[[], AbstractContextManager[Any]]) -> Optimizer:
    """A twin whose hooks run within a mark."""

    def marked(hook: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(hook)
        def run(*args: Any, **kwargs: Any) -> Any:
            with mark():
                return hook(*args, **kwargs)

        return run

    for name in _STEP_HOOKS:
        hooks = getattr(optimizer, name, None) or {}
        setattr(optimizer, name, type(hooks)((key, marked(hook)) for key, hook in hooks.items()))
    return optimizer


class _TensorNumbers(TorchFunctionMode):
    """A number read from a tensor stays a tensor, and a tensor can be a factor where PyTorch wants a number."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.item:
            return args[0]
        factor = kwargs.get("value", kwargs.get("alpha"))
        name = getattr(func, "__name__", "")
        bare = name.rstrip("_")
        if not isinstance(factor, Tensor) or bare not in ("addcdiv", "addcmul", "add", "sub"):
            return func(*args, **kwargs)
        x, *rest = args
        term = rest[0] / rest[1] if bare == "addcdiv" else rest[0] * rest[1] if bare == "addcmul" else rest[0]
        term = term * (-factor if bare == "sub" else factor)
        return x.add_(term) if name.endswith("_") else x + term


def _largest(choose: Callable[[Tensor, Tensor], Tensor], own: Callable[..., Any]) -> Callable[..., Any]:
    def largest(*values: Any, **kwargs: Any) -> Any:
        if not any(isinstance(v, Tensor) for v in values) or len(values) < 2:
            return own(*values, **kwargs)
        like = next(v for v in values if isinstance(v, Tensor))
        return functools.reduce(choose, (v if isinstance(v, Tensor) else torch.full_like(like, v) for v in values))

    return largest


@contextlib.contextmanager
def numbers_stay_tensors(optimizer: Optimizer) -> Iterator[None]:
    """While entered, the optimizer's ``step()`` can be recorded."""
    own = sys.modules[inspect.unwrap(type(optimizer).step).__module__]
    with contextlib.ExitStack() as stack:
        for name, choose in (("max", torch.maximum), ("min", torch.minimum)):
            taken = vars(own).get(name, getattr(builtins, name))
            stack.enter_context(unittest.mock.patch.object(own, name, _largest(choose, taken), create=True))
        stack.enter_context(_TensorNumbers())
        stack.enter_context(torch.compiler._compile_session_context())
        yield


class _FirstValues(dict[str, Any]):
    """A state that remembers what each entry was first set to."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, Any] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        self.first.setdefault(key, value.detach().clone() if isinstance(value, Tensor) else value)
        super().__setitem__(key, value)


def initial_state(optimizer: Optimizer, group: int, shape: tuple[int, ...], dtype: torch.dtype) -> dict[str, Any]:
    """The state that an optimizer would start a parameter with, before its first step: tensors, and other values.

    Args:
        optimizer: The optimizer.
        group: Number of the parameter's group.
        shape: Shape of a parameter like it.
        dtype: Its element type.

    Raises:
        ExportError: The first step is unlike all others.
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ExportError("a step of LBFGS runs the model as often as its values ask for", "use another optimizer")
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ExportError("SparseAdam takes sparse gradients, which ONNX does not have", "use Adam")
    like = nn.Parameter(torch.zeros(shape, dtype=dtype))
    like.grad = torch.zeros(shape, dtype=dtype)
    own = optimizer.param_groups[group]
    made = twin(optimizer, {own["params"][0]: like}, {})
    made.param_groups = [{**own, **made.param_groups[0], "params": [like]}]
    drop_hooks(made)
    state = _FirstValues()
    made.state = defaultdict(_FirstValues, {like: state})
    if isinstance(optimizer, torch.optim.SGD):
        if own["momentum"] and own["dampening"]:
            raise ExportError(
                "SGD with dampening treats its first step unlike all others", "take one step before the export"
            )
        return {"momentum_buffer": torch.zeros(shape, dtype=dtype)} if own["momentum"] else {}
    if hasattr(made, "_init_group"):  # all of torch.optim have it, and no step is taken
        lists = len(inspect.signature(made._init_group).parameters) - 1
        made._init_group(made.param_groups[0], *[[] for _ in range(lists)])
    else:
        made.step()
    return state.first
