"""A node's name is its address: ``<phase>/<layer>/<op>`` and, where one op became several nodes, ``/<kind>_<n>``.

``forward/layer1.0.conv1/Conv2D``, ``backward/layer1.0.conv1/Conv2DBackFilter/MatMul_2``,
``optimizer/fc.weight/ApplyAdam/Mul_3``. In the optimizer phase the second part is the parameter that is updated.
"""

from __future__ import annotations

from dataclasses import dataclass

from fathom_onnx.vocabulary import OPS, PHASES, OpClass, op_class

__all__ = ["Address", "scope_of"]


def scope_of(name: str) -> str:
    """A layer's or parameter's name as the part of an address, whose parts are divided by slashes."""
    return name.replace("/", "_")


@dataclass(frozen=True)
class Address:
    """Where a node stands: phase, layer (or updated parameter), canonical op and part of that op."""

    phase: str
    scope: str
    op: str
    part: str = ""

    @classmethod
    def parse(cls, name: str) -> Address | None:
        """The address a node name spells, or None for a name that is not one (a third-party graph)."""
        parts = name.split("/")
        if len(parts) not in (3, 4) or not all(parts):
            return None
        if parts[0] not in PHASES or parts[2] not in OPS:
            return None
        return cls(*parts)

    def __str__(self) -> str:
        base = f"{self.phase}/{self.scope}/{self.op}"
        return f"{base}/{self.part}" if self.part else base

    @property
    def layer(self) -> str:
        """The layer: the scope itself or, in the optimizer phase, the layer of the updated parameter."""
        if self.phase == "optimizer" and "." in self.scope:
            return self.scope.rpartition(".")[0]
        return self.scope

    @property
    def op_class(self) -> OpClass:
        """The op's class in the paper's Figure 3."""
        return op_class(self.op)
