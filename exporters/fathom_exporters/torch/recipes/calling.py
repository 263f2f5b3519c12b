"""How a batch is given to a module and to a loss, what its tensors are called, and what outputs are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.batch import BatchPath, flatten, path_name, tensors, unflatten

__all__ = ["Call", "call_of", "named_outputs"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Call:
    """A recipe's batch as the inputs of a graph.

    Attributes:
        recipe: The recipe.
        model: Its module, out of any wrapper.
        paths: Input name to the place in the batch.
        features: The inputs that the module itself takes.
        pick: From a batch to the arguments of ``forward``, by position and by name.
        target: From a batch to what the module does not take; None where it takes all.
        given: The values that were given last, and the batch of them: a loss can ask for the gradient of a tensor of
            the very batch that the module had.
    """

    recipe: Recipe
    model: nn.Module
    paths: Mapping[str, BatchPath]
    features: frozenset[str]
    pick: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]
    target: Callable[[Any], Any] | None
    given: list[Any] = field(default_factory=list, compare=False)

    def batch(self, values: Mapping[str, Any]) -> Any:
        """The batch in the user's structure, with other tensors."""
        own = tensors(self.recipe.batch)
        given = {path: values[name] for name, path in self.paths.items() if name in values}
        for path, value in given.items():
            if getattr(own[path], "requires_grad", False) and torch.is_grad_enabled():
                given[path] = value.detach().requires_grad_(True)
        return unflatten(self.recipe.batch, given)

    def forward(self, values: Mapping[str, Any]) -> Any:
        """The module's outputs for inputs by name."""
        self.given[:] = [values, self.batch(values)]
        arguments, named = self.pick(self.given[1])
        return self.model(*arguments, **named)

    def loss(self, outputs: Any, values: Mapping[str, Any]) -> Tensor:
        """The scalar loss.

        Raises:
            ExportError: There is none, or it is no scalar.
        """
        function = self.recipe.loss
        batch = self.given[1] if self.given and self.given[0] is values else self.batch(values)
        self.given.clear()
        if function is None:
            loss = _own_loss(outputs)
        elif isinstance(function, _Loss):
            if self.target is None:
                raise ExportError(
                    f"{type(function).__name__} needs targets, and the module takes the whole batch",
                    "give a batch (inputs, targets), or a loss of (outputs, batch)",
                )
            loss = function(outputs, self.target(batch))
        else:
            loss = function(outputs, batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            kind = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            several = isinstance(loss, Tensor | list)
            advice = (
                "return its mean or its sum" if several else "return one tensor of one element, and nothing beside it"
            )
            raise ExportError(f"the loss is {kind}, not a number", advice)
        return loss.reshape(()) if loss.dtype == torch.float32 else loss.reshape(()).to(torch.float32)


def _own_loss(outputs: Any) -> Any:
    """The loss that a module returned: the scalar itself, the entry ``loss``, or the first part.

    Raises:
        ExportError: There is none.
    """
    found = outputs
    if isinstance(outputs, Mapping) and "loss" in outputs:
        found = outputs["loss"]
    elif getattr(outputs, "loss", None) is not None:
        found = outputs.loss
    elif isinstance(outputs, tuple | list) and outputs:
        found = outputs[0]
    if not isinstance(found, Tensor) or found.numel() != 1:
        raise ExportError("the module returns no loss", "give a loss, a function of (outputs, batch)")
    return found


def _unwrapped(model: Any) -> nn.Module:
    """The module within one of ``torch.compile``.

    Raises:
        UsageError: It is no module, or compiled to TorchScript.
    """
    inner = getattr(model, "_orig_mod", model)
    if not isinstance(inner, nn.Module):  # a structure of tensors
        raise UsageError(f"the model is of type {type(inner).__name__}, no torch.nn.Module", "give the module itself")
    for path, module in inner.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"'{path}'" if path else "the model"
            raise UsageError(
                f"{what} is compiled to TorchScript, which cannot be recorded", "give the nn.Module itself"
            )
    return inner


def call_of(recipe: Recipe) -> Call:
    """How a recipe's batch becomes inputs.

    A mapping's entries are arguments by name where ``forward`` has them, the others are for the loss alone; if it has
    none of them, the mapping itself is the argument. The parts of a tuple or list are arguments in order; where a loss
    is given and ``forward`` does not need them all, the last one is for the loss. Anything else is the one argument.

    Raises:
        UsageError: The model cannot be recorded, or the batch has no tensor.
    """
    model, batch = _unwrapped(recipe.model), recipe.batch
    taken = dict(inspect.signature(model.forward).parameters)
    anything = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    positional = [p for p in taken.values() if p.kind in _POSITIONAL]
    first: dict[Any, str] = {}
    whole: set[Any]
    if isinstance(batch, Mapping) and (anything or any(key in taken for key in batch)):
        keys = [key for key in batch if key in taken or (anything and not any(k in taken for k in batch))]
        rest = [key for key in batch if key not in keys]
        if anything and not recipe.loss:
            keys, rest = list(batch), []

        def pick(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return (), {key: given[key] for key in keys}

        def target(given: Any) -> Any:
            return given[rest[0]] if len(rest) == 1 else {key: given[key] for key in rest}

        whole = set(keys)
    elif isinstance(batch, tuple | list) and not hasattr(batch, "_fields"):
        count = _arguments(model, positional, len(batch), bool(recipe.loss), taken)
        names = [p.name for p in positional[:count]]
        rest = list(range(count, len(batch)))
        first = {**dict(enumerate(names)), **{i: "target" if len(rest) == 1 else f"target.{i - count}" for i in rest}}

        def pick(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return tuple(given[:count]), {}

        def target(given: Any) -> Any:
            return given[rest[0]] if len(rest) == 1 else tuple(given[i] for i in rest)

        whole = set(range(count))
    else:
        rest = []
        first = {None: positional[0].name if positional else "input"}

        def pick(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return (given,), {}

        def target(given: Any) -> Any:
            return None

        whole = set()
    paths = _named(batch, first, model)
    if not paths:
        raise UsageError("the example batch has no tensor", "give tensors, in a tuple, a list or a dict if several")
    features = frozenset(name for name, path in paths.items() if not rest or not path or path[0] in whole)
    return Call(recipe, model, paths, features, pick, target if rest else None)


def _arguments(
    model: nn.Module, positional: list[inspect.Parameter], parts: int, loss: bool, taken: Mapping[str, Any]
) -> int:
    """How many parts of a tuple are arguments of ``forward``."""
    needed = sum(p.default is p.empty for p in positional)
    most = parts if any(p.kind is p.VAR_POSITIONAL for p in taken.values()) else len(positional)
    if needed > parts:
        raise UsageError(
            f"{type(model).__name__}.forward needs {needed} arguments, and the batch has {parts} parts",
            "give one part for each, or a dict by their names",
        )
    return min(most, max(needed, parts - 1)) if loss else min(most, parts)


def _named(batch: Any, first: Mapping[Any, str], model: nn.Module) -> dict[str, BatchPath]:
    """A name for every tensor of a batch, unlike those of the module's own tensors."""
    own = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]} | {"loss"}
    found: dict[str, BatchPath] = {}
    for path in tensors(batch):
        name = path_name(path, first.get(path[0] if path else None, ""))
        while name in own or name in found:
            name = f"batch.{name}"
        found[name] = path
    return found


def named_outputs(outputs: Any) -> dict[str, Tensor]:
    """The tensors that a module returns, by name: ``output`` for a single one, else keys and positions."""
    found: dict[str, Tensor] = {}
    for path, leaf in flatten(outputs).items():
        if isinstance(leaf, Tensor):
            found[path_name(path, "" if path and isinstance(path[0], str) else "output")] = leaf
    if len(found) > 1 and any(name == "output" for name in found):
        found = {
            path_name(path, f"output.{path[0]}" if path and isinstance(path[0], int) else ""): leaf
            for path, leaf in flatten(outputs).items()
            if isinstance(leaf, Tensor)
        }
    return found
