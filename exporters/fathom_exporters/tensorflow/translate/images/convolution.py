"""Convolutions with one, two or three sides, in groups, dilated, depthwise and transposed, and their gradients.

A filter stays in TensorFlow's own layout outside the convolution itself, since that is what the model's variable has
and what its update is computed in: one Transpose where it is read, one where its gradient is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from fathom_exporters.tensorflow.translate.emit import Emit, Handler

from .channels import channels_first
from .window import window

__all__ = ["CONVOLUTION"]


def _to_outputs_first(rank: int) -> list[int]:
    """The permutation from [*kernel, I, O] to [O, I, *kernel]."""
    return [rank - 1, rank - 2, *range(rank - 2)]


def _to_outputs_last(rank: int) -> list[int]:
    """The permutation from [O, I, *kernel] to [*kernel, I, O]."""
    return [*range(2, rank), 1, 0]


def _group(image: Sequence[int], filters: Sequence[int]) -> int:
    return image[1] // filters[-2]


def conv(e: Emit) -> None:
    """Conv2D(x, w): x [N, C, *size], w [*kernel, C/group, O]."""
    x, w = e.inputs
    image, filters = e.shape(x), e.shape(w)
    attributes = window(e, filters[:-2], image[2:], e.output_shape[2:])
    e.replace("Conv", x, e.transpose(w, _to_outputs_first(len(filters))), group=_group(image, filters), **attributes)


def conv_back_filter(e: Emit) -> None:
    """Conv2DBackpropFilter(x, filter sizes, dy) -> dw [*kernel, C/group, O]."""
    x, _, dy = e.inputs
    image, filters = e.shape(x), e.output_shape
    attributes = window(e, filters[:-2], image[2:], e.shape(dy)[2:])
    shape = [filters[axis] for axis in _to_outputs_first(len(filters))]
    (dw,) = e.private("Conv2DBackFilter", dy, x, shapes=[shape], group=_group(image, filters), **attributes)
    e.become(e.transpose(dw, _to_outputs_last(len(filters))))


def conv_back_input(e: Emit) -> None:
    """Conv2DBackpropInput(input sizes, w [*kernel, C/group, O], dy) -> dx; forward, a transposed convolution."""
    _, w, dy = e.inputs
    image, filters = e.output_shape, e.shape(w)
    attributes = window(e, filters[:-2], image[2:], e.shape(dy)[2:])
    w = e.transpose(w, _to_outputs_first(len(filters)))
    group = _group(image, filters)
    e.become(*e.private("Conv2DBackInput", dy, w, shapes=[image], group=group, input_shape=image, **attributes))


def _by_channel(e: Emit, w: str) -> str:
    """A depthwise filter [kh, kw, C, M] as that of a convolution in C groups, [C * M, 1, kh, kw]."""
    height, width, channels, multiple = e.shape(w)
    return e.reshape(e.transpose(w, (2, 3, 0, 1)), [channels * multiple, 1, height, width])


def depthwise(e: Emit) -> None:
    """DepthwiseConv2dNative(x, w [kh, kw, C, M])."""
    x, w = e.inputs
    image = e.shape(x)
    attributes = window(e, e.shape(w)[:2], image[2:], e.output_shape[2:])
    e.replace("Conv", x, _by_channel(e, w), group=image[1], **attributes)


def depthwise_back_filter(e: Emit) -> None:
    """DepthwiseConv2dNativeBackpropFilter(x, filter sizes, dy) -> dw [kh, kw, C, M]."""
    x, _, dy = e.inputs
    height, width, channels, multiple = e.output_shape
    attributes = window(e, [height, width], e.shape(x)[2:], e.shape(dy)[2:])
    shape = [channels * multiple, 1, height, width]
    (dw,) = e.private("Conv2DBackFilter", dy, x, shapes=[shape], group=channels, **attributes)
    e.become(e.transpose(e.reshape(dw, [channels, multiple, height, width]), (2, 3, 0, 1)))


def depthwise_back_input(e: Emit) -> None:
    """DepthwiseConv2dNativeBackpropInput(input sizes, w [kh, kw, C, M], dy) -> dx."""
    _, w, dy = e.inputs
    image = e.output_shape
    attributes = window(e, e.shape(w)[:2], image[2:], e.shape(dy)[2:])
    w = _by_channel(e, w)
    e.become(*e.private("Conv2DBackInput", dy, w, shapes=[image], group=image[1], input_shape=image, **attributes))


CONVOLUTION: dict[str, Handler] = {
    "Conv2D": channels_first(conv, [0], [0]),
    "Conv2DBackpropFilter": channels_first(conv_back_filter, [0, 2]),
    "Conv2DBackpropInput": channels_first(conv_back_input, [2], [0]),
    "Conv3D": channels_first(conv, [0], [0]),
    "Conv3DBackpropFilterV2": channels_first(conv_back_filter, [0, 2]),
    "Conv3DBackpropInputV2": channels_first(conv_back_input, [2], [0]),
    "DepthwiseConv2dNative": channels_first(depthwise, [0], [0]),
    "DepthwiseConv2dNativeBackpropFilter": channels_first(depthwise_back_filter, [0, 2]),
    "DepthwiseConv2dNativeBackpropInput": channels_first(depthwise_back_input, [2], [0]),
}
"""TensorFlow operation to its handler."""
