"""A workload's step as one pure function of its interface's inputs, marked with phases and layers.

The marks are annotations that PyTorch attaches to every operation it records; outside a recording they cost nothing.
A caller can pass another kind of mark (:data:`Mark`), as native profiles do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._functorch._aot_autograd.logging_utils import setup_stacktrace_preservation_hooks
from torch.func import functional_call
from torch.fx.traceback import annotate, has_preserved_node_meta

from fathom_onnx.workloads.contract import Mode, Workload

from . import optimizers

__all__ = ["OP", "PHASE", "SCOPE", "Mark", "Step", "layer_marks", "make_step"]

PHASE, SCOPE, OP = "fathom_phase", "fathom_scope", "fathom_op"
"""Keys of the annotations."""

Step = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""A step as a pure function from the interface's inputs to its outputs, by name."""

Mark = Callable[[dict[str, str]], AbstractContextManager[Any]]
"""A context in which everything computed has these marks, besides those of the contexts around it."""


@contextlib.contextmanager
def layer_marks(model: nn.Module, workload: Workload, mark: Mark = annotate) -> Iterator[None]:
    """While entered, mark what each layer's module computes with the layer's name."""
    layers = {layer.name for layer in workload.layers}
    open_marks: list[AbstractContextManager[Any]] = []
    handles = []

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            context = mark({SCOPE: name})
            context.__enter__()
            open_marks.append(context)

        return hook

    def leave(*_: Any) -> None:
        open_marks.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        if name in layers:
            handles.append(module.register_forward_pre_hook(enter(name)))
            handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def make_step(model: nn.Module, workload: Workload, mode: Mode, mark: Mark = annotate) -> Step:
    """The step: interface inputs by name to interface outputs by name.

    In training it is forward, loss, ``torch.autograd.grad``, optimizer; batch normalisation updates copies of the
    running statistics, which are outputs.
    """
    parameter_names = [p.name for p in workload.parameters]
    buffer_names = [b.name for b in workload.buffers]
    output_names = [o.name for o in workload.outputs]
    compute_loss = cast("Callable[..., Tensor]", model.loss)
    model.train(mode == "training")

    def optimizer_mark(scope: str, op: str) -> AbstractContextManager[object]:
        return mark({PHASE: "optimizer", SCOPE: scope, OP: op})

    def inference(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        variables = {name: values[name] for name in [*parameter_names, *buffer_names]}
        with torch.no_grad(), mark({PHASE: "forward"}):
            outputs = functional_call(model, variables, (values,))
        return {name: outputs[name] for name in output_names}

    def training(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parameters = {name: values[name].detach().requires_grad_(True) for name in parameter_names}
        buffers = {name: values[name].clone() for name in buffer_names}
        frozen = {v.name: values[v.name] for v in workload.frozen}
        with torch.enable_grad():
            with mark({PHASE: "forward"}):
                outputs = functional_call(model, {**parameters, **buffers, **frozen}, (values,))
            with mark({PHASE: "loss", SCOPE: Workload.LOSS}):
                loss = compute_loss(outputs, values)
            if has_preserved_node_meta() and loss.grad_fn is not None:
                # gives each recorded backward operation the sequence number of its forward operation, which has a layer
                setup_stacktrace_preservation_hooks([loss.grad_fn])
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            named = dict(zip(parameter_names, gradients, strict=True))
            new = optimizers.apply(workload, values, named, optimizer_mark) | buffers
        state = {v.next.name: new[v.name] for v in workload.carried("training")}
        return {Workload.LOSS: loss.detach(), **state}

    return training if mode == "training" else inference
