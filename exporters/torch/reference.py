"""The step as PyTorch itself runs it, eagerly, with its ReLUs and max pools in view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from fathom_onnx.exporting import Kink, StepResult
from fathom_onnx.workloads.contract import Array, Mode, Workload

from . import models
from .step import make_step

__all__ = ["TorchReference"]


class _Kinks(TorchFunctionMode):
    """Notes the input and branches of every ReLU and max pool; makes them take given branches where there are any."""

    def __init__(self, branches: Mapping[str, Array]) -> None:
        super().__init__()
        self.layer = ""
        self.found: dict[str, Kink] = {}
        self._branches = branches

    def _relu(self, x: Tensor, call: Callable[[], Any]) -> Any:
        given = self._branches.get(self.layer)
        mask = x.detach() > 0 if given is None else torch.from_numpy(given)
        self.found[self.layer] = Kink("Relu", x.detach().numpy(), mask.numpy())
        return call() if given is None else x * mask

    def _max_pool(self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = self._branches.get(self.layer)
        wanted = {name: value for name, value in kwargs.items() if name != "return_indices"}
        if given is None:
            y, indices = F.max_pool2d_with_indices(x, *args[1:6], **wanted)
        else:
            indices = torch.from_numpy(given)
            y = x.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)
        self.found[self.layer] = Kink("MaxPool", x.detach().numpy(), indices.numpy())
        return y

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.relu, torch.relu, Tensor.relu):
            return self._relu(args[0], lambda: func(*args, **kwargs))
        if func in (F.max_pool2d, torch.max_pool2d):
            return self._max_pool(args[0], args, kwargs)
        name = resolve_name(func) or ""
        if any(word in name for word in ("hardtanh", "relu6", "clamp", "max_pool1d", "max_pool3d")):
            raise ValueError(f"{name} is not smooth and has no branches that a check can follow")
        return func(*args, **kwargs)


class TorchReference:
    """A workload's step in PyTorch; an implementation of :class:`fathom_onnx.exporting.Reference`."""

    def __init__(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._dtype = getattr(torch, dtype)
        self._model = models.make(workload).to(self._dtype)
        self._layers = {layer.name for layer in workload.layers}
        self._step = make_step(self._model, workload, mode)

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def step(self, values: Mapping[str, Array], branches: Mapping[str, Array] | None = None) -> StepResult:
        """Run one step; see :class:`fathom_onnx.exporting.Reference`."""
        kinks = _Kinks(branches or {})
        handles = []
        for name, module in self._model.named_modules():
            if name in self._layers:

                def enter(_module: Any, _args: Any, name: str = name) -> None:
                    kinks.layer = name

                handles.append(module.register_forward_pre_hook(enter))
        try:
            with kinks:
                outputs = self._step({name: self._tensor(value) for name, value in values.items()})
        finally:
            for handle in handles:
                handle.remove()
        return StepResult({name: value.detach().numpy() for name, value in outputs.items()}, kinks.found)
