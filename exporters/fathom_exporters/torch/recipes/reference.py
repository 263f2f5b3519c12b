"""PyTorch's own step of a recipe, run eagerly: the judge of its graph.

It shares with the export the module, the loss and the optimizer as the user made them, and the order of random draws.
The module itself runs, with other values in its parameters, and everything is put back afterwards. In float64 whatever
asks for float32 by name is given float64 instead (:mod:`fathom_exporters.torch.widening`).
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from fathom_exporters.shared.reference import StepInParts
from fathom_exporters.torch.stepping.drawing import Draws
from fathom_exporters.torch.stepping.leaving import attributes_kept
from fathom_exporters.torch.widening import limits_of_float32, widened
from fathom_onnx.exporting import StepResult
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .calling import named_outputs
from .derive import Described
from .state import SHARED
from .trial import evaluating

__all__ = ["RecipeReference"]


class RecipeReference(StepInParts):
    """A recipe's step in PyTorch; an implementation of :class:`fathom_onnx.exporting.ReferenceInParts`."""

    def __init__(self, workload: RecipeWorkload, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._mode = workload, mode
        self._dtype = getattr(torch, dtype)
        self._double = dtype == "float64"
        described: Described = workload.described
        self._described = described
        self._call = described.call
        self._model = described.call.model
        self._optimizer = workload.recipe.optimizer
        own = {tensor.dtype for tensor in (*self._model.parameters(), *self._model.buffers())}
        self._own_double = torch.float64 in own  # the limits of numbers are its own, and float32 by name is meant

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    @contextlib.contextmanager
    def _set(self, values: Mapping[str, Array]) -> Iterator[None]:
        """While entered, the module and the optimizer have the given values, in this reference's precision."""
        named = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        before = {name: (tensor.data, tensor.grad) for name, tensor in named.items()}
        usual = torch.get_default_dtype()
        state, options = self._optimizer_values()
        torch.set_default_dtype(self._dtype)
        try:
            for name, tensor in named.items():
                source = torch.tensor(values[name]) if name in values else tensor.data.clone()
                tensor.data = source.to(self._dtype) if source.is_floating_point() else source
                if tensor.is_leaf:
                    tensor.grad = None
            self._set_optimizer(values)
            with (
                attributes_kept(self._model),
                limits_of_float32() if self._double and not self._own_double else contextlib.nullcontext(),
            ):
                yield
        finally:
            torch.set_default_dtype(usual)
            now = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
            for name, tensor in now.items():
                tensor.data = before[name][0]
                if tensor.is_leaf:
                    tensor.grad = before[name][1]
            if self._optimizer is not None:
                self._optimizer.state = state
                for group, own in zip(self._optimizer.param_groups, options, strict=True):
                    group.update(own)

    def _widening(self) -> contextlib.AbstractContextManager[Any]:
        return widened(not self._own_double) if self._double else contextlib.nullcontext()

    def _optimizer_values(self) -> tuple[Any, list[dict[str, Any]]]:
        if self._optimizer is None:
            return None, []
        return self._optimizer.state, [dict(group) for group in self._optimizer.param_groups]

    def _set_optimizer(self, values: Mapping[str, Array]) -> None:
        """Give the optimizer the state and the tensor-valued options in ``values``."""
        described = self._described
        if self._optimizer is None or described.state is None or self._mode == "inference":
            return
        own = dict(self._model.named_parameters())
        fresh: dict[Any, dict[str, Any]] = defaultdict(dict)
        for name, slots in described.state.slots.items():
            fresh[own[name]] = dict(described.state.constants.get(name, {}))
            for key, slot in slots.items():
                value = torch.tensor(values[slot])
                # what has the parameter's shape is of its type; counts and their like stay as they are
                wide = value.is_floating_point() and (value.dim() > 0 or (key not in SHARED and own[name].dim() == 0))
                fresh[own[name]][key] = value.to(self._dtype) if wide else value
        self._optimizer.state = fresh
        for group in self._optimizer.param_groups:
            if group.get("capturable"):  # the form for graphs of a GPU, which the optimizer refuses on a CPU
                group["capturable"] = False
        for (number, option), variable in described.state.options.items():
            self._optimizer.param_groups[number][option] = self._tensor(values[variable])

    def _batch(self, values: Mapping[str, Array]) -> dict[str, Tensor]:
        return {name: self._tensor(values[name]) for name in self._call.paths if name in values}

    def _draws(self, values: Mapping[str, Array]) -> Draws:
        return Draws([self._tensor(values[n.name]) for n in self._workload.noise.get(self._mode, ())])

    def _run(self, values: Mapping[str, Array], update: bool) -> StepResult:
        with self._set(values):
            if self._mode == "training":
                return self._train(values, update)
            with evaluating(self._model), torch.no_grad(), self._draws(values), self._widening():
                features = {n: t for n, t in self._batch(values).items() if n in self._call.features}
                outputs = named_outputs(self._call.forward(features))
            return StepResult({spec.name: _array(outputs[spec.name]) for spec in self._workload.outputs})

    def _train(self, values: Mapping[str, Array], update: bool) -> StepResult:
        batch, parts = self._batch(values), self._workload.recipe.accumulate
        total = torch.zeros(())
        with self._draws(values), torch.enable_grad(), self._widening():
            for index in range(parts):
                part = {name: _part(tensor, index, parts, batch) for name, tensor in batch.items()}
                loss = self._call.loss(self._call.forward(part), part) / parts
                loss.backward()
                total = total + loss.detach()
        own = dict(self._model.named_parameters())
        gradients = {p.name: _array(_gradient(own[p.name])) for p in self._workload.parameters}
        if not update:
            return StepResult({Workload.LOSS: _array(total), **self._statistics()}, gradients=gradients)
        for name, parameter in own.items():
            if name not in gradients:
                parameter.grad = None  # the graph does not compute what nothing reads
        self._optimizer.step()
        return StepResult({Workload.LOSS: _array(total), **self._updated(), **self._statistics()}, gradients=gradients)

    def _statistics(self) -> dict[str, Array]:
        """New values of running statistics."""
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        return {b.next.name: _array(own[b.name]) for b in self._workload.buffers}

    def _updated(self) -> dict[str, Array]:
        """New values of parameters and of the optimizer's state."""
        own = dict(self._model.named_parameters())
        found = {p.next.name: _array(own[p.name]) for p in self._workload.parameters}
        assert self._described.state is not None
        for name, slots in self._described.state.slots.items():
            held = self._optimizer.state[own[name]]
            for key, slot in slots.items():
                found[f"{slot}.next"] = _array(torch.as_tensor(held[key]))
        return found

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the optimizer makes of given gradients; see :class:`fathom_onnx.exporting.Reference`."""
        with self._set(values):
            own = dict(self._model.named_parameters())
            if self._described.rewritten:  # forward changes parameters, and the optimizer starts from what it makes
                with self._draws(values), self._widening():
                    self._call.forward(self._batch(values))
            for name, gradient in gradients.items():
                own[name].grad = self._tensor(gradient)
            self._optimizer.step()
            return self._updated()


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    return parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad


def _array(tensor: Tensor) -> Array:
    made: Array = tensor.detach().clone().cpu().numpy()
    return made


def _part(tensor: Tensor, index: int, parts: int, batch: Mapping[str, Tensor]) -> Tensor:
    size = next(t.shape[0] for t in batch.values() if t.dim())
    if parts == 1 or not tensor.dim() or tensor.shape[0] != size:
        return tensor
    return tensor.chunk(parts)[index]
