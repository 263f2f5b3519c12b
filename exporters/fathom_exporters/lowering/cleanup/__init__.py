"""Clean-up passes over a lowered graph: they remove what computes nothing and simplify the rest.

In comes a model of standard ops whose nodes have tags; it is changed in place, and no arithmetic on its inputs changes.
:data:`CLEANUP` is the sequence, :func:`clean_up` runs it. Each pass of our own is a class of one module of this folder,
with what it does and why that is exact in its docstring; the others are onnx_ir's.

onnxscript's optimizer, which PyTorch's exporter runs by default, is not used as a whole: it takes ``x + 1e-8`` for
``x`` and so deletes Adam's epsilon.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from .folding import FoldConstants, InheritTags
from .merging import DropIdentities, MergeEqualNodes
from .moves import MergeMoves, ReadTransposedOperands, RemoveEmptyMoves
from .reductions import DropUnitAxesInSums, UseGlobalAveragePools
from .splits import CountEqualSplits, SplitSlices

__all__ = ["CLEANUP", "clean_up"]

CLEANUP: tuple[ir.passes.InPlacePass, ...] = (
    FoldConstants(),
    InheritTags(),
    DropIdentities(),
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    common.DeduplicateInitializersPass(),
    MergeEqualNodes(),
    common.RemoveUnusedNodesPass(),
    MergeMoves(),
    ReadTransposedOperands(),
    DropUnitAxesInSums(),
    UseGlobalAveragePools(),
    RemoveEmptyMoves(),
    # merged moves leave duplicates and nodes without users
    DropIdentities(),
    MergeEqualNodes(),
    common.RemoveUnusedNodesPass(),
    SplitSlices(),
    CountEqualSplits(),
    common.RemoveUnusedNodesPass(),
)
"""The clean-up passes in order."""


def clean_up(model: ir.Model) -> None:
    """Run :data:`CLEANUP` on ``model``, in place."""
    for step in CLEANUP:
        step(model)
