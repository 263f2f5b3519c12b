"""Values of variables from a file: an array for each under its name, in a ``.safetensors`` file or an ``.npz``.

A checkpoint of ``fathom-onnx train`` is such a file, and so is what a framework's users save of a model's weights where
its parameters have the same names.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from fathom_onnx.errors import DataError, one_line
from fathom_onnx.workloads.contract import Array, Variable

__all__ = ["ValueFile"]

_UNREADABLE = (OSError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error, SafetensorError)


class ValueFile:
    """A file of values, open for reading; an array is read when it is asked for.

    Args:
        path: The file.
        required: Variables that it must have values of.

    Raises:
        DataError: It cannot be read, or lacks one of them.
    """

    def __init__(self, path: Path, required: Iterable[Variable]) -> None:
        self.path = path
        try:
            self._get: Callable[[str], Array]
            if path.suffix == ".safetensors":
                tensors: Any = safe_open(path, framework="numpy")
                self.names, self._get = frozenset(tensors.keys()), tensors.get_tensor
            else:
                arrays = np.load(path)
                self.names, self._get = frozenset(arrays.files), arrays.__getitem__
        except _UNREADABLE as error:
            raise self._unreadable(error) from error
        missing = [v.name for v in required if v.name not in self.names]
        if missing:
            raise DataError(f"'{path}' has no array '{missing[0]}'", "save one array a parameter, under its name")

    def _unreadable(self, error: BaseException) -> DataError:
        reason = getattr(error, "strerror", None) or one_line(error, 80)
        return DataError(f"cannot read values from '{self.path}' ({reason})", "give a .safetensors or an .npz file")

    def read(self, variable: Variable) -> Array:
        """The values of a variable.

        Raises:
            DataError: They cannot be read, or do not fit it.
        """
        try:
            value = self._get(variable.name)
        except _UNREADABLE as error:
            raise self._unreadable(error) from error
        if value.shape != variable.shape or not np.can_cast(value.dtype, variable.dtype, "same_kind"):
            raise DataError(
                f"'{variable.name}' in '{self.path}' is {value.dtype} {list(value.shape)}, "
                f"not {variable.dtype} {list(variable.shape)}",
                "give values of the parameter's own shape and type",
            )
        return value.astype(variable.dtype)
