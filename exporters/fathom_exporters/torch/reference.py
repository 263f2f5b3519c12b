"""A workload's step as PyTorch itself runs it, eagerly, with the kinks it goes through."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fathom_onnx.exporting import Kink, StepResult, kink_key
from fathom_onnx.workloads.contract import Array, Layer, Mode, Workload

from .built.update import update
from .models import make

__all__ = ["TorchReference"]

_RELU_IN_PLACE: tuple[Any, ...] = (torch.relu_, Tensor.relu_)
_CLIP_IN_PLACE: tuple[Any, ...] = (F.hardtanh_, torch.clamp_, Tensor.clamp_)

_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "Relu": (F.relu, torch.relu, Tensor.relu, *_RELU_IN_PLACE),
    "Clip": (F.hardtanh, torch.clamp, Tensor.clamp, *_CLIP_IN_PLACE),
    "ArgMax": (torch.argmax, Tensor.argmax),
    "MaxPool": (F.max_pool2d, torch.max_pool2d),
}
"""Kind of kink to the functions that have it."""


class _KinkRecorder(TorchFunctionMode):
    """While entered, records the kinks of the layers; where a kink has prescribed branches, these are taken.

    Functions outside of layers that have a kink are left alone: norms of gradients are clamped too.

    Attributes:
        layer: The layer that is running, set from outside; empty outside of all.
        kinks: Kink key to the kink.
    """

    def __init__(self, layers: Mapping[str, Layer], branches: Mapping[str, Array]) -> None:
        super().__init__()
        self.layer = ""
        self.kinks: dict[str, Kink] = {}
        self._layers, self._branches = layers, branches
        self._times: Counter[str] = Counter()

    def _next_kink(self) -> tuple[str, Tensor | None]:
        """The key of the layer's next kink, and the branches prescribed there or None for its own."""
        key = kink_key(self.layer, self._times[self.layer])
        self._times[self.layer] += 1
        branches = self._branches.get(key)
        return key, None if branches is None else torch.from_numpy(branches)

    def _relu(self, call: Callable[[], Any], x: Tensor, inplace: bool = False) -> Any:
        key, prescribed = self._next_kink()
        before = x.detach().clone()  # an activation in place overwrites it
        mask = before > 0 if prescribed is None else prescribed
        self.kinks[key] = Kink("Relu", before.numpy(), mask.numpy())
        if prescribed is None:
            return call()
        return x.mul_(mask) if inplace else x * mask

    def _clip(self, call: Callable[[], Any], x: Tensor, *_: Any, inplace: bool = False, **__: Any) -> Any:
        low, high = self._layers[self.layer].bounds
        key, prescribed = self._next_kink()
        before = x.detach().clone()
        own = (before > low).to(torch.int8) + (before >= high).to(torch.int8)
        region = own if prescribed is None else prescribed
        self.kinks[key] = Kink("Clip", before.numpy(), region.numpy())
        if prescribed is None:
            return call()
        clipped = x * (region == 1) + low * (region == 0) + high * (region == 2)
        return x.copy_(clipped) if inplace else clipped

    def _argmax(self, call: Callable[[], Any], x: Tensor, *_: Any, **__: Any) -> Any:
        key, prescribed = self._next_kink()
        index = call() if prescribed is None else prescribed
        self.kinks[key] = Kink("ArgMax", x.detach().numpy(), index.numpy())
        return index

    def _max_pool(self, _: Callable[[], Any], x: Tensor, *args: Any, **kwargs: Any) -> Any:
        key, prescribed = self._next_kink()
        settings = {name: value for name, value in kwargs.items() if name != "return_indices"}
        if prescribed is None:
            y, indices = F.max_pool2d_with_indices(x, *args[:5], **settings)
        else:
            indices = prescribed
            y = x.flatten(2).gather(2, indices.flatten(2)).view(indices.shape)
        self.kinks[key] = Kink("MaxPool", x.detach().numpy(), indices.numpy())
        return y

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        layer = self._layers.get(self.layer)
        handlers: dict[str, Callable[..., Any]] = {
            "Relu": self._relu,
            "Clip": self._clip,
            "ArgMax": self._argmax,
            "MaxPool": self._max_pool,
        }
        if layer is not None and func in _FUNCTIONS[layer.kink]:
            more = {"inplace": True} if func in (*_RELU_IN_PLACE, *_CLIP_IN_PLACE) else {}
            return handlers[layer.kink](lambda: func(*args, **kwargs), *args, **kwargs, **more)
        return func(*args, **kwargs)


class TorchReference:
    """A workload's step in PyTorch; an implementation of :class:`fathom_onnx.exporting.Reference`.

    It shares with the export what the user wrote, the model and its loss. The module is made anew and run as it is:
    values are put into its own parameters and buffers, it updates its running statistics itself, and the update is
    that of PyTorch's own optimizer where there is one (:mod:`fathom_exporters.torch.built.update`).
    """

    def __init__(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._mode = workload, mode
        self._dtype = getattr(torch, dtype)
        self._model = make(workload).to(self._dtype)
        self._model.train(mode == "training")
        self._gradients: dict[str, Array] = {}
        self._layers = {layer.name: layer for layer in workload.layers}
        self._own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    @contextlib.contextmanager
    def _layers_told(self, recorder: _KinkRecorder) -> Iterator[None]:
        """While entered, the recorder knows which layer is running."""
        handles = []
        for name, module in self._model.named_modules():
            if name in self._layers:

                def enter(_module: Any, _args: Any, name: str = name) -> None:
                    recorder.layer = name

                def leave(_module: Any, _args: Any, _result: Any) -> None:
                    recorder.layer = ""

                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def step(self, values: Mapping[str, Array], branches: Mapping[str, Array] | None = None) -> StepResult:
        """Run one step; see :class:`fathom_onnx.exporting.Reference`."""
        recorder = _KinkRecorder({n: layer for n, layer in self._layers.items() if layer.kink}, branches or {})
        given = {name: self._tensor(value) for name, value in values.items()}
        with torch.no_grad():
            for name in self._own.keys() & given.keys():
                self._own[name].copy_(given.pop(name))
        with recorder, self._layers_told(recorder):
            outputs = self._train(given) if self._mode == "training" else self._infer(given)
        arrays = {name: value.detach().clone().numpy() for name, value in outputs.items()}
        return StepResult(arrays, recorder.kinks, self._gradients)

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the optimizer makes of given gradients; see :class:`fathom_onnx.exporting.Reference`."""
        given = {name: self._tensor(value) for name, value in values.items()}
        parameters = {p.name: nn.Parameter(given[p.name].clone()) for p in self._workload.parameters}
        with torch.no_grad():
            slots = update(self._workload, parameters, given, {n: self._tensor(g) for n, g in gradients.items()})
        new = {**parameters, **slots}
        return {f"{name}.next": value.detach().numpy() for name, value in new.items()}

    def _infer(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = self._model(batch)
        return {spec.name: outputs[spec.name] for spec in self._workload.outputs}

    def _train(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss, and the new state as the module and the optimizer hold it."""
        loss = cast("Callable[..., Tensor]", self._model.loss)(self._model(given), given)
        parameters = {p.name: cast("nn.Parameter", self._own[p.name]) for p in self._workload.parameters}
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            slots = update(self._workload, parameters, given, dict(zip(parameters, gradients, strict=True)))
        self._gradients = {name: gradient.numpy() for name, gradient in zip(parameters, gradients, strict=True)}
        new = {**self._own, **slots}
        return {Workload.LOSS: loss, **{v.next.name: new[v.name] for v in self._workload.carried("training")}}
