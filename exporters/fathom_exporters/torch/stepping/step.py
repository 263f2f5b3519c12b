"""A subject's step as one pure function of its interface's inputs, marked with phases and layers.

The marks are annotations that PyTorch attaches to every operation it records; outside a recording they cost nothing.
A caller can pass another kind of mark (:data:`Mark`), as native profiles do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch._aot_autograd.logging_utils import setup_stacktrace_preservation_hooks
from torch.fx.traceback import annotate, has_preserved_node_meta
from torch.nn.utils import stateless

from fathom_onnx.workloads.contract import Mode, Workload

from .drawing import Draws
from .gradients import treat
from .subject import Batch, Subject
from .updating import apply_op, numbers_stay_tensors, twin, with_marked_hooks

__all__ = ["OP", "PHASE", "SCOPE", "Knowing", "Mark", "Step", "gradient_name", "layer_marks", "make_step", "updated"]

PHASE, SCOPE, OP = "fathom_phase", "fathom_scope", "fathom_op"
"""Keys of the annotations."""

Step = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""A step as a pure function from the interface's inputs to its outputs and gradients, by name."""

Mark = Callable[[dict[str, str]], AbstractContextManager[Any]]
"""A context in which everything computed has these marks, besides those of the contexts around it."""

Knowing = Callable[[Mapping[str, Tensor]], AbstractContextManager[Any]]
"""From a step's tensors by name to a context in which some of their values are known (:mod:`.knowing`)."""


def _nothing_known(tensors: Mapping[str, Tensor]) -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


def gradient_name(parameter: str) -> str:
    """The name under which a step gives the gradient of a parameter, before any treatment."""
    return f"gradient of {parameter}"


@contextlib.contextmanager
def layer_marks(model: nn.Module, layers: Mapping[str, str], mark: Mark = annotate) -> Iterator[None]:
    """While entered, mark what each module computes with its layer's name.

    Args:
        model: The model.
        layers: Path of a module to the name of its layer.
        mark: The kind of mark.
    """
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

    for path, module in model.named_modules():
        if path in layers:
            handles.append(module.register_forward_pre_hook(enter(layers[path])))
            handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        while open_marks:  # a forward pass that fails while libraries compile calls no hook on its way out
            leave()


def _tensor_at(model: nn.Module, path: str) -> Tensor:
    """The tensor that a module has at the path of a buffer or parameter."""
    owner, _, name = path.rpartition(".")
    found = getattr(model.get_submodule(owner), name)
    assert isinstance(found, Tensor)
    return found


def _parts(batch: Batch, count: int) -> list[Batch]:
    """A batch in parts of one size along the first axis; what has no such axis is in all of them."""
    if count == 1:
        return [batch]
    size = next(v.shape[0] for v in batch.values() if isinstance(v, Tensor) and v.dim())

    def part(value: Any, index: int) -> Any:
        whole = isinstance(value, Tensor) and value.dim() and value.shape[0] == size
        step = size // count
        return value[index * step : (index + 1) * step] if whole else value

    return [{name: part(value, index) for name, value in batch.items()} for index in range(count)]


def updated(
    subject: Subject, leaves: Mapping[str, Tensor], values: Mapping[str, Tensor], mark: Mark, *, recorded: bool
) -> dict[str, Tensor]:
    """New values of parameters and of the optimizer's state, by the optimizer's own step on the leaves' gradients."""
    optimizer, workload = subject.optimizer, subject.workload
    assert optimizer is not None
    own = subject.parameters
    state = {
        own[name]: {
            **subject.constants.get(name, {}),
            **{key: values[slot].clone() for key, slot in subject.slots.get(name, {}).items()},
        }
        for name in leaves
    }
    options = {place: values[variable] for place, variable in subject.options.items()}
    tensors = {own[name]: leaf for name, leaf in leaves.items()}
    made = twin(optimizer, tensors, state, options, subject.capturable and recorded)
    op = apply_op(optimizer)
    with_marked_hooks(made, lambda: mark({PHASE: "optimizer", SCOPE: "step", OP: workload.gradients.OP}))
    with mark({PHASE: "optimizer", OP: op}), numbers_stay_tensors(made) if recorded else contextlib.nullcontext():
        made.step()
    new = {name: leaf.detach() for name, leaf in leaves.items()}
    for name, leaf in leaves.items():
        for key, slot in subject.slots.get(name, {}).items():
            new.setdefault(slot, made.state[leaf][key])
    return new


