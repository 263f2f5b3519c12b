"""The windows of convolutions and pools, as ONNX takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fathom_exporters.tensorflow.translate.emit import Emit

__all__ = ["pool_window", "window"]


def window(e: Emit, kernel: Sequence[int], image: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    """A window's attributes, for the sides of an image and of an output; the operation has its channels first."""
    sides = len(image)
    strides = list(e.attribute("strides"))[2:]
    dilations = list(e.attribute("dilations", None) or [1] * (sides + 2))[2:]
    padding = e.attribute("padding")
    if padding == "EXPLICIT":
        explicit = list(e.attribute("explicit_paddings"))[4:]
        pads = [*explicit[::2], *explicit[1::2]]
    elif padding == "VALID":
        pads = [0] * 2 * sides
    else:  # SAME: what the windows need beyond the image, an odd one at the end
        missing = [
            max((o - 1) * s + (k - 1) * d + 1 - i, 0)
            for o, s, k, d, i in zip(outputs, strides, kernel, dilations, image, strict=True)
        ]
        pads = [m // 2 for m in missing] + [m - m // 2 for m in missing]
    return {"kernel_shape": list(kernel), "strides": strides, "pads": pads, "dilations": dilations}


def pool_window(e: Emit, image: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    """The attributes of a pool's window, for the shapes of an image and an output [N, C, *size].

    Raises:
        ValueError: It goes over the batch or the channels.
    """
    kernel = list(e.attribute("ksize"))
    if kernel[:2] != [1, 1] or list(e.attribute("strides"))[:2] != [1, 1]:
        raise ValueError("a pool over the batch or the channels has no translation; reduce over a reshaped axis")
    return window(e, kernel[2:], image[2:], outputs[2:])
