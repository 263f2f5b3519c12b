"""One step of a module on fake tensors: which parameters its loss depends on, what it changes, draws and returns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import stateless
from torch.utils._python_dispatch import TorchDispatchMode

from fathom_exporters.torch.recording.record import plain_kernels
from fathom_exporters.torch.stepping.drawing import Draw, Draws
from fathom_exporters.torch.stepping.leaving import attributes_kept
from fathom_onnx.errors import ExportError
from fathom_onnx.recipes.batch import tensors
from fathom_onnx.workloads.contract import Mode

from .calling import Call, named_outputs

__all__ = ["Trial", "evaluating", "in_mode", "module_is_recorded", "try_inference", "try_training"]


@dataclass(frozen=True)
class Trial:
    """What one step showed.

    Attributes:
        reached: Names of the parameters that the loss depends on.
        changed: Names of the buffers and parameters that forward, loss and backward change.
        draws: The standard draws of the step, in order.
        outputs: The outputs, of inference: shape and element type by name.
    """

    reached: frozenset[str]
    changed: frozenset[str]
    draws: tuple[Draw, ...]
    outputs: Mapping[str, Tensor]


class _Changes(TorchDispatchMode):
    """Notes what is written to: in place, through a view or ``.data``, or as a batch normalisation's statistics."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.written: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if "batch_norm" in str(func) and "backward" not in str(func) and True in args[5:6]:
            self.written |= {_memory(tensor) for tensor in args[3:5] if tensor is not None}
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[position] if position < len(args) else kwargs.get(argument.name)
                tensors_ = given if isinstance(given, list | tuple) else [given]
                self.written |= {_memory(tensor) for tensor in tensors_ if isinstance(tensor, Tensor)}
        return func(*args, **kwargs)


def _memory(tensor: Tensor) -> int:
    """What is the same for all tensors that share their memory, while one of them is alive."""
    return int(tensor.untyped_storage()._cdata)


@contextlib.contextmanager
def module_is_recorded() -> Iterator[None]:
    """While entered, libraries take the paths that they have for compilers: no branch on a mask's values."""
    with torch.compiler._compile_session_context():
        yield


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While entered, every module is in the mode of evaluation; afterwards each is as it was."""
    before = {module: module.training for module in model.modules()}
    for module in before:
        module.training = False
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def in_mode(model: nn.Module, mode: Mode) -> AbstractContextManager[None]:
    """A context in which a model is as its step is: as the user left it in training, in evaluation for inference."""
    return evaluating(model) if mode == "inference" else contextlib.nullcontext()


@contextlib.contextmanager
def _stand_ins(call: Call, fake: FakeTensorMode | None) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], Any]]:
    """The module's tensors and the batch as tensors that can be changed: fake ones, or copies."""
    model = call.model

    def like(tensor: Tensor, trained: bool = False) -> Tensor:
        if fake is None:
            made = tensor.detach().clone()
        else:
            with fake:
                made = torch.empty(tensor.shape, dtype=tensor.dtype)
        return made.requires_grad_(trained and tensor.is_floating_point())

    parameters = {n: like(p, p.requires_grad) for n, p in model.named_parameters()}
    buffers = {n: like(b) for n, b in model.named_buffers()}

    given = tensors(call.recipe.batch)
    batch = {name: like(torch.as_tensor(given[path])) for name, path in call.paths.items()}
    entered = fake if fake is not None else contextlib.nullcontext()
    own = stateless._reparametrize_module(model, {**parameters, **buffers}, tie_weights=True)
    with attributes_kept(model), own, entered, plain_kernels():
        yield parameters, buffers, batch


def try_training(call: Call, fake: FakeTensorMode | None) -> Trial:
    """Run forward, loss and backward once.

    Raises:
        ExportError: The loss depends on no parameter.
    """
    with _stand_ins(call, fake) as (parameters, buffers, batch), Draws() as draws, _Changes() as changes:
        with torch.enable_grad(), module_is_recorded():
            outputs = call.forward(batch)
        with torch.enable_grad():
            loss = call.loss(outputs, batch)
        if not loss.requires_grad:
            raise ExportError("the loss depends on no parameter of the model that requires a gradient")
        loss.backward()
        now = dict(call.model.named_buffers())
        changed = {name for name, buffer in buffers.items() if name in now and now[name] is not buffer}
        changed |= {name for name, tensor in {**parameters, **buffers}.items() if _memory(tensor) in changes.written}
        reached = {name for name, parameter in parameters.items() if parameter.grad is not None}
    return Trial(frozenset(reached), frozenset(changed), tuple(draws.made), {})


def try_inference(call: Call, fake: FakeTensorMode | None) -> Trial:
    """Run the module once in evaluation mode, without gradients."""
    with evaluating(call.model), _stand_ins(call, fake) as (_, _, batch), Draws() as draws:
        features = {name: batch[name] for name in call.features}
        with torch.no_grad(), module_is_recorded():
            outputs = named_outputs(call.forward(features))
    return Trial(frozenset(), frozenset(), tuple(draws.made), outputs)
