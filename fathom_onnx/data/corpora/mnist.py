"""MNIST and sets in its format: IDX files of images and labels (LeCun, Cortes and Burges 1998).

An IDX file has four bytes (0, 0, the type of an element, the number of axes), the sizes of the axes, big-endian, and
the elements. Images are unsigned bytes along three axes (0x0803), 0 for paper and 255 for ink; labels are unsigned
bytes along one axis (0x0801).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

from .division import part_of
from .files import read_bytes, what_is
from .pixels import labelled_pictures, stored_pictures

__all__ = ["open_mnist", "read_idx"]

_TRAINING, _HELD_OUT = "train", "t10k"
_UNSIGNED_BYTE = 0x08
_KINDS = {1: "labels", 3: "images"}


def read_idx(path: Path, axes: int) -> Array:
    """The elements of an IDX file, uint8, with so many axes; read-only.

    Raises:
        DataError: It cannot be read, or is no such file.
    """
    what = f"an IDX file of {_KINDS.get(axes, 'bytes')}, plain or gzip"
    data = read_bytes(path, what)
    start = 4 + 4 * axes
    if len(data) < start:
        raise DataError(f"'{path}' has {len(data)} bytes, not even the {start} of a header", f"expected {what}")
    if data[:2] != b"\0\0":
        raise DataError(f"'{path}' begins with the bytes {data[:4].hex(' ')}", f"expected 00 00 08 0{axes}, {what}")
    if data[2] != _UNSIGNED_BYTE:
        raise DataError(
            f"'{path}' has elements of type 0x{data[2]:02x} (byte 2)", f"expected 0x08, unsigned bytes: {what}"
        )
    if data[3] != axes:
        kind = f", as {_KINDS[data[3]]} have" if data[3] in _KINDS else ""
        raise DataError(f"'{path}' has {data[3]} axes{kind} (byte 3)", f"expected {axes}: {what}")
    shape = struct.unpack(f">{axes}I", data[4:start])
    size = start + math.prod(shape)
    if not math.prod(shape):
        raise DataError(f"'{path}' is empty: its header says {' x '.join(map(str, shape))}", f"expected {what}")
    if len(data) != size:
        raise DataError(
            f"'{path}' ends at byte {len(data)}; by its header, {' x '.join(map(str, shape))}, it has {size} bytes",
            "get the file again" if len(data) < size else "its header does not belong to it",
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _found(folder: Path, part: str, kind: str, axes: int) -> Path | None:
    """The file of a part under one of the names that it has been published with; the plain one first."""
    names = (f"{part}-{kind}{dot}idx{axes}-ubyte{packed}" for packed in ("", ".gz") for dot in ("-", "."))
    return next((folder / name for name in names if what_is(folder / name) == "file"), None)


def _named(folder: Path, part: str, kind: str, axes: int) -> Path:
    path = _found(folder, part, kind, axes)
    if path is None:
        raise DataError(
            f"folder '{folder}' has no '{part}-{kind}-idx{axes}-ubyte'",
            "expected MNIST's own file names, plain or with .gz, or name the one file of images",
        )
    return path


def _labels_beside(path: Path) -> Path:
    """The file of labels that belongs to a file of images.

    Raises:
        DataError: There is none.
    """
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    other = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    for candidate in (path.with_name(name), path.with_name(other)):
        if candidate.name != path.name and what_is(candidate) == "file":
            return candidate
    if name == path.name:
        raise DataError(f"'{path}' has no file of labels", "expected 'images' in its name, and 'labels' in theirs")
    raise DataError(f"'{path}' has no file of labels", f"expected '{name}' beside it")


def _pair(images: Path, labels: Path | None, limit: int | None) -> tuple[Array, Array]:
    """Images and labels below a limit; without a file of labels, classes of 0."""
    pictures = read_idx(images, 3)
    if pictures.shape[1] != pictures.shape[2]:
        raise DataError(f"'{images}' has images of {pictures.shape[1]} x {pictures.shape[2]}", "expected square ones")
    if labels is None:
        return pictures, np.zeros(len(pictures), np.uint8)
    classes = read_idx(labels, 1)
    if len(classes) != len(pictures):
        raise DataError(
            f"'{images}' has {len(pictures)} images and '{labels}' {len(classes)} labels", "give files of the same part"
        )
    if limit is not None and classes.max() >= limit:
        first = int(np.argmax(classes >= limit))
        raise DataError(
            f"'{labels}' has the label {classes[first]} for image {first} (byte {8 + first}), and the graph {limit} "
            "classes",
            f"expected 0 to {limit - 1}, or a graph of more classes (--set classes=N)",
        )
    return pictures, classes


def _corpus(request: BatchRequest, path: Path) -> tuple[Array, Array]:
    """Images and labels of the part requested."""
    wanted = request.spec("labels")
    labelled = wanted is not None
    limit = wanted.shape[1] if wanted is not None and len(wanted.shape) == 2 else None
    if what_is(path) != "folder":
        images, labels = _pair(path, _labels_beside(path) if labelled and what_is(path) == "file" else None, limit)
        if request.split == "all":
            return images, labels
        chosen = part_of(images, request.split, f"'{path}'")
        return images[chosen], labels[chosen]
    parts = {"training": [_TRAINING], "held-out": [_HELD_OUT]}.get(request.split, [_TRAINING])
    if request.split == "all" and _found(path, _HELD_OUT, "images", 3):
        parts = [_TRAINING, _HELD_OUT]
    read = [
        _pair(_named(path, part, "images", 3), _named(path, part, "labels", 1) if labelled else None, limit)
        for part in parts
    ]
    sizes = [images.shape[1:] for images, _ in read]
    if any(size != sizes[0] for size in sizes):
        raise DataError(f"folder '{path}' has images of {sizes[0][0]} and of {sizes[1][0]} pixels", "give one size")
    return np.concatenate([images for images, _ in read]), np.concatenate([labels for _, labels in read])


def open_mnist(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``images`` and ``labels``.

    Training data are the files ``train-...`` of a folder, held-out data ``t10k-...``; of one file of images, one image
    in ten is held out.

    Args:
        request: The request.
        path: A folder with MNIST's file names, or a file of images, beside which are its labels.

    Raises:
        DataError: A file is not what it should be, or the request cannot be filled.
    """
    images, labels = _corpus(request, Path(path))
    return labelled_pictures(request, f"mnist:{path}", stored_pictures(images), labels, int(labels.max()) + 1)
