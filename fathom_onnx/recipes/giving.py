"""Values of a run, fitted to the variables of the model that its graph was made from."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["fitting_values"]


def fitting_values(
    shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, Array], needed: Collection[str]
) -> dict[str, Array]:
    """The values of a model's variables; those that it does not have, such as an optimizer's, are left out.

    Args:
        shapes: Name to shape of every variable of the model.
        values: Values by name.
        needed: Variables that must be among them.

    Raises:
        DataError: One of those is not there, or a value has another shape.
    """
    for name in needed:
        if name not in values:
            raise DataError(f"there is no value for '{name}' of the model", "give those of a run of this model's graph")
    found = {name: values[name] for name in shapes if name in values}
    for name, value in found.items():
        if tuple(value.shape) != tuple(shapes[name]):
            raise DataError(
                f"the value of '{name}' has shape {list(value.shape)}, the model's {list(shapes[name])}",
                "give those of a run of this model's graph",
            )
    return found
