"""Batch normalisation and local response normalisation, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from fathom_exporters.tensorflow.translate.emit import Emit, Handler

from .channels import channels_first

__all__ = ["NORMALISATION"]


def batch_norm(e: Emit) -> None:
    """FusedBatchNormV3(x, scale, offset, mean, variance) -> y, mean, unbiased variance, reserve spaces.

    The reserve spaces are what the gradient reads: the mean and, as we define it, the inverse standard deviation; with
    given statistics, the mean and the variance.
    """
    x, scale, offset, old_mean, old_variance = e.inputs
    epsilon = e.attribute("epsilon")
    if not e.attribute("is_training"):
        y = e.op("BatchNormalization", x, scale, offset, old_mean, old_variance, shape=e.shape(x), epsilon=epsilon)
        e.become(y, old_mean, old_variance, old_mean, old_variance)
        return
    image = e.shape(x)
    channels = [image[1]]
    y, mean, variance, inv_std = e.private(
        "BatchNormTraining", x, scale, offset, shapes=[image, channels, channels, channels], epsilon=epsilon
    )
    unbiased = None
    if e.is_used(2):
        count = int(np.prod(image)) // image[1]
        unbiased = e.binary("Mul", variance, e.number(count / max(count - 1, 1), x))
    factor = float(e.attribute("exponential_avg_factor", 1.0))
    kept = mean
    if factor != 1.0:
        kept = _running(e, old_mean, mean, factor) if e.is_used(1) else mean
        unbiased = _running(e, old_variance, unbiased, factor) if unbiased is not None else None
    e.become(y, kept, unbiased, mean, inv_std)


def _running(e: Emit, old: str, new: str, factor: float) -> str:
    """``(1 - factor) * old + factor * new``."""
    return e.binary("Add", e.binary("Mul", old, e.number(1 - factor, old)), e.binary("Mul", new, e.number(factor, new)))


def batch_norm_grad(e: Emit) -> None:
    """FusedBatchNormGradV3(dy, x, scale, mean, inverse standard deviation) -> dx, dscale, doffset.

    With given statistics it reads the variance instead, and the normalisation is a scale and a shift.
    """
    dy, x, scale, mean, spread = e.inputs[:5]
    channels = e.shape(scale)
    if e.attribute("is_training", True):
        shapes = [e.shape(x), channels, channels]
        e.become(*e.private("BatchNormGrad", dy, x, scale, mean, spread, shapes=shapes))
        return
    sides = len(e.shape(x)) - 2
    axes = e.ints([0, *range(2, 2 + sides)])

    def over_image(value: str) -> str:
        return e.reshape(value, [*channels, *[1] * sides])

    deviation = e.unary("Sqrt", e.binary("Add", spread, e.number(e.attribute("epsilon"), x)))
    inv_std = e.unary("Reciprocal", deviation)
    normed = e.binary("Mul", e.binary("Sub", x, over_image(mean)), over_image(inv_std))
    dscale = e.op("ReduceSum", e.binary("Mul", dy, normed), axes, shape=channels, keepdims=0)
    doffset = e.op("ReduceSum", dy, axes, shape=channels, keepdims=0)
    e.become(e.binary("Mul", dy, over_image(e.binary("Mul", scale, inv_std))), dscale, doffset)


def _lrn_attributes(e: Emit) -> dict[str, Any]:
    """As ONNX takes them: its alpha is for the mean of a window's squares, TensorFlow's for their sum."""
    size = 2 * int(e.attribute("depth_radius", 5)) + 1
    alpha, beta, bias = (float(e.attribute(*d)) for d in (("alpha", 1.0), ("beta", 0.5), ("bias", 1.0)))
    return {"size": size, "alpha": alpha * size, "beta": beta, "bias": bias}


def lrn(e: Emit) -> None:
    """LRN(x)."""
    e.replace("LRN", e.inputs[0], **_lrn_attributes(e))


def lrn_grad(e: Emit) -> None:
    """LRNGrad(dy, x, y) -> dx."""
    dy, x, y = e.inputs
    e.become(*e.private("LRNGrad", dy, x, y, shapes=[e.shape(x)], **_lrn_attributes(e)))


NORMALISATION: dict[str, Handler] = {
    "FusedBatchNormGradV3": channels_first(batch_norm_grad, [0, 1], [0]),
    "FusedBatchNormV3": channels_first(batch_norm, [0], [0]),
    "LRN": channels_first(lrn, [0], [0], always=True),  # TensorFlow has it with the channels last only
    "LRNGrad": channels_first(lrn_grad, [0, 1, 2], [0], always=True),
}
"""TensorFlow operation to its handler."""
