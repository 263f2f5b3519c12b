"""What a training step is made of, and the workload that an exporter reads off it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.workloads.contract import Array, Mode, Variable, Workload, initial_values

from .batch import BatchPath

__all__ = ["PRESET", "Recipe", "RecipeWorkload", "recipe_from"]

PRESET = "own"
"""The preset of workloads that were read off a recipe."""


@dataclass(frozen=True)
class Recipe:
    """A model, an example batch, a loss and an optimizer, all as the user made them; nothing of them is changed.

    Attributes:
        model: A ``torch.nn.Module``, a Keras 3 model or a ``tf.Module``, in the mode (training, evaluation, layer by
            layer) that its step is to have. With JAX a pytree of parameters.
        batch: The model's inputs and what else the loss reads: a tensor, or tuples, lists and dicts of tensors and
            plain values. Tensors become inputs of the graph, plain values stay as they are.
        loss: From (outputs, batch) to a scalar; None where the model returns its loss. With Keras a Keras loss, from
            (targets, outputs), the batch being the pair (inputs, targets), or a list or dict of them for several
            outputs; None also for the loss that the model was compiled with. With JAX the function itself, from
            (parameters, batch) to the loss, or to (loss, outputs).
        optimizer: The framework's optimizer over any of the model's parameters, with its groups and its state. With
            JAX a transformation of optax.
        accumulate: Parts that the batch is cut into along its first axis; their gradients are added up before the
            update. 1 for none.
        specialise: Whether what depends on the values of the example batch (a branch, a number read from a tensor) may
            be recorded as it is for that batch. The graph's metadata then say so.
        rate_input: Whether the learning rate of each group of parameters is an input of the graph. With Keras it always
            is, unless a schedule of the optimizer's own gives it.
        state: With JAX, a pytree of what the function carries from step to step beside the parameters, such as running
            statistics; the function is then from (parameters, state, batch) to (loss, new state), or to
            (loss, (new state, outputs)). Other models hold their state themselves.
    """

    model: Any
    batch: Any
    loss: Callable[..., Any] | None = None
    optimizer: Any = None
    accumulate: int = 1
    specialise: bool = False
    rate_input: bool = False
    state: Any = None

    def __post_init__(self) -> None:
        parts: Any = self.accumulate  # what a user gives is of any type
        loss: Any = self.loss
        if type(parts) is not int or parts < 1:
            raise UsageError(f"a batch cannot be cut into {parts} parts", "give a whole number from 1 on")
        # Keras has names for losses, and lists and dicts of them for several outputs
        if loss is not None and not callable(loss) and not isinstance(loss, (str, list, tuple, Mapping)):
            raise UsageError(
                f"the loss is of type {type(loss).__name__}, not a function",
                "give one from (outputs, batch) to a scalar, or None where the model returns its loss",
            )

    @property
    def trains(self) -> bool:
        """Whether there is an optimizer: the recipe's, or the one that a Keras model was compiled with."""
        return self.optimizer is not None or getattr(self.model, "optimizer", None) is not None

    def check(self, mode: Mode) -> None:
        """Refuse a mode that the recipe has not all parts for.

        Raises:
            UsageError: Training without an optimizer, the recipe's or the one that a Keras model was compiled with.
        """
        if mode == "training" and not self.trains:
            raise UsageError(
                "a training step needs an optimizer, and the recipe has none", "give one, or the mode 'inference'"
            )


_FIELDS = tuple(f.name for f in fields(Recipe))
_FORM = "return (model, batch, loss, optimizer), a dict of these names, or a Recipe"


def recipe_from(built: Any, what: str) -> Recipe:
    """The recipe that a function returned, or described by a tuple or a dict of its parts.

    Args:
        built: A recipe; a tuple (model, batch[, loss[, optimizer]]); a dict of the names of its parts.
        what: What errors call the function.

    Raises:
        UnknownNameError: The dict has another name.
        UsageError: It is none of these, or lacks the model or the batch.
    """
    if isinstance(built, Recipe):
        return built
    if isinstance(built, Mapping):
        for name in built:
            if name not in _FIELDS:
                raise UnknownNameError(f"part of the recipe that {what} returns", str(name), _FIELDS)
        absent = [name for name in ("model", "batch") if name not in built]
        if absent:
            raise UsageError(f"the recipe that {what} returns has no {absent[0]}", _FORM)
        return Recipe(**built)
    if isinstance(built, tuple) and 2 <= len(built) <= 4:
        return Recipe(*built)
    kind = "nothing" if built is None else f"a {type(built).__name__}"
    if isinstance(built, tuple):
        kind = f"{len(built)} values"
    raise UsageError(f"{what} returns {kind}, and no recipe", _FORM)


@dataclass(frozen=True)
class RecipeWorkload(Workload):
    """The workload that was read off a recipe: the contract of its graph, its starting values and its example batch.

    Attributes:
        recipe: The recipe.
        framework: The framework of its model.
        stored: Starting values of the variables whose initialiser is ``stored``, by name.
        example: The example batch, by input name.
        paths: Where in the recipe's batch each input comes from, by input name (see :mod:`.batch`).
        target: The target that built the recipe; empty for none.
        kept: Names of the frozen variables that inference reads too: parameters that are not trained.
        specialised: What of the step is true of the example batch alone, a line each.
        described: Whatever the framework's exporter needs beside the contract.
    """

    recipe: Recipe = field(default_factory=lambda: Recipe(None, None), compare=False)
    framework: str = ""
    stored: Mapping[str, Array] = field(default_factory=dict, compare=False)
    example: Mapping[str, Array] = field(default_factory=dict, compare=False)
    paths: Mapping[str, BatchPath] = field(default_factory=dict, compare=False)
    target: str = ""
    kept: frozenset[str] = frozenset()
    specialised: tuple[str, ...] = ()
    described: Any = field(default=None, compare=False)

    @property
    def batch_size(self) -> int | None:
        """The first axis of the first input of the example batch; None where it has none."""
        first = next(iter(self.batch_inputs("training")), None)
        return first.shape[0] if first is not None and first.shape else None

    def variables(self, mode: Mode) -> tuple[Variable, ...]:
        """All variables of a mode, in interface order; those of inference include what it reads of the frozen ones."""
        kept = tuple(v for v in self.frozen if v.name in self.kept) if mode == "inference" else ()
        return super().variables(mode) + kept

    def initial_values(self, mode: Mode, seed: int) -> dict[str, Array]:
        """Initial values of all variables of ``mode``: the stored ones are the model's, whatever the seed."""
        variables = self.variables(mode)
        stored = {v.name: self.stored[v.name] for v in variables if v.initialiser.kind == "stored"}
        return initial_values(variables, seed, stored)
