"""The window of a two-dimensional convolution or pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

__all__ = ["Window"]


class Window:
    """The window attributes of a two-dimensional convolution or pool, read from a private op.

    Attributes:
        kernel: Elements along height and width.
        strides: Along height and width.
        pads: Top, left, bottom, right.
        dilations: Along height and width.
        group: The number of groups of channels; 1 for a pool.
    """

    def __init__(self, node: ir.Node) -> None:
        def ints(name: str) -> list[int]:
            return list(node.attributes[name].as_ints())

        self.kernel = ints("kernel_shape")
        self.strides = ints("strides")
        self.pads = ints("pads")
        self.dilations = ints("dilations")
        self.group = node.attributes["group"].as_int() if "group" in node.attributes else 1

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes as a standard node takes them."""
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "pads": self.pads,
            "dilations": self.dilations,
        }

    def is_of(self, pool: ir.Node) -> bool:
        """Whether a standard MaxPool has this window."""
        attributes = pool.attributes
        same = all(
            list(attributes[name].as_ints()) == numbers if name in attributes else numbers in ([1, 1], [0, 0, 0, 0])
            for name, numbers in self.attributes.items()
        )
        return same and not ("ceil_mode" in attributes and attributes["ceil_mode"].as_int())

    def extent(self, outputs: Sequence[int]) -> list[int]:
        """Padded input elements that ``outputs`` windows span along height and width."""
        return [
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in zip(outputs, self.strides, self.kernel, self.dilations, strict=True)
        ]
