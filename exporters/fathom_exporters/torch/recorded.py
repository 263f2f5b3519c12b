"""A recorded step: the graph of aten operations, its interface, and where each operation belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx

from fathom_exporters.lowering import Tag

__all__ = ["Capture"]


@dataclass(frozen=True)
class Capture:
    """A recorded step.

    Attributes:
        module: The graph of aten operations; placeholders and outputs in interface order, then the gradients.
        input_names: Interface names of the placeholders.
        output_names: Interface names of the outputs, and names of the gradients.
        tags: Where each operation belongs, by node name.
        gradients: Parameter to the name of the output that is its gradient.
        recomputed: Names of the operations that repeat a part of the forward pass for the backward pass.
    """

    module: fx.GraphModule
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    tags: Mapping[str, Tag]
    gradients: Mapping[str, str] = field(default_factory=dict)
    recomputed: frozenset[str] = frozenset()
