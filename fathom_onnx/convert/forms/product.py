"""A matrix product, and the type of the functions that find those of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fathom_onnx.analysis.cost.call import Call

__all__ = ["Form", "MatrixProduct"]


@dataclass(frozen=True)
class MatrixProduct:
    """``times`` independent products [m, k] x [k, n]."""

    m: int
    n: int
    k: int
    times: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all of them."""
        return self.m * self.n * self.k * self.times


Form = Callable[[Call], tuple[MatrixProduct, ...]]
"""From a node to its products; raises :class:`fathom_onnx.analysis.cost.call.NotKnown` where a shape is missing."""
