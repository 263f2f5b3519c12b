"""The workload that is read off a recipe."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.recipes.recorded import RecipeConfig, RecordedOptimizer, starting_variable, unique
from fathom_onnx.workloads.contract import Array, Initialiser, Layer, Noise, TensorSpec, Variable

from .described import Described
from .names import Leaf
from .reading import describe

__all__ = ["derive"]

_STAND_IN = Initialiser("normal", 0.02)
"""How parameters are drawn that are given by shape and type alone."""


def _variables(
    names: Iterable[str], leaves: Iterable[Leaf], unknown: Initialiser, stored: dict[str, Array]
) -> tuple[Variable, ...]:
    return tuple(
        starting_variable(name, leaf.value, stored) if leaf.known else Variable(name, leaf.shape, unknown, leaf.dtype)
        for name, leaf in zip(names, leaves, strict=True)
    )


def _noise(described: Described) -> tuple[Noise, ...]:
    taken = {spec.name for spec in (*described.inputs, *described.slots.specs)}
    found: list[Noise] = []
    for draw in described.draws("training"):
        found.append(Noise(unique("noise", {*taken, *(n.name for n in found)}), draw.shape, draw.distribution))
    return tuple(found)


def derive(recipe: Recipe, target: str = "") -> RecipeWorkload:
    """The workload of a recipe.

    Args:
        recipe: The recipe.
        target: Name of the function that built it, if any.

    Raises:
        UsageError: The recipe cannot be a step.
        ExportError: Its step cannot be recorded.
    """
    described = describe(recipe)
    stored: dict[str, Array] = {}
    zero = Initialiser.constant(0.0)
    slots = _variables(described.slots.names, described.slots.leaves, zero, stored)
    noise = _noise(described)
    return RecipeWorkload(
        name=described.root,
        preset="own",
        config=RecipeConfig(
            described.root, type(recipe.optimizer).__name__ if recipe.trains else "", recipe.accumulate
        ),
        features=tuple(described.batch_specs),
        outputs=tuple(TensorSpec(o.name, o.shape, o.dtype) for o in described.outputs),
        layers=tuple(Layer(name, "scope") for name in described.labelled()),
        parameters=_variables(described.parameters.names, described.parameters.leaves, _STAND_IN, stored),
        optimizer=RecordedOptimizer(described.update_op, slots),  # type: ignore[arg-type]
        noise={"training": noise, "inference": noise[: len(described.draws("inference"))]},
        buffers=_variables(described.state.names, described.state.leaves, zero, stored),
        data="example",
        recipe=recipe,
        framework="jax",
        stored=stored,
        example={name: np.asarray(leaf.value) for name, leaf in described.batch.items() if leaf.known},
        paths=dict(described.paths),
        target=target,
        described=described,
    )
