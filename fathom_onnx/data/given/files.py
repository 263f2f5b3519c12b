"""Files of input values: one ``.npz`` a batch, an array for each input under its name; no code in them is run."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fathom_onnx.errors import DataError, one_line
from fathom_onnx.workloads.contract import Array

__all__ = ["InputFile", "read_input_files"]

_HOW = "write it with numpy.savez(FILE, **{input name: values})"


@dataclass(frozen=True)
class InputFile:
    """The arrays of one file, by their names in it: the values of one batch."""

    path: Path
    arrays: dict[str, Array]


def read_input_files(paths: Sequence[Path]) -> tuple[InputFile, ...]:
    """Read files of input values, one a batch.

    Raises:
        DataError: A file is absent, no ``.npz`` or damaged, or holds Python objects in place of values.
    """
    return tuple(InputFile(path, _arrays(path)) for path in paths)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(f"'{path}' is not an .npz file", _HOW)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: _array(path, name, archive) for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"no file '{path}'", "give the path of an .npz file") from error
    except IsADirectoryError as error:
        raise DataError(f"'{path}' is a folder", "give the path of an .npz file") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}' ({error.strerror or one_line(error)})", "check the file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise DataError(f"'{path}' is damaged ({one_line(error, 80)})", _HOW) from error
    return arrays


def _array(path: Path, name: str, archive: np.lib.npyio.NpzFile) -> Array:
    try:
        value = archive[name]
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            fix = "write strings as an array of NumPy's type str, and each tensor of a sequence on its own"
            raise DataError(f"'{name}' in '{path}' holds Python objects", fix) from error
        raise
    if not isinstance(value, np.ndarray):  # a member that is no .npy file comes as bytes
        raise DataError(f"'{name}' in '{path}' is not an array", _HOW)
    return value
