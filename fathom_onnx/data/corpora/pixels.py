"""Pictures and their classes in the layout that a request asks for.

Grey images are [batch, side * side], [batch, side, side] or [batch, 1, side, side], 0 to 1. Colour images are
[batch, 3, side, side], normalised as :mod:`~fathom_onnx.data.images.photographs` does. A picture of another size is
resized by PIL, bilinearly, where smaller with a wider filter. Labels are one-hot [batch, classes], or class numbers
[batch] of an integer type.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, RequestedTensor, check_inputs, endless_shuffle, generator
from fathom_onnx.data.images.photographs import DEVIATION, MEAN
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Layout", "labelled_pictures", "labels_as", "layout_of", "stored_pictures"]

Picture = Callable[[int, int], "Image"]
"""From an index of a corpus and a side to a picture; of other sizes too, which are resized."""


@dataclass(frozen=True)
class Layout:
    """How images are laid out.

    Attributes:
        side: Pixels along each side.
        colour: Whether they have three channels.
    """

    side: int
    colour: bool

    def values(self, picture: Image) -> Array:
        """A picture as float32 [3, side, side], normalised, or [side, side], 0 to 1."""
        from PIL.Image import Resampling

        shown = picture.convert("RGB" if self.colour else "L")
        if shown.size != (self.side, self.side):
            shown = shown.resize((self.side, self.side), Resampling.BILINEAR)
        pixels = np.asarray(shown, dtype="float32") / 255.0
        if not self.colour:
            return pixels
        return np.moveaxis((pixels - np.asarray(MEAN, "float32")) / np.asarray(DEVIATION, "float32"), -1, 0)


def layout_of(spec: RequestedTensor, source: str) -> Layout:
    """The layout of a requested tensor of images.

    Raises:
        DataError: It is no layout of square images.
    """
    shape = spec.shape
    if len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] and shape[2]:
        return Layout(shape[2], colour=True)
    pixels = math.prod(shape[1:])
    side = math.isqrt(pixels)
    plane = len(shape) == 2 or (len(shape) in (3, 4) and shape[-2:] == (side, side))
    if len(shape) < 2 or not side or side * side != pixels or not plane:
        raise DataError(
            f"data source '{source}' cannot fill images of shape {list(shape)}",
            "ask for [batch, 3, side, side], or for grey [batch, side * side] or [batch, 1, side, side]",
        )
    return Layout(side, colour=False)


def labels_as(spec: RequestedTensor, classes: Array) -> Array:
    """Labels of a batch in the layout of a requested tensor."""
    if _class_numbers(spec):
        return classes.astype(spec.dtype)
    return np.eye(spec.shape[1], dtype=spec.dtype)[classes]


def _class_numbers(spec: RequestedTensor) -> bool:
    """Whether labels are asked for as numbers of classes, not one-hot."""
    return len(spec.shape) == 1 and np.dtype(spec.dtype).kind in "iu"


def _check_labels(spec: RequestedTensor, source: str, classes: int) -> None:
    """Check that labels can be filled.

    Raises:
        DataError: They have another layout, or there are fewer classes in them than in the corpus.
    """
    if _class_numbers(spec):
        return
    if len(spec.shape) != 2:
        raise DataError(
            f"data source '{source}' cannot fill labels of shape {list(spec.shape)} and type {spec.dtype}",
            "ask for one-hot labels [batch, classes], or integers [batch]",
        )
    if classes > spec.shape[1]:
        raise DataError(
            f"data source '{source}' has {classes} classes, and the graph {spec.shape[1]}",
            f"give it {classes} or more (--set classes={classes})",
        )


def labelled_pictures(
    request: BatchRequest, source: str, picture: Picture, labels: Array, classes: int
) -> Iterator[Batch]:
    """Endless batches of ``images`` and ``labels``; every picture once, in a random order, before any is repeated.

    Args:
        request: The request.
        source: Name of the corpus.
        picture: Gives the pictures.
        labels: Class of each picture.
        classes: Number of classes.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    check_inputs(request, source, ("images", "labels"))
    sizes = {spec.shape[0] if spec.shape else 0 for spec in request.specs}
    if len(sizes) != 1 or not min(sizes):
        asked = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in request.specs) or "no input"
        raise DataError(f"data source '{source}' cannot fill {asked}", "ask for as many images as labels, one or more")
    batch_size = sizes.pop()
    images, wanted = request.spec("images"), request.spec("labels")
    layout = layout_of(images, source) if images is not None else None
    if wanted is not None:
        _check_labels(wanted, source, classes)
    indices = endless_shuffle(len(labels), generator(request.seed, source.partition(":")[0]))
    while True:
        picked = list(itertools.islice(indices, batch_size))
        batch: Batch = {}
        if images is not None and layout is not None:
            shown = np.stack([layout.values(picture(index, layout.side)) for index in picked])
            batch["images"] = shown.reshape(images.shape).astype(images.dtype)
        if wanted is not None:
            batch["labels"] = labels_as(wanted, labels[picked])
        yield batch


def stored_pictures(pool: Array) -> Picture:
    """Pictures of an array, uint8 [count, height, width] or [count, height, width, 3]."""
    from PIL import Image

    return lambda index, side: Image.fromarray(pool[index])
