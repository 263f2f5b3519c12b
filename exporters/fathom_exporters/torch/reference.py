"""A workload's step as PyTorch itself runs it, eagerly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from fathom_exporters.shared.reference import StepInParts
from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .built.update import update_in_place
from .models import make

__all__ = ["TorchReference"]


class TorchReference(StepInParts):
    """A workload's step in PyTorch; an implementation of :class:`fathom_onnx.exporting.ReferenceInParts`.

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
        self._own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}

    def _tensor(self, array: Array) -> Tensor:
        """A copy of an array as a tensor, of the reference's type where it is a floating one."""
        return torch.tensor(array, dtype=self._dtype if np.issubdtype(array.dtype, np.floating) else None)

    def _run(self, values: Mapping[str, Array], update: bool) -> StepResult:
        unread = set() if update else {slot.name for slot in self._workload.slots}
        given = {name: self._tensor(value) for name, value in values.items() if name not in unread}
        with torch.no_grad():
            for name in self._own.keys() & given.keys():
                self._own[name].copy_(given.pop(name))
        outputs = self._train(given, update) if self._mode == "training" else self._infer(given)
        arrays = {name: value.detach().numpy() for name, value in outputs.items()}
        return StepResult(arrays, self._gradients)

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the optimizer makes of given gradients; see :class:`fathom_onnx.exporting.Reference`."""
        given = {name: self._tensor(value) for name, value in values.items()}
        parameters = {p.name: nn.Parameter(given[p.name]) for p in self._workload.parameters}
        with torch.no_grad():
            slots = update_in_place(
                self._workload, parameters, given, {n: self._gradient(n, g, given) for n, g in gradients.items()}
            )
        new = {**parameters, **slots}
        return {f"{name}.next": value.detach().numpy() for name, value in new.items()}

    def _gradient(self, parameter: str, array: Array, given: Mapping[str, Tensor]) -> Tensor:
        """A given gradient; rows as the sparse tensor that they are the values of."""
        gradient, numbers = self._tensor(array), self._workload.row_gradients.get(parameter)
        if numbers is None:
            return gradient
        size = given[parameter].shape
        return torch.sparse_coo_tensor(given[numbers].reshape(1, -1), gradient, size, check_invariants=True)

    def _infer(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = self._model(batch)
        return {spec.name: outputs[spec.name].clone() for spec in self._workload.interface("inference").outputs}

    def _train(self, given: Mapping[str, Tensor], update: bool) -> dict[str, Tensor]:
        """The loss, and the new state as the module and, with an update, the optimizer hold it."""
        loss = cast("Callable[..., Tensor]", self._model.loss)(self._model(given), given)
        parameters = {p.name: cast("nn.Parameter", self._own[p.name]) for p in self._workload.parameters}
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            named = dict(zip(parameters, gradients, strict=True))
            slots = update_in_place(self._workload, parameters, given, named) if update else {}
            carried = {
                # the next step changes the module's own
                v.next.name: slots[v.name] if v.name in slots else self._own[v.name].clone()
                for v in (self._workload.carried("training") if update else self._workload.buffers)
            }
        # of a sparse gradient the rows, in the order in which they were read
        made = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
        self._gradients = {name: gradient.numpy() for name, gradient in zip(parameters, made, strict=True)}
        return {Workload.LOSS: loss, **carried}
