"""The workload that is read off a recipe: its steps are traced and lifted, and what they read and assign is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.exporting import one_gap
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.recipes.recorded import RecipeConfig, RecordedOptimizer, starting_variable
from fathom_onnx.workloads.contract import Array, Layer, TensorSpec, Variable

from .described import Described, describe, trainable
from .gaps import gaps_of
from .names import is_seed, native
from .optimizer import operation
from .recorded import Traced, trace

__all__ = ["derive"]

_RATE = "optimizer.learning_rate"
"""What :func:`~.optimizer.state_names` calls a Keras optimizer's learning rate."""


@dataclass(frozen=True)
class _Roles:
    """Names of the variables by the part that they play in the steps, each in the order of the structure."""

    parameters: list[str]
    buffers: list[str]
    slots: list[str]
    frozen: list[str]
    kept: frozenset[str]


def _read(step: Traced, changed: Iterable[str]) -> set[str]:
    """Names of the variables whose values a step's outputs and new values depend on, draws taken as given."""
    nodes = {node.name: node for node in step.lifted.graph_def.node}
    drawn = set(step.draws.operations)
    stack = [*step.outputs.values(), *(step.held[name].last for name in changed)]
    needed: set[str] = set()
    while stack:
        name = stack.pop().removeprefix("^").partition(":")[0]
        if name and name not in needed:
            needed.add(name)
            stack += [] if name in drawn else nodes[name].input
    return {name for name, held in step.held.items() if held.first.partition(":")[0] in needed}


def _ignored(described: Described) -> set[int]:
    """Variables that are no state of the step: random seeds, whose draws are noise, and metrics, which only count."""
    counters = described.training.loss.counters() if described.training else []
    return described.structure.seeds | {id(native(v)) for v in counters}


def _roles(described: Described, inference: Traced, training: Traced | None) -> _Roles:
    """Changed trainables are parameters, other changed variables buffers or slots, unchanged ones frozen.

    Raises:
        ExportError: No parameter changes.
    """
    everything = {**described.structure.variables, **described.state}
    ignored = _ignored(described)
    order = [n for n, v in everything.items() if id(v) not in ignored and not is_seed(v)]
    kept = _read(inference, ())
    own = (
        described.training.parameters if described.training else trainable(described.recipe.model, described.structure)
    )
    trained = {id(native(p)) for p in own}
    if training is None:
        parameters = [n for n in order if n in kept and id(everything[n]) in trained]
        return _Roles(parameters, [n for n in order if n in kept and n not in parameters], [], [], frozenset())
    changed = [n for n in order if n in training.held and training.held[n].changed]
    parameters = [n for n in changed if id(everything[n]) in trained]
    if not parameters:
        raise ExportError(
            "the step changes none of the variables that the optimizer is to train",
            "let the loss depend on one of them",
        )
    read = kept | _read(training, changed)
    return _Roles(
        parameters=parameters,
        buffers=[n for n in changed if n not in parameters and n not in described.state],
        slots=[n for n in changed if n in described.state],
        frozen=[n for n in order if n in read and n not in changed],
        kept=frozenset(kept),
    )


def derive(recipe: Recipe, target: str = "") -> RecipeWorkload:
    """The workload of a recipe.

    Args:
        recipe: The recipe.
        target: Name of the function that built it, if any.

    Raises:
        UsageError: The recipe cannot be a step.
        ExportError: Its step cannot be traced or recorded.
        UsageError: The learning rate is wanted as an input, and the optimizer has a schedule.
    """
    described = describe(recipe)
    inference = trace(described, "inference")
    training = trace(described, "training") if described.training is not None else None
    for step in (inference, training):
        if step is not None and step.refused:
            raise one_gap(gaps_of(described, "inference" if step is inference else "training")) or AssertionError
    roles = _roles(described, inference, training)
    if recipe.rate_input and training is not None and _RATE not in roles.frozen:
        raise UsageError(
            "the learning rate is given by a schedule of the optimizer's own", "give it a number as the learning rate"
        )
    everything = {**described.structure.variables, **described.state}
    stored: dict[str, Array] = {}

    def variables(names: Iterable[str]) -> tuple[Variable, ...]:
        return tuple(starting_variable(name, np.asarray(everything[name]), stored) for name in names)

    batch, model = described.batch, type(recipe.model).__name__
    optimizer = described.training.optimizer if described.training else None
    rule = (
        RecordedOptimizer(operation(optimizer), variables(roles.slots))
        if optimizer
        else RecordedOptimizer(operation(None))
    )
    outputs = zip(inference.outputs, inference.function.outputs, strict=True)
    return RecipeWorkload(
        name=model,
        preset="own",
        config=RecipeConfig(model, type(optimizer).__name__ if optimizer else "", recipe.accumulate),
        features=tuple(s for s in batch.specs if s.name in batch.features),
        outputs=tuple(TensorSpec(name, tuple(t.shape.as_list()), t.dtype.name) for name, t in outputs),
        layers=tuple(Layer(name, type(layer).__name__) for name, layer in described.structure.layers.items()),
        parameters=variables(roles.parameters),
        optimizer=rule,  # type: ignore[arg-type]
        targets=tuple(s for s in batch.specs if s.name not in batch.features),
        noise={"training": training.draws.noise if training else (), "inference": inference.draws.noise},
        buffers=variables(roles.buffers),
        frozen=variables(roles.frozen),
        data="example",
        recipe=recipe,
        framework="tensorflow",
        stored=stored,
        example=dict(batch.tensors),
        paths=dict(batch.paths),
        target=target,
        kept=roles.kept,
        described=described,
    )
