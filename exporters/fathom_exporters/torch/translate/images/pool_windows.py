"""What pools with one, two or three sides have in common: how many windows there are, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import ints, op, reshaped

__all__ = ["adaptive_windows", "batched", "equal_windows", "like", "windows_along"]


def windows_along(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """The windows along a side. With ``ceil_mode`` the last one may go past the padding, but not start there."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count


def batched(x: ir.Value, sides: int) -> ir.Value:
    """An image without a batch as one of a batch of 1."""
    shape = static_shape(x)
    return x if len(shape) == sides + 2 else reshaped(x, [1, *shape])


def like(made: ir.Value, x: ir.Value, sides: int) -> ir.Value:
    """What was made of a batch, without it where ``x`` had none; a Squeeze needs no shape."""
    return made if len(static_shape(x)) == sides + 2 else op.Squeeze(made, ints(0))


def adaptive_windows(size: int, out: int) -> list[range]:
    """The window of each output along a side of an adaptive pool."""
    return [range(o * size // out, -(-(o + 1) * size // out)) for o in range(out)]


def equal_windows(size: Sequence[int], out: Sequence[int]) -> list[int] | None:
    """The kernel of an adaptive pool whose windows are equal and side by side, or None."""
    return (
        None if any(n % o for n, o in zip(size, out, strict=True)) else [n // o for n, o in zip(size, out, strict=True)]
    )
