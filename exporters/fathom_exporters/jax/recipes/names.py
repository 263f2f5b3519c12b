"""Names of the arrays of pytrees: their paths, as in ``dense1.kernel``; and the op of an update by its state."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.graph.address import scope_of
from fathom_onnx.recipes.recorded import unique

__all__ = ["Leaf", "layer_of", "leaves", "operation", "slot_names"]

_NARROW = {"float64": "float32", "int64": "int32", "uint64": "uint32"}
"""Types of 64 bits to those in which a graph has them."""
_TYPES = ("float32", "bool", "int8", "int16", "int32", "uint8", "uint16", "uint32")

_OPERATIONS = {
    "ScaleByAdamState": "ApplyAdam",
    "ScaleByAdanState": "ApplyAdam",
    "ScaleByAmsgradState": "ApplyAdam",
    "ScaleByBeliefState": "ApplyAdam",
    "ScaleByNovogradState": "ApplyAdam",
    "ScaleByRmsState": "ApplyRMSProp",
    "ScaleByRStdDevState": "ApplyRMSProp",
    "ScaleByAdaDeltaState": "ApplyRMSProp",
    "FactoredState": "ApplyRMSProp",
    "ScaleByRssState": "ApplyAdagrad",
    "ScaleBySM3State": "ApplyAdagrad",
    "TraceState": "ApplyMomentum",
    "ScaleByLionState": "ApplyMomentum",
}
"""Class of a state of optax to the op of its update."""


class Leaf:
    """An array of a pytree: its path as a name, and its value or, where it has none, its shape and type.

    Types are those of 32 bits, as JAX has them unless others are allowed: such a function is exported in float32.

    Raises:
        UsageError: A whole number is too large for that.
    """

    def __init__(self, path: Sequence[Any], value: Any) -> None:
        self.parts = tuple(_part(key) for key in path)
        self.name = ".".join(self.parts)
        abstract = isinstance(value, jax.ShapeDtypeStruct)
        array = value if abstract else np.asarray(value)
        dtype = _NARROW.get(str(array.dtype), str(array.dtype))
        self.value = array if abstract else array.astype(dtype)
        if not abstract and dtype != array.dtype and array.dtype.kind in "iu" and (self.value != array).any():
            raise UsageError(f"'{self.name}' has a number that is too large for {dtype}", "give smaller ones")
        self.shape, self.dtype = tuple(array.shape), dtype

    @property
    def known(self) -> bool:
        """Whether it has a value."""
        return isinstance(self.value, np.ndarray)


def _part(key: Any) -> str:
    """A part of a path: a key, an index, the name of a field."""
    return jax.tree_util.keystr((key,), simple=True)


def leaves(tree: Any, what: str) -> list[Leaf]:
    """The arrays of a pytree in JAX's order.

    Args:
        tree: The pytree; leaves may be arrays, numbers or ``jax.ShapeDtypeStruct``.
        what: What errors call it.

    Raises:
        UsageError: A leaf is no array.
        ExportError: A leaf is of a type that graphs do not have.
    """
    found = []
    for path, value in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = ".".join(map(_part, path)) or "itself"
        if not isinstance(value, (int, float, np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)):
            raise UsageError(
                f"'{name}' of {what} is of type {type(value).__name__}, and no array",
                "take it out of the pytree, as equinox.partition does, or give it in the loss",
            )
        if isinstance(value, float):
            value = np.float32(value)
        if hasattr(value, "dtype") and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise typed_key(f"'{name}' of {what}")
        leaf = Leaf(path, value)
        if leaf.dtype not in _TYPES:
            raise ExportError(f"'{name}' of {what} is of {leaf.dtype}", "give float32")
        found.append(leaf)
    return found


def typed_key(what: str) -> UsageError:
    """The refusal of a random key of its own type."""
    advice = "give a raw one: jax.random.PRNGKey(0), jax.random.key_data(key)"
    return UsageError(f"{what} is a typed random key", advice)


def layer_of(parameter: Leaf, root: str) -> str:
    """The layer of a parameter: its path without the last part; the root's where it has no other."""
    return scope_of(".".join(parameter.parts[:-1])) or root


def slot_names(
    state: Sequence[Leaf], parameters: Sequence[Leaf], names: Sequence[str], taken: Collection[str]
) -> tuple[list[str], dict[str, str]]:
    """Names of an optimizer's state: ``<parameter>.<key>``, or ``optimizer.<key>`` for what parameters share.

    A part of the state is a parameter's where its path ends in the parameter's; the key is the field before that.

    Args:
        state: The state.
        parameters: The parameters.
        names: Their names.
        taken: Names that are taken.

    Returns:
        The names, and those that are of one parameter to the parameter's name.
    """
    found: list[str] = []
    owners: dict[str, str] = {}
    ordered = sorted(zip(parameters, names, strict=True), key=lambda pair: -len(pair[0].parts))
    for leaf in state:
        owner = next(
            (
                (name, len(parameter.parts))
                for parameter, name in ordered
                if leaf.parts[len(leaf.parts) - len(parameter.parts) :] == parameter.parts
                and len(leaf.parts) > len(parameter.parts)
            ),
            None,
        )
        above = leaf.parts[: len(leaf.parts) - (owner[1] if owner else 0)]
        field = next((part for part in reversed(above) if not part.isdigit()), "state")
        name = unique(f"{owner[0] if owner else 'optimizer'}.{field}", {*found, *taken})
        found.append(name)
        if owner:
            owners[name] = owner[0]
    return found, owners


def operation(state: Any) -> str:
    """The canonical op of an update, by the classes of its state; of others that hold arrays that with momentum."""
    known = next((_OPERATIONS[name] for name in _classes(state) if name in _OPERATIONS), None)
    arrays = any(np.ndim(leaf) or getattr(leaf, "shape", ()) for leaf in jax.tree_util.tree_leaves(state))
    return known or ("ApplyMomentum" if arrays else "ApplyGradientDescent")


def _classes(state: Any) -> Iterator[str]:
    """Names of the classes of a state and of those within it, from the outside."""
    yield type(state).__name__
    within = state.values() if isinstance(state, dict) else state if isinstance(state, (tuple, list)) else ()
    for part in within:
        yield from _classes(part)
