"""CIFAR-10 in its binary version (Krizhevsky 2009): files of records of 3073 bytes.

A record is the class, 0 to 9, and 32 x 32 pixels: all red values, row by row, then all green, then all blue.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

from .division import part_of
from .files import read_bytes, require_file, what_is
from .pixels import labelled_pictures, stored_pictures

__all__ = ["CLASSES", "RECORD", "SIDE", "open_cifar10", "read_records"]

SIDE = 32
"""Pixels along each side of an image."""

CLASSES = 10
"""Classes that a record can have."""

RECORD = 1 + 3 * SIDE * SIDE
"""Bytes of a record."""

_EXPECTED = f"records of {RECORD} bytes: a class of 0 to {CLASSES - 1} and {SIDE}x{SIDE} pixels of three colours"
_TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_HELD_OUT = "test_batch.bin"


def read_records(path: Path) -> Array:
    """The records of a file, uint8 [count, 3073]; read-only.

    Raises:
        DataError: It cannot be read, or is no such file.
    """
    data = read_bytes(path, _EXPECTED)
    if not data:
        raise DataError(f"'{path}' is empty", f"expected {_EXPECTED}")
    count, rest = divmod(len(data), RECORD)
    if rest:
        others, left = divmod(len(data), RECORD + 1)
        hint = "" if left else f": {others} records of {RECORD + 1} bytes, as CIFAR-100 has"
        raise DataError(
            f"'{path}' ends at byte {len(data)}, {rest} bytes after the start of record {count}{hint}",
            f"expected {_EXPECTED}",
        )
    records = np.frombuffer(data, np.uint8).reshape(count, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"'{path}' has class {records[first, 0]} in record {first} (byte {first * RECORD})", f"expected {_EXPECTED}"
        )
    return records


def _records(request: BatchRequest, path: Path) -> Array:
    """The records of the part requested."""
    if what_is(path) != "folder":
        records = read_records(path)
        return records if request.split == "all" else records[part_of(records, request.split, f"'{path}'")]
    names = {"training": _TRAINING, "held-out": (_HELD_OUT,)}.get(request.split, (*_TRAINING, _HELD_OUT))
    paths = [require_file(path / name, "the files of CIFAR-10's binary version") for name in names]
    return np.concatenate([read_records(one) for one in paths])


def open_cifar10(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``images`` and ``labels``.

    Training data are the files ``data_batch_1.bin`` to ``data_batch_5.bin`` of a folder, held-out data
    ``test_batch.bin``; of one file, one record in ten is held out.

    Args:
        request: The request.
        path: The folder, or one file of records.

    Raises:
        DataError: A file is not what it should be, or the request cannot be filled.
    """
    records = _records(request, Path(path))
    planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    pictures = np.ascontiguousarray(np.moveaxis(planes, 1, -1))
    source = f"cifar10:{path}"
    return labelled_pictures(request, source, stored_pictures(pictures), records[:, 0], CLASSES)
