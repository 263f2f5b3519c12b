"""Two photographs: scikit-learn's bundled ``china.jpg`` and ``flower.jpg``, cropped at random.

Crops are made as image classifiers of the time were trained: a random square of the photograph, scaled to the input
size, mirrored half of the time, normalised by the mean and standard deviation of ImageNet. The class is the photograph,
so two of the N classes occur: this is data to run and train on, not to measure accuracy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, RequestedTensor, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["DEVIATION", "MEAN", "check_images", "crop", "open_photographs", "photographs"]

MEAN = (0.485, 0.456, 0.406)
"""Mean of the ImageNet training set, in RGB, pixels in 0..1 (torchvision's constants)."""

DEVIATION = (0.229, 0.224, 0.225)
"""Standard deviation of the same."""

_SMALLEST = 0.5  # side of the smallest crop over the photograph's shorter side


@functools.lru_cache(maxsize=1)
def photographs() -> tuple[Array, ...]:
    """The photographs as uint8 [427, 640, 3] each, in the order of their classes; read-only."""
    from sklearn.datasets import load_sample_images

    return tuple(np.asarray(image) for image in load_sample_images().images)


def crop(photograph: Array, side: int, rng: np.random.Generator) -> Array:
    """The pixels of one crop in 0..1, float32 [3, side, side]."""
    from PIL import Image

    height, width, _ = photograph.shape
    size = rng.uniform(_SMALLEST, 1.0) * min(height, width)
    left, top = rng.uniform(0, width - size), rng.uniform(0, height - size)
    image = Image.fromarray(photograph).resize(
        (side, side), Image.Resampling.BILINEAR, box=(left, top, left + size, top + size)
    )
    pixels = np.asarray(image, dtype="float32") / 255.0
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.moveaxis(pixels, -1, 0)


def _normalised(pixels: Array) -> Array:
    """Pixels [3, side, side] as image classifiers see them."""
    mean, deviation = (np.reshape(np.asarray(values, "float32"), (3, 1, 1)) for values in (MEAN, DEVIATION))
    normalised: Array = (pixels - mean) / deviation
    return normalised


def check_images(images: RequestedTensor, source: str) -> None:
    """Check that images of the requested shape can be made.

    Args:
        images: The requested tensor.
        source: Name of the data source, for the error.

    Raises:
        DataError: They are no square images of three channels.
    """
    shape = images.shape
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise DataError(
            f"data source '{source}' cannot fill images of shape {list(shape)}", "ask for [batch, 3, side, side]"
        )


def _check(images: RequestedTensor | None, labels: RequestedTensor | None) -> None:
    """Check that the requested shapes can be filled.

    Raises:
        DataError: One cannot.
    """
    if images is not None:
        check_images(images, "photographs")
    if labels is not None:
        known = len(photographs())
        if len(labels.shape) != 2 or labels.shape[1] < known:
            raise DataError(
                f"data source 'photographs' cannot fill labels of shape {list(labels.shape)}",
                f"ask for one-hot labels [batch, classes] with {known} classes or more",
            )
    if images is not None and labels is not None and images.shape[0] != labels.shape[0]:
        raise DataError(
            f"data source 'photographs' was asked for {images.shape[0]} images and {labels.shape[0]} labels",
            "ask for as many of the one as of the other",
        )


def open_photographs(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``images`` [batch, 3, side, side] and one-hot ``labels`` [batch, classes].

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    check_inputs(request, "photographs", ("images", "labels"))
    images, labels = request.spec("images"), request.spec("labels")
    first = images or labels
    if first is None:
        raise DataError("data source 'photographs' was asked for no input", "ask for 'images' or 'labels'")
    _check(images, labels)
    # two generators, so that the labels of a seed are the same whether or not images are requested too
    pick, where = generator(request.seed, "photographs"), generator(request.seed, "photographs:crop")
    pool = photographs()
    while True:
        classes = pick.integers(0, len(pool), first.shape[0])
        batch: Batch = {}
        if images is not None:
            crops = [_normalised(crop(pool[index], images.shape[2], where)) for index in classes]
            batch["images"] = np.stack(crops).astype(images.dtype)
        if labels is not None:
            batch["labels"] = np.eye(labels.shape[1], dtype=labels.dtype)[classes]
        yield batch