def make_step(
    subject: Subject, mode: Mode, mark: Mark = annotate, *, recorded: bool = True, known: Knowing = _nothing_known
) -> Step:
    """The step: interface inputs by name to interface outputs and gradients by name.

    In training it is forward, loss, PyTorch's own ``backward()``, and the optimizer's own ``step()``; running
    statistics are updated in copies, which are outputs.

    Args:
        subject: The model, loss and optimizer.
        mode: Inference or training.
        mark: The kind of mark.
        recorded: Whether the step runs to be recorded, so that no number may be read from a tensor.
        known: From the step's tensors by name to a context in which some of their values can be read.
    """
    workload = subject.workload
    caches = {v.name for v in workload.caches}  # the model takes them with the batch, and returns them anew
    variables = [v.name for v in workload.variables(mode) if v.name not in caches]
    trained = [p.name for p in workload.parameters]
    buffers = [b.name for b in workload.buffers]
    noise = [n.name for n in workload.noise.get(mode, ())] if subject.draws else []
    inferred = [o.name for o in workload.interface("inference").outputs]
    root = {SCOPE: subject.root} if subject.root else {}

    def optimizer_mark(scope: str, op: str) -> AbstractContextManager[Any]:
        return mark({PHASE: "optimizer", SCOPE: scope, OP: op})

    def gradient_of(leaf: Tensor) -> Tensor:
        return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad

    def batch_of(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in values.items() if name not in variables and name not in noise}

    def held(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        counters = {path: torch.zeros((), dtype=torch.int64) for path in subject.counters}
        return {**counters, **{path: values[name] for name, path in subject.paths.items() if name in values}}

    def draws(values: Mapping[str, Tensor]) -> AbstractContextManager[Any]:
        if not subject.draws:
            return contextlib.nullcontext()
        return Draws([values[name] for name in noise] if all(name in values for name in noise) and noise else None)

    def inference(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with (
            torch.no_grad(),
            stateless._reparametrize_module(subject.model, held(values), tie_weights=True),
            known(values),
            draws(values),
            mark({PHASE: "forward", **root}),
        ):
            outputs = subject.outputs(subject.forward(batch_of(values)))
        return {name: outputs[name] for name in inferred}

    def training(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        leaves = {name: values[name].detach().clone().requires_grad_(True) for name in trained}
        for name, leaf in leaves.items():
            for hook in (subject.parameters[name]._backward_hooks or {}).values():
                leaf.register_hook(hook)
        copies = {**leaves, **{name: values[name].clone() for name in buffers}}
        tensors = {**held(values), **{subject.paths[name]: tensor for name, tensor in copies.items()}}
        with stateless._reparametrize_module(subject.model, tensors, tie_weights=True):
            losses = []
            with torch.enable_grad(), known({**values, **copies}), draws(values):
                for part in _parts(batch_of(values), subject.parts):
                    with mark({PHASE: "forward", **root}):
                        outputs = subject.forward(part)
                    with mark({PHASE: "loss", SCOPE: Workload.LOSS}):
                        loss = subject.loss(outputs, part)
                        loss = loss / subject.parts if subject.parts > 1 else loss
                    if has_preserved_node_meta() and loss.grad_fn is not None:
                        # gives each recorded backward operation the sequence number of its forward operation
                        setup_stacktrace_preservation_hooks([loss.grad_fn])
                    loss.backward()
                    losses.append(loss.detach())
            statistics = {name: _tensor_at(subject.model, subject.paths[name]) for name in buffers}
            found = {name: gradient_of(leaf) for name, leaf in leaves.items()}
            gradients = {gradient_name(n): gradient.clone() for n, gradient in found.items()} if recorded else {}
            with torch.no_grad():
                treated = treat(workload.gradients, values, found, optimizer_mark)
            for name, leaf in leaves.items():
                leaf.grad = treated[name]
            new = updated(subject, leaves, values, mark, recorded=recorded)
        with mark({PHASE: "loss", SCOPE: Workload.LOSS}):
            total = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        state = {v.next.name: {**new, **statistics}[v.name] for v in workload.carried("training")}
        return {Workload.LOSS: total, **state, **gradients}

    return training if mode == "training" else inference
