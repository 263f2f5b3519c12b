"""One step of a module on fake tensors: which parameters its loss depends on, what it changes, draws and returns."""

from __future__ import annotations

import contextlib
import sys
import unittest.mock
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import stateless
from torch.utils._python_dispatch import TorchDispatchMode

from fathom_exporters.torch.recording.record import plain_kernels
from fathom_exporters.torch.stepping.drawing import Draw, Draws
from fathom_exporters.torch.stepping.knowing import Known
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
        specialised: What was read that depends on the example, a line each.
        after: Values of changed buffers after the step, where they are known.
    """

    reached: frozenset[str]
    changed: frozenset[str]
    draws: tuple[Draw, ...]
    outputs: Mapping[str, Tensor]
    specialised: tuple[str, ...] = ()
    after: Mapping[str, Tensor] = field(default_factory=dict)


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


_LOOKS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    # a tensor without values counts as one of a compiler
    ("transformers.utils.import_utils", "is_fake_tensor", lambda _: False),
    # a look at values for a warning
    ("transformers.modeling_utils", "PreTrainedModel.warn_if_padding_and_no_attention_mask", lambda *_: None),
)
"""Functions of libraries that look at what a tensor is, by module and name, and what stands in for them."""


@contextlib.contextmanager
def module_is_recorded(branch_free: bool) -> Iterator[None]:
    """While entered, libraries take the paths that they have for compilers: no branch on a mask's values.

    Args:
        branch_free: False for the paths that they take otherwise: not every model fits the former.
    """
    if branch_free:
        with torch.compiler._compile_session_context():
            yield
        return
    with contextlib.ExitStack() as stack:
        for module, name, instead in _LOOKS:
            owner: Any = sys.modules.get(module)
            *path, last = name.split(".")
            for part in path:
                owner = getattr(owner, part, None)
            if hasattr(owner, last):
                stack.enter_context(unittest.mock.patch.object(owner, last, instead))
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
def _stand_ins(
    call: Call, fake: FakeTensorMode, started: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor], Any, Known]]:
    """The module's tensors and the batch as fake tensors. Of values, those of buffers are known; all if specialised."""
    model, specialise = call.model, call.recipe.specialise

    def like(tensor: Tensor, trained: bool = False) -> Tensor:
        with fake:
            made = torch.empty(tensor.shape, dtype=tensor.dtype)
        return made.requires_grad_(trained and tensor.is_floating_point())

    given = tensors(call.recipe.batch)
    example = {name: torch.as_tensor(given[path]) for name, path in call.paths.items()}
    parameters = {n: like(p, p.requires_grad) for n, p in model.named_parameters()}
    buffers = {n: like(b) for n, b in model.named_buffers()}
    batch = {name: like(tensor) for name, tensor in example.items()}
    own, constants = dict(model.named_parameters()), {**dict(model.named_buffers()), **(started or {})}
    values = {**own, **constants, **example} if specialise else {}
    known = Known(frozenset(n for n, p in own.items() if p.requires_grad))
    with (
        attributes_kept(model),
        stateless._reparametrize_module(model, {**parameters, **buffers}, tie_weights=True),
        fake,
        plain_kernels(),
        known.of({**parameters, **buffers, **batch}, constants, values),
    ):
        yield parameters, buffers, batch, known


def try_training(
    call: Call, fake: FakeTensorMode, branch_free: bool, started: Mapping[str, Tensor] | None = None
) -> Trial:
    """Run forward, loss and backward once.

    Args:
        call: The module and its batch.
        fake: The mode of its tensors.
        branch_free: See :func:`module_is_recorded`.
        started: Values of buffers, in place of the module's own.

    Raises:
        ExportError: The loss depends on no parameter.
    """
    with (
        _stand_ins(call, fake, started) as (parameters, buffers, batch, known),
        Draws() as draws,
        _Changes() as changes,
    ):
        with torch.enable_grad(), module_is_recorded(branch_free):
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
        after = known.values_of({name: now[name] for name in changed if name in now})
    return Trial(frozenset(reached), frozenset(changed), tuple(draws.made), {}, known.notes, after)


def try_inference(call: Call, fake: FakeTensorMode, branch_free: bool) -> Trial:
    """Run the module once in evaluation mode, without gradients; see :func:`module_is_recorded`."""
    with evaluating(call.model), _stand_ins(call, fake) as (_, _, batch, known), Draws() as draws:
        features = {name: batch[name] for name in call.features}
        with torch.no_grad(), module_is_recorded(branch_free):
            outputs = named_outputs(call.forward(features))
    return Trial(frozenset(), frozenset(), tuple(draws.made), outputs, known.notes)
