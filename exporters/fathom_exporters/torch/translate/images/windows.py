"""The windows of an image as columns of a matrix, and back: aten operation to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import element_type, ints, op, reshaped

__all__ = ["WINDOWS"]

_aten = torch.ops.aten


def _places(
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """The element of the padded image, along each side, of a kernel element and a window: [kernel, windows]."""
    rows = zip(size, kernel, dilation, padding, stride, strict=True)
    return [np.arange(k)[:, None] * d + np.arange((n + 2 * p - d * (k - 1) - 1) // s + 1) * s for n, k, d, p, s in rows]


def im2col(
    x: ir.Value, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> ir.Value:
    """im2col -> a Gather along each side; [N, C, H, W] to [N, C * kh * kw, windows]."""
    *head, height, width = static_shape(x)
    down, across = _places((height, width), kernel, dilation, padding, stride)
    n = len(head)
    if any(padding):
        x = op.Pad(x, ints(*[0] * n, *padding, *[0] * n, *padding))
    rows = op.Gather(x, op.Constant(value=ir.tensor(down)), axis=n)
    both = op.Gather(rows, op.Constant(value=ir.tensor(across)), axis=n + 2)
    columns = op.Transpose(both, perm=[*range(n), n, n + 2, n + 1, n + 3])
    channels = head[-1] * math.prod(kernel)
    return op.Reshape(columns, ints(*head[:-1], channels, down.shape[1] * across.shape[1]))


def col2im(
    x: ir.Value,
    output_size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> ir.Value:
    """col2im -> columns added where their elements were; [N, C * kh * kw, windows] to [N, C, H, W].

    Windows side by side that cover the image are moved only.
    """
    *head, rows, _ = static_shape(x)
    channels = rows // math.prod(kernel)
    places = _places(output_size, kernel, dilation, padding, stride)
    counts = [place.shape[1] for place in places]
    (height, width), n = output_size, len(head)
    tiled = list(kernel) == list(stride) and set(dilation) == {1} and not any(padding)
    if tiled and [k * c for k, c in zip(kernel, counts, strict=True)] == list(output_size):
        apart = reshaped(x, [*head, channels, *kernel, *counts])
        moved = op.Transpose(apart, perm=[*range(n + 1), n + 3, n + 1, n + 4, n + 2])
        return op.Reshape(moved, ints(*head, channels, height, width))
    padded = [n + 2 * p for n, p in zip(output_size, padding, strict=True)]
    down, across = places
    flat = down[:, None, :, None] * padded[1] + across[None, :, None, :]
    images = math.prod(head) * channels
    where = op.Expand(op.Constant(value=ir.tensor(flat.reshape(1, -1))), ints(images, flat.size))
    zeros = op.ConstantOfShape(ints(images, math.prod(padded)), value=ir.tensor(np.zeros(1, element_type(x))))
    whole = op.ScatterElements(zeros, where, op.Reshape(x, ints(images, flat.size)), axis=1, reduction="add")
    image = op.Reshape(whole, ints(*head, channels, *padded))
    if not any(padding):
        return image
    ends = [n + p for n, p in zip(output_size, padding, strict=True)]
    return op.Slice(image, ints(*padding), ints(*ends), ints(n + 1, n + 2))


WINDOWS: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.im2col.default: im2col,
    _aten.col2im.default: col2im,
}
"""aten operation of windows to the function that writes it in ONNX."""
