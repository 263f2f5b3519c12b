"""Convolution, pooling and normalisation, forward and backward, in NCHW and OIHW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .emit import Emit, Handler

__all__ = ["IMAGES"]

_OIHW, _HWIO = (3, 2, 0, 1), (2, 3, 1, 0)
"""Permutations from TensorFlow's filter layout, and to it."""
_NCHW, _NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
"""Permutations from NHWC to NCHW, and back."""


def _require_nchw(e: Emit) -> None:
    if e.attribute("data_format", "NHWC") != "NCHW":
        raise ValueError("images must be NCHW; give the operation the network's data_format")


def _window(e: Emit, kernel: Sequence[int], image: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    """A window's attributes as ONNX takes them, for an image and an output of given height and width."""
    strides = list(e.attribute("strides"))[2:]
    dilations = list(e.attribute("dilations", [1, 1, 1, 1]))[2:]
    padding = e.attribute("padding")
    if padding == "EXPLICIT":
        explicit = list(e.attribute("explicit_paddings"))[4:]
        pads = [explicit[0], explicit[2], explicit[1], explicit[3]]
    elif padding == "VALID":
        pads = [0, 0, 0, 0]
    else:  # SAME: what the windows need beyond the image, an odd one at the end
        missing = [
            max((o - 1) * s + (k - 1) * d + 1 - i, 0)
            for o, s, k, d, i in zip(outputs, strides, kernel, dilations, image, strict=True)
        ]
        pads = [m // 2 for m in missing] + [m - m // 2 for m in missing]
    return {"kernel_shape": list(kernel), "strides": strides, "pads": pads, "dilations": dilations}


def _group(image: Sequence[int], filters: Sequence[int]) -> int:
    return image[1] // filters[2]


def conv2d(e: Emit) -> None:
    """Conv2D(x, w): x [N, C, H, W], w HWIO."""
    _require_nchw(e)
    x, w = e.inputs
    image, filters = e.shape(x), e.shape(w)
    window = _window(e, filters[:2], image[2:], e.output_shape[2:])
    e.replace("Conv", x, e.transpose(w, _OIHW), group=_group(image, filters), **window)


def conv2d_back_filter(e: Emit) -> None:
    """Conv2DBackpropFilter(x, filter sizes, dy) -> dw HWIO."""
    _require_nchw(e)
    x, _, dy = e.inputs
    image, filters = e.shape(x), e.output_shape
    window = _window(e, filters[:2], image[2:], e.shape(dy)[2:])
    shape = [filters[axis] for axis in _OIHW]
    (dw,) = e.private("Conv2DBackFilter", dy, x, shapes=[shape], group=_group(image, filters), **window)
    e.replace("Transpose", dw, perm=list(_HWIO))


def conv2d_back_input(e: Emit) -> None:
    """Conv2DBackpropInput(input sizes, w HWIO, dy) -> dx."""
    _require_nchw(e)
    _, w, dy = e.inputs
    image, filters = e.output_shape, e.shape(w)
    window = _window(e, filters[:2], image[2:], e.shape(dy)[2:])
    w = e.transpose(w, _OIHW)
    dx = e.private("Conv2DBackInput", dy, w, shapes=[image], group=_group(image, filters), input_shape=image, **window)
    e.become(*dx)


def _pool_window(e: Emit, image: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    _require_nchw(e)
    return _window(e, list(e.attribute("ksize"))[2:], image[2:], outputs[2:])


def max_pool(e: Emit) -> None:
    """MaxPool(x)."""
    (x,) = e.inputs
    e.replace("MaxPool", x, **_pool_window(e, e.shape(x), e.output_shape))


def max_pool_grad(e: Emit) -> None:
    """MaxPoolGrad(x, y, dy) -> dx."""
    x, y, dy = e.inputs
    image = e.shape(x)
    e.become(*e.private("MaxPoolGrad", dy, x, shapes=[image], **_pool_window(e, image, e.shape(y))))


def batch_norm(e: Emit) -> None:
    """FusedBatchNormV3(x, scale, offset, mean, variance) -> y, mean, unbiased variance, reserve spaces.

    The reserve spaces are what the gradient reads: the mean and, as we define it, the inverse standard deviation.
    """
    _require_nchw(e)
    x, scale, offset, old_mean, old_variance = e.inputs
    epsilon = e.attribute("epsilon")
    if not e.attribute("is_training"):
        e.replace("BatchNormalization", x, scale, offset, old_mean, old_variance, epsilon=epsilon)
        return
    if e.attribute("exponential_avg_factor", 1.0) != 1.0:
        raise ValueError("exponential_avg_factor is not 1; update the running statistics in the model")
    image = e.shape(x)
    channels = [image[1]]
    y, mean, variance, inv_std = e.private(
        "BatchNormTraining", x, scale, offset, shapes=[image, channels, channels, channels], epsilon=epsilon
    )
    unbiased = None
    if e.is_used(2):
        count = int(np.prod(image)) // image[1]
        unbiased = e.binary("Mul", variance, e.number(count / max(count - 1, 1), x))
    e.become(y, mean, unbiased, mean, inv_std)


def batch_norm_grad(e: Emit) -> None:
    """FusedBatchNormGradV3(dy, x, scale, mean, inverse standard deviation) -> dx, dscale, doffset."""
    _require_nchw(e)
    if not e.attribute("is_training", True):
        raise ValueError("the gradient of batch normalisation with given statistics is not supported")
    dy, x, scale, mean, inv_std = e.inputs[:5]
    channels = e.shape(scale)
    shapes = [e.shape(x), channels, channels]
    e.become(*e.private("BatchNormGrad", dy, x, scale, mean, inv_std, shapes=shapes))


def _lrn_attributes(e: Emit) -> dict[str, Any]:
    """As ONNX takes them: its alpha is for the mean of a window's squares, TensorFlow's for their sum."""
    size = 2 * int(e.attribute("depth_radius", 5)) + 1
    alpha, beta, bias = (float(e.attribute(*d)) for d in (("alpha", 1.0), ("beta", 0.5), ("bias", 1.0)))
    return {"size": size, "alpha": alpha * size, "beta": beta, "bias": bias}


def lrn(e: Emit) -> None:
    """LRN(x NHWC), the only layout that TensorFlow has for it."""
    image = e.transpose(e.inputs[0], _NCHW)
    y = e.op("LRN", image, shape=e.shape(image), **_lrn_attributes(e))
    e.replace("Transpose", y, perm=list(_NHWC))


def lrn_grad(e: Emit) -> None:
    """LRNGrad(dy, x, y) -> dx, all NHWC."""
    dy, x, y = (e.transpose(tensor, _NCHW) for tensor in e.inputs)
    (dx,) = e.private("LRNGrad", dy, x, y, shapes=[e.shape(x)], **_lrn_attributes(e))
    e.replace("Transpose", dx, perm=list(_NHWC))


IMAGES: dict[str, Handler] = {
    "Conv2D": conv2d,
    "Conv2DBackpropFilter": conv2d_back_filter,
    "Conv2DBackpropInput": conv2d_back_input,
    "FusedBatchNormGradV3": batch_norm_grad,
    "FusedBatchNormV3": batch_norm,
    "LRN": lrn,
    "LRNGrad": lrn_grad,
    "MaxPool": max_pool,
    "MaxPoolGrad": max_pool_grad,
}
"""TensorFlow operation on images to its handler."""
