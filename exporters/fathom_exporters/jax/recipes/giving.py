"""Values of a run, back in a pytree of JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from fathom_onnx.recipes.giving import fitting_values
from fathom_onnx.workloads.contract import Array

from .names import leaves

__all__ = ["give_values"]


def give_values(model: Any, values: Mapping[str, Array]) -> Any:
    """The pytree with other arrays; the one that is given stays as it is.

    Raises:
        DataError: An array has no value, or a value has another shape.
    """
    own = [leaf.name for leaf in leaves(model, "the model")]
    arrays, tree = jax.tree_util.tree_flatten(model)
    shapes = {name: tuple(jax.numpy.shape(array)) for name, array in zip(own, arrays, strict=True)}
    fitting = fitting_values(shapes, values, own)
    return jax.tree_util.tree_unflatten(tree, [jax.numpy.asarray(fitting[name]) for name in own])
