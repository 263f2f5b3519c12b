"""Passes over a translated graph that take out what tracing leaves behind: needless constants, arithmetic and biases.

In comes a model whose nodes have tags; it is changed in place. The clean-up that follows for both frameworks
(:mod:`fathom_exporters.lowering.cleanup`) takes out identities, empty moves, duplicates and unused nodes.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from fathom_exporters.tensorflow.translate.layout import AssignLayouts

from .arithmetic import DropNeutralArithmetic, FuseBiases
from .constants import FillLargeConstants, UseScalars

__all__ = ["TIDY", "tidy"]

TIDY: tuple[ir.passes.InPlacePass, ...] = (
    UseScalars(),
    DropNeutralArithmetic(),
    AssignLayouts(),
    FuseBiases(),
    FillLargeConstants(),
    common.RemoveUnusedNodesPass(),
)
"""The passes in order."""


def tidy(model: ir.Model) -> None:
    """Run :data:`TIDY` on ``model``, in place."""
    for step in TIDY:
        step(model)
