"""Handwritten digits: the 1797 images of scikit-learn's bundled test set, in the layout of MNIST.

The digits (Alpaydin and Kaynak 1998, UCI optdigits) are 8x8 pixels with 17 grey levels. As in MNIST, whose 20x20 digits
are centred in 28x28 images (LeCun et al. 1998), a digit fills 20/28 of the image side and the rest is empty: cubic
interpolation to the inner box, clipped to 0..1, zeros around it.

The empty margin matters for the Bernoulli likelihood of autoenc. A grey pixel x costs at least its entropy
``-x ln x - (1-x) ln(1-x)``, however good the model. Enlarged to the whole image (3.5 times), the digits would keep the
loss above 42% of its initial value, ``pixels * ln 2``. With the margin this floor is near 20%, and all pixels keep the
grey levels of the interpolation: none is rounded to black or white to make the loss fall.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, endless_shuffle, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["FIELD_SHARE", "HELD_OUT_EVERY", "digits", "open_digits"]

FIELD_SHARE = 20 / 28
"""Side of the digit over side of the image, as in MNIST."""

HELD_OUT_EVERY = 5
"""Every fifth digit is held out, the first among them."""

_LEVELS = 16.0  # the set's grey levels are 0 to 16


@functools.lru_cache(maxsize=4)
def digits(side: int) -> Array:
    """All digits as float32 [1797, side, side], grey levels 0 (paper) to 1 (ink); read-only."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    images = np.asarray(load_digits().images) / _LEVELS
    box = max(1, round(side * FIELD_SHARE))
    # grid_mode treats pixels as areas: without it the outermost samples are stretched to the edge of the box
    factor = box / images.shape[1]
    inner = zoom(images, (1, factor, factor), order=3, mode="nearest", grid_mode=True)
    before = (side - box) // 2
    margin = (before, side - box - before)
    field = np.pad(np.clip(inner, 0.0, 1.0), ((0, 0), margin, margin)).astype("float32")
    field.setflags(write=False)
    return field


def _side(shape: tuple[int, ...]) -> int:
    """Image side of a requested shape [batch, pixels], [batch, side, side] or [batch, 1, side, side].

    Raises:
        DataError: The shape is not one of these, or not square.
    """
    pixels = math.prod(shape[1:])
    side = math.isqrt(pixels)
    square = len(shape) == 2 or (shape[-2:] == (side, side) and len(shape) in (3, 4))
    if len(shape) < 2 or side * side != pixels or not side or not square:
        raise DataError(
            f"data source 'digits' cannot fill images of shape {list(shape)}",
            "ask for square images of one channel, [batch, side * side] or [batch, 1, side, side]",
        )
    return side


def open_digits(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``images`` in 0..1; every digit occurs once, in a random order, before any is repeated.

    Raises:
        DataError: An input other than ``images`` is requested, or a shape that is not square.
    """
    check_inputs(request, "digits", ("images",))
    spec = request.spec("images")
    if spec is None:
        raise DataError("data source 'digits' was asked for no input", "ask for 'images'")
    pool = digits(_side(spec.shape))
    if request.split != "all":
        held_out = np.arange(len(pool)) % HELD_OUT_EVERY == 0
        pool = pool[held_out == (request.split == "held-out")]
    indices = endless_shuffle(len(pool), generator(request.seed, "digits"))
    batch = spec.shape[0]
    while True:
        picked = list(itertools.islice(indices, batch))
        yield {"images": pool[picked].reshape(spec.shape).astype(spec.dtype)}
