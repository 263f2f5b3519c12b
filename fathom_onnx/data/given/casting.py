"""Given values in the type that a graph takes: exactly the same numbers or, for floating point, said to be rounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

from .declared import is_floating, is_text

__all__ = ["in_type"]


def in_type(value: Array, dtype: str, where: str) -> tuple[Array, str]:
    """Values in an element type, and a remark on what that changed; empty for nothing.

    NumPy's files keep types that only ONNX has as bare bytes; of the right size, they are taken to be of the type.

    Args:
        value: The values.
        dtype: The type, as NumPy names it.
        where: The values in words, for an error.

    Raises:
        DataError: The type cannot hold the values.
    """
    if is_text(dtype) != (value.dtype.kind in "UST"):
        wanted = "strings" if is_text(dtype) else dtype
        raise DataError(f"{where} is {value.dtype}, and the graph takes {wanted}", f"give {wanted}")
    if is_text(dtype):
        return _text(value, where), ""
    target = np.dtype(dtype)
    if value.dtype == target:
        return value, ""
    if value.dtype.type is np.void and value.dtype.fields is None:
        if target.isbuiltin == 1 or value.dtype.itemsize != target.itemsize:
            raise DataError(f"{where} is {value.dtype}, and the graph takes {dtype}", f"give {dtype}")
        return value.view(target), ""
    if value.dtype.kind in "biuf" or is_floating(str(value.dtype)):
        with np.errstate(all="ignore"):
            cast = value.astype(target)
            if _same(value, cast):
                return cast, f"{value.dtype} in the file, {dtype} in the graph, the same values"
            rounds = is_floating(dtype) and is_floating(str(value.dtype))
            if rounds and np.array_equal(np.isfinite(cast.astype(np.float64)), np.isfinite(value.astype(np.float64))):
                return cast, f"rounded from {value.dtype} to {dtype}"
    raise DataError(f"{where} is {value.dtype} with values that {dtype} cannot hold", f"give {dtype}")


def _same(value: Array, cast: Array) -> bool:
    """Whether a cast kept every number: it gives them back, and none wrapped around or met the end of a range."""
    within = _within(value, cast.dtype) and _within(cast, value.dtype)
    return within and np.array_equal(cast.astype(value.dtype), value, equal_nan=is_floating(str(value.dtype)))


def _within(value: Array, dtype: np.dtype[Any]) -> bool:
    """Whether all values lie in the range of an integer type of NumPy's own; true for any other type."""
    if dtype.kind not in "iu" or not value.size:
        return True
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    # whole bounds for whole numbers, which floating point could not tell apart
    number = int if value.dtype.kind in "iub" else float
    return low <= number(value.min()) and number(value.max()) < high + 1


def _text(value: Array, where: str) -> Array:
    """Strings as Python's own, in an array of objects, which is how onnxruntime takes them."""
    if value.dtype.kind != "S":
        return value.astype(object)
    try:
        return np.char.decode(value, "utf-8").astype(object)
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not text in UTF-8", "give strings of NumPy's type str") from error
