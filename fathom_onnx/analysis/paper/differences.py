"""Which op of the paper's Figure 3 became which here: parts of a model that two systems spell in different ops.

What the systems of 2016 did is read off the models that Fathom took over (TensorFlow's seq2seq with attention and
BasicLSTMCell; a memory network by element-wise products) and off TensorFlow's gradients of that time. The shares are
those of the figure and of the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from fathom_onnx.vocabulary import OPS, OpClass

from .reported import figure_3

__all__ = ["APART", "MOVES", "Difference", "Move", "differences_from_paper"]

APART = 0.05
"""Difference of shares, of 1, from which an op is listed."""


@dataclass(frozen=True)
class Move:
    """A part of a model whose work is in other ops here than in the paper.

    Attributes:
        workload: The workload.
        part: The part.
        paper_ops: The ops that it is in the paper.
        layers: How the names of its layers here begin or, after a dot, what they hold; () for the optimizer.
        why: What it is in each system.
    """

    workload: str
    part: str
    paper_ops: tuple[str, ...]
    layers: tuple[str, ...]
    why: str

    def ours(self, layer_ops: pd.DataFrame) -> dict[str, float]:
        """The ops that the part is in a run: op to share of the node time, the largest first.

        Optimizer ops are no part but the optimizer's own.

        Args:
            layer_ops: Microseconds, a row a layer, a column an op.
        """
        optimizer = [op in OPS and OPS[op].op_class == OpClass.F for op in layer_ops.columns]
        mine = [
            not self.layers or any(str(layer).startswith(name) or f".{name}" in str(layer) for name in self.layers)
            for layer in layer_ops.index
        ]
        chosen = layer_ops.loc[mine, [is_update == (not self.layers) for is_update in optimizer]].sum()
        whole = float(layer_ops.to_numpy().sum())
        found = {str(op): float(us) / whole for op, us in chosen.items() if us > 0} if whole else {}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


MOVES: tuple[Move, ...] = (
    Move(
        "seq2seq",
        "attention",
        ("Mul", "Sum", "Tile"),
        ("attention",),
        "The model of 2016 scores and reads by element-wise products over batch, length and size, and sums them; the "
        "gradient of a sum repeats its argument with Tile. Here both are matrix products, and so are their gradients: "
        "no product is stored before it is summed, and nothing is repeated.",
    ),
    Move(
        "seq2seq",
        "cells",
        ("MatMul", "Mul", "Add", "Sub"),
        ("lstm",),
        "A cell is one product for its four gates, then element-wise arithmetic, in both systems, each operation a "
        "kernel of its own: a cell fused into one kernel is in neither. With the attention cheap, the product is "
        "what the step consists of.",
    ),
    Move(
        "memnet",
        "hops over the memory",
        ("Mul", "Sum", "Tile", "Transpose"),
        ("hop",),
        "The memory network of 2016 scores and reads the memory by element-wise products with a repeated query, and "
        "sums them; the gradients of the sums are Tile. Here scores and reads are batched matrix products.",
    ),
    Move(
        "memnet",
        "sentence encodings and gradients of embeddings",
        ("Mul", "Sum"),
        ("memory_", "query"),
        "Words are weighted by position and summed in both. TensorFlow's gradient of a lookup was a list of rows "
        "(IndexedSlices), whose sum is an op that the figure does not print. Here it is a whole table that the rows "
        "are added to: GatherGrad, the largest op once the products of the hops are cheap.",
    ),
    Move(
        "memnet",
        "optimizer",
        ("ApplyAdam",),
        (),
        "Gradients are whole tables here, so that clipping and update go over all rows of the embeddings.",
    ),
)
"""The parts, by workload."""


@dataclass(frozen=True)
class Difference:
    """An op whose share of a training step differs from the paper's; shares are 0 to 1.

    Attributes:
        workload: The workload.
        op: The op.
        paper: Its share in Figure 3; 0 where that does not print it.
        ours: Framework to its share here.
    """

    workload: str
    op: str
    paper: float
    ours: Mapping[str, float]

    @property
    def points(self) -> float:
        """Our mean share less the paper's."""
        return sum(self.ours.values()) / len(self.ours) - self.paper


def differences_from_paper(
    shares: Mapping[str, Mapping[str, Mapping[str, float]]], apart: float = APART
) -> list[Difference]:
    """The ops whose mean share over the frameworks differs from the paper's by ``apart`` or more.

    Args:
        shares: Workload to framework to op to share of a training step; workloads that the paper lacks are left out.
        apart: Difference from which an op is listed, of 1.

    Returns:
        By workload, the largest difference first.
    """
    paper = figure_3()
    found = []
    for workload, by_framework in shares.items():
        if workload not in paper.index or not by_framework:
            continue
        printed = {str(op): float(share) for op, share in paper.loc[workload].items()}
        ops = dict.fromkeys([*printed, *(op for ours in by_framework.values() for op in ours)])
        rows = [
            Difference(workload, op, printed.get(op, 0.0), {f: ours.get(op, 0.0) for f, ours in by_framework.items()})
            for op in ops
        ]
        found += sorted((row for row in rows if abs(row.points) >= apart), key=lambda row: -abs(row.points))
    return found
