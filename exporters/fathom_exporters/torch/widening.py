"""Float64 in place of float32 in what a module and an optimizer do themselves: what the judge of a graph runs in.

A graph says float32 by number, and so does what its judge runs: whatever asks for float32 by name (a normalisation that
casts, a constant of the loss) is given float64, and whatever asks how small or large a number of its type may be is
told float32's, which the graph holds. Adafactor's epsilon is the smallest number that changes 1: with float64's a
gradient of 1e-17, zero but for rounding, moves a parameter by a full learning rate, and with float32's not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

__all__ = ["limits_of_float32", "widened"]

_finfo = torch.finfo
_l1_loss = F.l1_loss
_SINGLE = torch.finfo(torch.float32)

_BY_TYPE: dict[str, tuple[tuple[int, str, float], ...]] = {
    "rms_norm": ((3, "eps", _SINGLE.eps),),
    "nan_to_num": ((2, "posinf", _SINGLE.max), (3, "neginf", _SINGLE.min)),
    "nan_to_num_": ((2, "posinf", _SINGLE.max), (3, "neginf", _SINGLE.min)),
}
"""Function to its arguments that are a limit of the number type where they are left out: position, name, float32's."""


class _Widening(TorchFunctionMode):
    """While entered, float32 by name, or in a tensor from elsewhere, becomes float64.

    Args:
        narrow: Whether limits of number types that are not given are those of float32.
    """

    def __init__(self, narrow: bool) -> None:
        super().__init__()
        self._by_type = _BY_TYPE if narrow else {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        name = getattr(func, "__name__", "")
        kwargs = dict(kwargs or {})
        for position, option, value in self._by_type.get(name, ()):
            if len(args) > position:
                kept = value if args[position] is None else args[position]
                args = (*args[:position], kept, *args[position + 1 :])
            elif kwargs.get(option) is None:
                kwargs[option] = value
        if name.endswith("_") or kwargs.get("out") is not None:  # what is changed in place must stay itself
            first, rest = args[:1], args[1:]
            named = {k: v if k == "out" else _widened(v) for k, v in kwargs.items()}
            return func(*first, *tree_map(_widened, rest), **named)
        args, kwargs = tree_map(_widened, (args, kwargs))
        return func(*args, **kwargs)


def _widened(value: Any) -> Any:
    if value is torch.float32:
        return torch.float64
    if isinstance(value, Tensor) and value.dtype == torch.float32 and not value.requires_grad:
        return value.double()
    return value


def _narrow_finfo(type: torch.dtype | None = None) -> torch.finfo:  # PyTorch's own name of the argument
    kind = torch.get_default_dtype() if type is None else type
    return _finfo(torch.float32 if kind == torch.float64 else kind)


@contextlib.contextmanager
def limits_of_float32() -> Iterator[None]:
    """While entered, ``torch.finfo`` of float64 is that of float32."""
    with mock.patch.object(torch, "finfo", _narrow_finfo):
        yield


def _l1_loss_with_weights(*args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's own function, which hands its weights on to no mode and so forgets them in any."""
    with torch._C.DisableTorchFunction():
        return _l1_loss(*args, **kwargs)


@contextlib.contextmanager
def widened(narrow: bool = True) -> Iterator[None]:
    """While entered, float32 by name, or in a tensor from elsewhere, becomes float64.

    Args:
        narrow: Whether limits of number types that are not given are those of float32.
    """
    with mock.patch.object(F, "l1_loss", _l1_loss_with_weights), _Widening(narrow):
        yield
