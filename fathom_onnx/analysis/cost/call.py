"""A node as a cost formula sees it: shapes, attributes and known values by position (or :class:`NotKnown`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray

from fathom_onnx.graph import Tensor
from fathom_onnx.graph.static.values import Values

__all__ = ["Arithmetic", "Call", "Formula", "NotKnown", "Shape"]

Shape = tuple[int, ...]
"""Sizes of a tensor's dimensions, all known."""

Arithmetic = tuple[int, int]
"""(MACs, FLOPs); the FLOPs hold those of the MACs."""


class NotKnown(Exception):  # noqa: N818 - a reason, caught where costs are made, never an error of the package
    """Why a formula has no answer for a node."""


@dataclass(frozen=True)
class Call:
    """One node with what is known of its tensors.

    Attributes:
        node: The node.
        tensors: Shapes and types by tensor name.
        values: Values that are known before a run, by tensor name.
    """

    node: onnx.NodeProto
    tensors: Mapping[str, Tensor]
    values: Values

    @cached_property
    def attributes(self) -> dict[str, object]:
        """Attribute name to value."""
        values = ((a.name, onnx.helper.get_attribute_value(a)) for a in self.node.attribute if not a.ref_attr_name)
        return dict(values)

    def has(self, position: int) -> bool:
        """Whether an optional input is given."""
        return len(self.node.input) > position and bool(self.node.input[position])

    def gives(self, position: int) -> bool:
        """Whether the node has an optional output."""
        return len(self.node.output) > position and bool(self.node.output[position])

    def _shape(self, name: str) -> Shape:
        tensor = self.tensors.get(name)
        if tensor is None or tensor.shape is None:
            raise NotKnown(f"shape of '{name}' is not known")
        return tensor.shape

    def shape(self, position: int) -> Shape:
        """Shape of an input.

        Raises:
            NotKnown: It has none, or is not given.
        """
        if not self.has(position):
            raise NotKnown(f"input {position} is not given")
        return self._shape(self.node.input[position])

    def result(self, position: int = 0) -> Shape:
        """Shape of an output.

        Raises:
            NotKnown: The output has no known shape, or the node omits it.
        """
        if not self.gives(position):
            raise NotKnown(f"output {position} is not asked for")
        return self._shape(self.node.output[position])

    def elements(self, position: int) -> int:
        """Elements of an input."""
        return math.prod(self.shape(position))

    def output_elements(self, position: int = 0) -> int:
        """Elements of an output."""
        return math.prod(self.result(position))

    def matrix(self, position: int, rank: int) -> Shape:
        """Shape of an input that must have so many dimensions.

        Raises:
            NotKnown: It has another number of them.
        """
        shape = self.shape(position)
        if len(shape) != rank:
            raise NotKnown(f"input {position} has {len(shape)} dimensions, not {rank}")
        return shape

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute.

        Raises:
            NotKnown: It is absent and has no default.
        """
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise NotKnown(f"attribute '{name}' is not given")
        return value

    def integers(self, name: str) -> list[int]:
        """A list of integers, empty where the attribute is absent."""
        value = self.attributes.get(name)
        return [int(v) for v in value] if isinstance(value, (list, tuple)) else []

    def text(self, name: str, default: str = "") -> str:
        """A text attribute."""
        value = self.attributes.get(name)
        return value.decode(errors="replace") if isinstance(value, bytes) else default

    def value(self, position: int) -> NDArray[np.generic] | None:
        """The value of an input where it is known before a run."""
        return self.values.get(self.node.input[position]) if self.has(position) else None


Formula = Callable[[Call], Arithmetic]
"""From a node to its arithmetic; raises :class:`NotKnown` with the reason where there is no answer."""
