"""``tensor.data = other`` as a recording can follow it: the same memory with other values."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Assignments"]

_SET = Tensor.data.__set__  # type: ignore[attr-defined]


class Assignments(TorchFunctionMode):
    """While entered, a tensor of the same shape and type that is assigned to ``.data`` is copied there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == _SET and args[0].shape == args[1].shape and args[0].dtype == args[1].dtype:
            args[0].data.copy_(args[1])
            return None
        return func(*args, **(kwargs or {}))
