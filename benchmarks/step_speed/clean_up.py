"""Count the nodes of each workload's training graph before and after each kind of clean-up.

    python benchmarks/step_speed/clean_up.py                        # all eight, from both frameworks, small preset
    python benchmarks/step_speed/clean_up.py memnet --preset tiny --for simulators

Prints a table: the nodes when the gradients are in standard ops, what each kind of clean-up takes away or, negative,
adds, and the nodes of the file. Nodes that a pass leaves without users count as taken away by it.
"""

from __future__ import annotations

import argparse
import importlib
from collections import Counter
from unittest import mock

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from fathom_onnx.exporting import PURPOSES, ExportRequest, export_graph, usual_frameworks
from fathom_onnx.workloads import SUITES, USUAL_SUITE, workload

FINISH = importlib.import_module("fathom_exporters.lowering.finish")  # the package has a function of that name
LOWERED = "LowerGradients"
"""The pass after which all ops are standard ones; what comes before it is in the first column."""
KINDS = {
    "FoldConstants": "constants folded",
    "LiftConstantsToInitializersPass": "constants folded",
    "MergeEqualNodes": "equal nodes merged",
    "MergeMoves": "moves merged",
    "RemoveEmptyMoves": "moves merged",
    "ReadTransposedOperands": "transposes read through",
    "DropIdentities": "identities",
    "FoldMomentCorrections": "forms of `fast`",
    "JoinSummedProducts": "forms of `fast`",
    "ScaleGradients": "forms of `fast`",
    "MergeFactors": "forms of `fast`",
}
"""The class of a pass to its column; those that are not here are in the last."""
OTHERS = "others"
COLUMNS = [*dict.fromkeys(KINDS.values()), OTHERS]


class Counted:
    """A pass that notes how many nodes it takes away."""

    def __init__(self, step: ir.passes.InPlacePass, taken: Counter[str], counts: dict[str, int]) -> None:
        self._step, self._taken, self._counts = step, taken, counts

    def __call__(self, model: ir.Model) -> None:
        """Run the pass on ``model``."""
        name = type(self._step).__name__
        before = len(model.graph)
        self._step(model)
        if name == LOWERED:
            RemoveUnusedNodesPass()(model)  # the nodes of what has no gradient
        elif LOWERED in self._counts:
            RemoveUnusedNodesPass()(model)
            self._taken[KINDS.get(name, OTHERS)] += before - len(model.graph)
        self._counts[name] = len(model.graph)


def counted(framework: str, request: ExportRequest) -> tuple[int, Counter[str], int]:
    """Nodes when the gradients are standard ops, those that each kind of clean-up takes away, and nodes at the end."""
    taken: Counter[str] = Counter()
    counts: dict[str, int] = {}
    steps = [Counted(step, taken, counts) for step in FINISH.passes(request.purpose, request.opset)]
    with mock.patch.object(FINISH, "passes", return_value=steps):
        graph = export_graph(framework, request)
    return counts[LOWERED], taken, len(graph.model.graph.node)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [definition.name for definition in SUITES[USUAL_SUITE]]
    parser.add_argument("workloads", nargs="*", default=usual)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--for", dest="purpose", choices=PURPOSES, default="onnxruntime")
    given = parser.parse_args()
    print(f"| workload | framework | lowered | {' | '.join(COLUMNS)} | file |")
    print(f"|---|---|---:|{'---:|' * len(COLUMNS)}---:|")
    for name in given.workloads:
        for framework in usual_frameworks():
            request = ExportRequest(workload(name, given.preset), "training", purpose=given.purpose)
            lowered, taken, left = counted(framework, request)
            columns = " | ".join(f"{taken[kind]:,}" for kind in COLUMNS)
            print(f"| {name} | {framework} | {lowered:,} | {columns} | {left:,} |", flush=True)
