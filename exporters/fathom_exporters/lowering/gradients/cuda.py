"""Gradients of convolutions in forms that onnxruntime's CUDA provider has kernels for.

It runs a transposed convolution by cuDNN's backward-data convolution, and has no kernel for one with other padding at
the ends than at the starts. The rows that such padding would remove at the end are written as output padding instead.
"""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape
from fathom_exporters.lowering.window import Window

from . import convolution, polyphase

__all__ = ["back_input"]


def back_input(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackInput: dy [N, O, *out], w [O, C/group, *kernel] -> dx [N, C, *size].

    One transposed convolution with even padding or, where the forward convolution's padding does not allow that, the
    convolutions of the polyphase components.
    """
    window = Window(node)
    size = list(node.attributes["input_shape"].as_ints())[2:]
    reach = window.extent(static_shape(operands(node)[0])[2:])
    start = window.starts
    # rows at the end that no window reaches, were the image padded there as at its start
    left = [n + 2 * p - r for n, p, r in zip(size, start, reach, strict=True)]
    if any(not 0 <= rest < stride for rest, stride in zip(left, window.strides, strict=True)):
        return polyphase.back_input(b, node)
    return [convolution.transposed(b, node, [*start, *start], left)]
