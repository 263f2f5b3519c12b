"""The section on where the op mixes differ from the paper's, and which op became which."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from fathom_onnx.analysis.paper.differences import APART, MOVES, Difference, Move, differences_from_paper
from fathom_onnx.analysis.paper.reported import figure_3
from fathom_onnx.analysis.report.page import Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import percent_cell
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.study.result import StudyResult

__all__ = ["difference_sections"]

_NODES = 2
"""Nodes that are named of an op."""

_OPS = 4
"""Ops that are named of a part."""


def difference_sections(result: StudyResult) -> list[Section]:
    """Ops whose share differs from Figure 3's, with their largest nodes here; nothing where none does."""
    mixes: dict[str, dict[str, OpMix]] = {}
    native: dict[str, dict[str, OpMix]] = {}
    ways = {c.cell.framework: f", {c.profiled_as}" for c in result.native_runs if c.profiled_as}
    for cells, into in ((result.cells, mixes), (result.native_runs, native)):
        for cell in cells:
            if cell.op_mix is not None and cell.cell.mode == "training" and cell.job.own is None:
                into.setdefault(cell.cell.workload, {})[cell.cell.framework] = cell.op_mix
    found = differences_from_paper(_shares(mixes))
    if not found:
        return []
    frameworks = list(dict.fromkeys(f for row in found for f in row.ours))
    own = [f for f in frameworks if any(f in several for several in native.values())]
    natively = _shares(native)
    columns = (
        *("workload", "op", "Figure 3", *frameworks, *(f"in {f} itself{ways.get(f, '')}" for f in own)),
        *("points", "largest nodes here"),
    )
    rows = [_row(row, frameworks, own, natively, mixes[row.workload]) for row in found]
    note = f"Ops whose mean share over the frameworks is {100 * APART:.0f} points or more from the figure's."
    tables = [Table("Op by op", columns, rows, note)]
    tables = [*_moves(result), *tables]
    return [Section("apart", "Where the ops differ from the paper's", tables=tables)]


def _moves(result: StudyResult) -> list[Table]:
    """The parts of the models that are known to be other ops here; nothing where none was run."""
    layer_ops: dict[str, dict[str, pd.DataFrame]] = {}
    for cell in result.cells:
        if cell.layer_ops is not None and cell.cell.mode == "training":
            layer_ops.setdefault(cell.cell.workload, {})[cell.cell.framework] = cell.layer_ops
    rows = [_move(move, layer_ops[move.workload]) for move in MOVES if move.workload in layer_ops]
    columns = ("workload", "part", "of what the figure prints", "here, in its layers", "what it is in each system")
    note = (
        "The figure has no layers: an op of several parts stands in each of them. Here: the largest ops of the part's "
        "own layers, in percent of the step's node time."
    )
    return [Table("Which op became which", columns, rows, note)] if rows else []


def _shares(mixes: Mapping[str, Mapping[str, OpMix]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        workload: {framework: mix.shares("op").to_dict() for framework, mix in several.items()}
        for workload, several in mixes.items()
    }


def _row(
    row: Difference,
    frameworks: list[str],
    own: list[str],
    native: Mapping[str, Mapping[str, Mapping[str, float]]],
    mixes: Mapping[str, OpMix],
) -> list[TableCell | str]:
    natively = native.get(row.workload, {})
    nodes = next((mix.nodes[row.op] for mix in mixes.values() if row.op in mix.nodes), ())
    return [
        row.workload,
        row.op,
        percent_cell(row.paper) if row.paper else TableCell(""),
        *(percent_cell(row.ours.get(framework)) for framework in frameworks),
        *(percent_cell(natively[f].get(row.op, 0.0)) if f in natively else TableCell("") for f in own),
        TableCell(f"{100 * row.points:+.0f}", row.points),
        ", ".join(f"{name} ({share:.0%} of it)" for name, share in nodes[:_NODES]),
    ]


def _move(move: Move, layer_ops: Mapping[str, pd.DataFrame]) -> list[TableCell | str]:
    paper = {str(op): float(share) for op, share in figure_3().loc[move.workload].items()}
    then = ", ".join(f"{op} {paper[op]:.0%}" for op in move.paper_ops)
    here = {framework: list(move.ours(table).items())[:_OPS] for framework, table in layer_ops.items()}
    told = "; ".join(f"{who}: {', '.join(f'{op} {share:.0%}' for op, share in ops)}" for who, ops in here.items())
    return [move.workload, move.part, then, told, move.why]
