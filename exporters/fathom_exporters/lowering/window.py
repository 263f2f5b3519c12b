"""The window of a convolution or pool of any number of sides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir

__all__ = ["Window"]


class Window:
    """The window attributes of a convolution or pool, read from a private op; its sides are those of the image.

    Attributes:
        kernel: Elements along each side.
        strides: Along each side.
        pads: At the start of each side, then at the end of each.
        dilations: Along each side.
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

    @classmethod
    def of_standard(cls, node: ir.Node, kernel: Sequence[int]) -> Window | None:
        """The window of a standard convolution with this kernel; None where its padding is not written out."""
        attributes = node.attributes
        if "auto_pad" in attributes and attributes["auto_pad"].as_string() != "NOTSET":
            return None
        made = cls.__new__(cls)
        made.kernel = list(kernel)
        for name, usual, count in (("strides", 1, 1), ("pads", 0, 2), ("dilations", 1, 1)):
            given = list(attributes[name].as_ints()) if name in attributes else [usual] * count * len(kernel)
            setattr(made, name, given)
        made.group = attributes["group"].as_int() if "group" in attributes else 1
        return made

    @property
    def rank(self) -> int:
        """The number of sides: 2 for height and width."""
        return len(self.kernel)

    @property
    def starts(self) -> list[int]:
        """Padding at the start of each side."""
        return self.pads[: self.rank]

    @property
    def ends(self) -> list[int]:
        """Padding at the end of each side."""
        return self.pads[self.rank :]

    @property
    def sides(self) -> list[int]:
        """The axes of an image [N, C, ...] that are its sides."""
        return list(range(2, 2 + self.rank))

    @property
    def has_stride(self) -> bool:
        """Whether windows are further apart than one element along any side."""
        return any(s != 1 for s in self.strides)

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
        usual = {"strides": 1, "pads": 0, "dilations": 1}
        same = all(
            numbers == (list(attributes[name].as_ints()) if name in attributes else [usual[name]] * len(numbers))
            for name, numbers in self.attributes.items()
        )
        return same and not ("ceil_mode" in attributes and attributes["ceil_mode"].as_int())

    def extent(self, outputs: Sequence[int]) -> list[int]:
        """Padded input elements that ``outputs`` windows span along each side."""
        return [
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in zip(outputs, self.strides, self.kernel, self.dilations, strict=True)
        ]

    def missing(self, size: Sequence[int], outputs: Sequence[int]) -> list[int]:
        """Elements that the windows want after the end of each side; negative where no window reaches the last ones."""
        return [r - n - p for r, n, p in zip(self.extent(outputs), size, self.starts, strict=True)]

    def reads(self, outputs: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
        """Where along each side of the padded input what a kernel element reads starts and stops, for each element."""
        for element in itertools.product(*map(range, self.kernel)):
            start = [e * d for e, d in zip(element, self.dilations, strict=True)]
            yield start, [e + (o - 1) * s + 1 for e, o, s in zip(start, outputs, self.strides, strict=True)]
