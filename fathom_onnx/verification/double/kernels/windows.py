"""Windows of convolution and pooling over images of any rank: where they lie, and the values in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array

__all__ = ["Windows", "place"]


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes of an image [N, C, *size].

    Attributes:
        size: The image.
        kernel: Elements of a window along each axis.
        strides: From a window to the next.
        dilations: From an element of a window to the next.
        pads: Before and after the image along each axis; negative ones crop.
        count: Windows along each axis.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    count: tuple[int, ...]

    def of(self, image: Array, fill: float = 0.0) -> Array:
        """The values of an image in each window: a view [N, C, *count, *kernel] of the padded image."""
        reach = [
            (c - 1) * s + (k - 1) * d + 1
            for c, s, k, d in zip(self.count, self.strides, self.kernel, self.dilations, strict=True)
        ]
        # what the last window reaches beyond the padding, where sizes are rounded up, or does not reach
        sides = [(a, r - n - a) for (a, _), r, n in zip(self.pads, reach, self.size, strict=True)]
        padded = np.pad(image, [(0, 0)] * 2 + [(max(a, 0), max(b, 0)) for a, b in sides], constant_values=fill)
        cut = tuple(slice(max(-a, 0), padded.shape[2 + i] - max(-b, 0)) for i, (a, b) in enumerate(sides))
        padded = padded[(slice(None), slice(None), *cut)]
        outer, inner = padded.strides[:2], padded.strides[2:]
        return np.lib.stride_tricks.as_strided(
            padded,
            (*padded.shape[:2], *self.count, *self.kernel),
            (
                *outer,
                *(s * step for s, step in zip(self.strides, inner, strict=True)),
                *(d * step for d, step in zip(self.dilations, inner, strict=True)),
            ),
            writeable=False,
        )

    def inside(self, with_pads: bool) -> Array:
        """How many elements of each window lie in the image, or in the image and its padding: [*count]."""
        total = np.ones((1,) * len(self.size))
        for axis, (n, k) in enumerate(zip(self.size, self.kernel, strict=True)):
            before, after = self.pads[axis]
            position = np.arange(self.count[axis])[:, None] * self.strides[axis] + np.arange(k) * self.dilations[axis]
            low, high = (0, before + n + after) if with_pads else (before, before + n)
            shape = [1] * len(self.size)
            shape[axis] = -1
            total = total * ((position >= low) & (position < high)).sum(1).reshape(shape)
        return total


def place(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str | None = None,
    ceil_mode: Any = 0,
) -> Windows:
    """The windows that a node's attributes describe.

    Args:
        size: Spatial axes of the image.
        kernel: The attribute of this name, and so the others; None for one that is left out.
        strides: See the operators' definitions.
        dilations: See there.
        pads: All starts, then all ends.
        auto_pad: ``NOTSET``, ``VALID``, ``SAME_UPPER`` or ``SAME_LOWER``.
        ceil_mode: Whether the number of windows is rounded up. A window that would begin in the padding at the end is
            left out, as in onnxruntime and PyTorch.
    """
    rank = len(size)
    steps = tuple(strides or [1] * rank)
    spread = tuple(dilations or [1] * rank)
    flat = list(pads or [0] * rank * 2)
    sides = [(flat[i], flat[rank + i]) for i in range(rank)]
    count = []
    for i, (n, k) in enumerate(zip(size, kernel, strict=True)):
        reach = (k - 1) * spread[i] + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            wanted = -(-n // steps[i])
            total = max((wanted - 1) * steps[i] + reach - n, 0)
            small, large = total // 2, total - total // 2
            sides[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        elif auto_pad == "VALID":
            sides[i] = (0, 0)
        room = n + sum(sides[i]) - reach
        windows = room // steps[i] + 1
        if ceil_mode:
            windows = -(-room // steps[i]) + 1
            if (windows - 1) * steps[i] >= n + sides[i][0]:
                windows -= 1
        count.append(max(windows, 0))
    return Windows(tuple(size), tuple(kernel), steps, spread, tuple(sides), tuple(count))
