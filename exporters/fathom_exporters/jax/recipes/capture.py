"""The recording of a recipe's step with its scopes, and what of it has no translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fathom_exporters.jax import marks
from fathom_exporters.jax.capture import Captured, captured_step
from fathom_exporters.jax.jaxprs import ClosedJaxpr, depending_results, with_results
from fathom_exporters.jax.step import ANY_KEY, Made
from fathom_exporters.jax.translate import gaps_of
from fathom_onnx.errors import FathomError
from fathom_onnx.exporting import Gap
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Mode, NoiseSource

from .described import Described, Function, explained
from .replay import DrawSpec, Replay

__all__ = ["capture_recipe", "drawing", "find_gaps", "step_of"]


def drawing(
    replay: Replay, workload: RecipeWorkload, mode: Mode, values: Mapping[str, Any], labelled: bool
) -> Function:
    """A recipe's function computed anew, whose random numbers are among the values, or drawn as a graph draws them."""
    noise = workload.noise.get(mode, ())

    def function(arguments: Sequence[Any], part: int) -> list[Any]:
        first = part * (len(noise) // max(workload.recipe.accumulate if mode == "training" else 1, 1))
        dtype = next((a.dtype for a in arguments if jnp.issubdtype(a.dtype, jnp.floating)), "float32")

        def draw(spec: DrawSpec, number: int) -> Any:
            number += first
            if noise[number].name in values:
                return values[noise[number].name]
            random = marks.random_normal if spec.distribution == "normal" else marks.random_uniform
            return random(ANY_KEY, spec.shape, str(dtype), number)

        return replay(arguments, draw, labelled)

    return function


def step_of(
    workload: RecipeWorkload, mode: Mode, values: Mapping[str, Any], recorded: ClosedJaxpr | None = None
) -> Made:
    """A recipe's step with scopes, for recording; of another record of its function where one is given."""
    described: Described = workload.described
    function = drawing(described.replay(recorded or described.record()), workload, mode, values, labelled=True)
    return described.inference(values, function) if mode == "inference" else described.training(values, function)


def capture_recipe(workload: RecipeWorkload, mode: Mode, noise: NoiseSource) -> Captured:
    """Record a recipe's step; gradients are those of the parameters that the loss depends on and the update reads.

    Raises:
        ExportError: It cannot be recorded.
    """
    described: Described = workload.described
    described.record()
    step = partial(step_of, workload, mode)
    try:
        with jax.enable_x64(described.width == "float64"):
            captured = captured_step(workload, mode, noise, step, described.owners, [described.width])
    except FathomError:
        raise
    except Exception as error:  # of the user's optimizer
        raise explained(error, described.root, described.width) from error
    outputs = len(captured.interface.outputs)
    kept = depending_results(captured.jaxpr, outputs)
    names = tuple(captured.gradients[number - outputs] for number in kept)
    return replace(captured, jaxpr=with_results(captured.jaxpr, [*range(outputs), *kept]), gradients=names)


def find_gaps(workload: RecipeWorkload, mode: Mode, marks: bool = True) -> tuple[Gap, ...]:
    """Every operation of a recipe's step without a translation."""
    return gaps_of(capture_recipe(workload, mode, "input"), marks)
