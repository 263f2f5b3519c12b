"""Images with steps of diffusion: crops of the photographs, and for each the step at which it is seen with noise.

The crops are those of :mod:`.photographs`, in -1..1 as diffusion models are trained on (Ho et al. 2020, section 3.3),
and the steps are drawn uniformly. The noise itself is drawn by the training step; a denoising step gets the same
images, as if they had noise already.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, RequestedTensor, check_inputs, generator
from fathom_onnx.errors import DataError

from .photographs import check_images, crop, photographs

__all__ = ["STEPS", "open_diffusion"]

STEPS = 1000
"""Steps of diffusion where the request does not bound them (Ho et al. 2020, section 4)."""


def _check(images: RequestedTensor | None, timesteps: RequestedTensor | None) -> None:
    """Check that the requested shapes can be filled.

    Raises:
        DataError: One cannot.
    """
    if images is not None:
        check_images(images, "diffusion")
    if images is not None and timesteps is not None and timesteps.shape != images.shape[:1]:
        raise DataError(
            f"data source 'diffusion' was asked for {images.shape[0]} images and steps {list(timesteps.shape)}",
            "ask for one step an image",
        )


def open_diffusion(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``images`` [batch, 3, side, side] and ``timesteps`` [batch].

    Raises:
        DataError: Another input is requested or none, or a shape that cannot be filled.
    """
    check_inputs(request, "diffusion", ("images", "timesteps"))
    images, timesteps = request.spec("images"), request.spec("timesteps")
    if images is None and timesteps is None:
        raise DataError("data source 'diffusion' was asked for no input", "ask for 'images' or 'timesteps'")
    _check(images, timesteps)
    draw = request.draws.get("timesteps")
    steps = int(draw.high) if draw is not None else STEPS
    pick, when = generator(request.seed, "diffusion"), generator(request.seed, "diffusion:steps")
    pool = photographs()
    while True:
        batch: Batch = {}
        if images is not None:
            crops = [crop(pool[pick.integers(len(pool))], images.shape[2], pick) for _ in range(images.shape[0])]
            batch["images"] = (2 * np.stack(crops) - 1).astype(images.dtype)
        if timesteps is not None:
            batch["timesteps"] = when.integers(0, steps, timesteps.shape).astype(timesteps.dtype)
        yield batch
