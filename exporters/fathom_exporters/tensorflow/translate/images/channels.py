"""Operations on images whose channels are last, as handlers for images with channels first see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fathom_exporters.tensorflow.translate.emit import Emit, Handler
from fathom_exporters.tensorflow.translate.layout import to_first, to_last

__all__ = ["channels_first"]

_LASTS = ("NHWC", "NDHWC", "NWC")
_LISTS = ("strides", "ksize", "dilations")
"""Attributes with one number for each axis of an image."""


class _ChannelsFirst(Emit):
    """An operation on images [N, *size, C] as one on images [N, C, *size]: transposed on the way in and out.

    Args:
        plain: The operation as it is.
        ins: Inputs that are images.
        outs: Outputs that are images.
    """

    def __init__(self, plain: Emit, ins: Sequence[int], outs: Sequence[int]) -> None:
        super().__init__(plain._graph, plain._node, plain.stock)
        self._outs = outs
        for index in ins:
            self.inputs[index] = self.transpose(self.inputs[index], to_first(len(self.shape(self.inputs[index]))))

    def attribute(self, name: str, default: Any = None) -> Any:
        value = super().attribute(name, default)
        if name == "data_format":
            return {"NDHWC": "NCDHW"}.get(value, "NCHW")
        if name in _LISTS and value:
            return [value[axis] for axis in to_first(len(value))]
        if name == "explicit_paddings" and value:
            return [value[2 * axis + end] for axis in to_first(len(value) // 2) for end in (0, 1)]
        return value

    @property
    def output_shape(self) -> list[int]:
        shape = super().output_shape
        return [shape[axis] for axis in to_first(len(shape))] if 0 in self._outs else shape

    def replace(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> None:
        if 0 not in self._outs:
            super().replace(op_type, *inputs, domain=domain, **attributes)
            return
        made = self.op(op_type, *inputs, shape=self.output_shape, **attributes)
        super().replace("Transpose", made, perm=to_last(len(self.output_shape)))

    def become(self, *tensors: str | None) -> None:
        super().become(
            *(
                self.transpose(tensor, to_last(len(self.shape(tensor)))) if index in self._outs and tensor else tensor
                for index, tensor in enumerate(tensors)
            )
        )


def channels_first(
    handler: Handler, ins: Sequence[int] = (), outs: Sequence[int] = (), always: bool = False
) -> Handler:
    """A handler for either layout from one for images with channels first.

    Args:
        handler: The handler.
        ins: Inputs that are images.
        outs: Outputs that are images.
        always: Whether the operation, which has no attribute for it, has the channels last.
    """

    def handle(e: Emit) -> None:
        last = always or e.attribute("data_format", "NHWC") in _LASTS
        handler(_ChannelsFirst(e, ins, outs) if last else e)

    return handle
