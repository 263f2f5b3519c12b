"""The reading of a recipe: names of its arrays, and what is refused before anything is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import optax

from fathom_onnx.errors import ExportError, UsageError, one_line
from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.batch import BatchPath, path_name, tensors
from fathom_onnx.recipes.recorded import unique
from fathom_onnx.workloads.contract import Workload

from .described import Described, Tree
from .names import Leaf, leaves, operation, slot_names, typed_key

__all__ = ["describe"]


def _root(function: Any) -> str:
    """The name of a function; ``step`` of one without."""
    name = getattr(getattr(function, "func", function), "__name__", type(function).__name__)
    return "step" if name == "<lambda>" else str(name)


def _tree(value: Any, what: str, taken: Sequence[str]) -> Tree:
    found = leaves(value, what)
    names: list[str] = []
    for leaf in found:
        names.append(unique(leaf.name or what, {*names, *taken, Workload.LOSS}))
    return Tree(found, names, jax.tree_util.tree_structure(value))


def _batch(batch: Any, taken: Sequence[str]) -> tuple[dict[str, Leaf], dict[str, BatchPath]]:
    found: dict[str, Leaf] = {}
    paths: dict[str, BatchPath] = {}
    for path, value in tensors(batch).items():
        own = path_name(path) if path and isinstance(path[0], str) else path_name(("batch", *path))
        if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise typed_key(f"'{own}' of the batch")
        name = unique(own, {*found, *taken, Workload.LOSS})
        found[name], paths[name] = leaves(value, f"the batch at '{own}'")[0], path
    if not found:
        raise UsageError("the example batch has no array", "give arrays, in a tuple, a list or a dict if several")
    return found, paths


def describe(recipe: Recipe) -> Described:
    """Read the arrays, the function and the optimizer of a recipe.

    Raises:
        UsageError: The recipe cannot be a step.
        ExportError: The function fails.
    """
    if not callable(recipe.loss):
        raise UsageError(
            "the loss is no function", "give one from (parameters, batch) to a scalar, or to (scalar, outputs)"
        )
    if recipe.specialise:
        raise UsageError("specialise is not for JAX, which records without values", "leave it out")
    if recipe.rate_input:
        raise UsageError(
            "rate_input is not for JAX, where optax has the rate as state",
            "give optax.inject_hyperparams(optax.adam)(learning_rate=1e-3), whose rate is 'optimizer.learning_rate'",
        )
    optimizer = recipe.optimizer
    if optimizer is not None and not isinstance(optimizer, optax.GradientTransformation):
        own = ": its gradient_transformation()" if hasattr(optimizer, "gradient_transformation") else ""
        raise UsageError(f"the optimizer is of type {type(optimizer).__name__}", f"give a transformation of optax{own}")
    _check_arguments(recipe)
    parameters = _tree(recipe.model, "parameter", ())
    for leaf, name in zip(parameters.leaves, parameters.names, strict=True):
        if not leaf.dtype.startswith("float"):
            raise UsageError(f"the parameter '{name}' is of {leaf.dtype}", "give it in the batch, or as state")
    if not parameters.leaves:
        raise UsageError("the model has no array", "give a pytree of parameters")
    state = _tree(recipe.state, "state", parameters.names)
    batch, paths = _batch(recipe.batch, [*parameters.names, *state.names])
    owners: dict[str, str] = {}
    slots, update_op = Tree([], [], None), operation(())
    if optimizer is not None:
        slots, update_op, owners = _slots(
            optimizer, recipe.model, parameters, [*parameters.names, *state.names, *batch]
        )
    described = Described(recipe, _root(recipe.loss), parameters, state, slots, update_op, owners, batch, paths)
    described.record()
    if optimizer is not None and not described.trains:
        raise UsageError(f"{described.root} returns no scalar", "return the loss, or (loss, outputs)")
    return described


def _check_arguments(recipe: Recipe) -> None:
    """Refuse a function that cannot be called so.

    Raises:
        UsageError: It takes other arguments.
    """
    assert recipe.loss is not None
    given = ["parameters", *(["state"] if recipe.state is not None else []), "batch"]
    try:
        inspect.signature(recipe.loss).bind(*given)
    except TypeError as error:
        raise UsageError(
            f"{_root(recipe.loss)} cannot be called with ({', '.join(given)}): {one_line(error)}",
            "put all that it reads into the batch, and what it carries into state",
        ) from error
    except ValueError:  # a builtin, whose signature nobody knows
        return


def _slots(optimizer: Any, model: Any, parameters: Tree, taken: Sequence[str]) -> tuple[Tree, str, dict[str, str]]:
    """The optimizer's state at the start by name, the op of its update, and what of it is of one parameter."""
    try:
        known = all(leaf.known for leaf in parameters.leaves)
        state = optimizer.init(model) if known else jax.eval_shape(optimizer.init, model)
    except Exception as error:  # of the user's optimizer
        raise ExportError(f"the optimizer has no state for these parameters ({one_line(error)})") from error
    found = leaves(state, "the optimizer's state")
    names, owners = slot_names(found, parameters.leaves, parameters.names, taken)
    return Tree(found, names, jax.tree_util.tree_structure(state)), operation(state), owners
