"""Sections on memory: the step of each run, and its layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from fathom_onnx.analysis.report.page import Figure, Section, Table, TableCell
from fathom_onnx.analysis.report.workload_figures import MemoryBar, memory_bars

from .table_cells import megabytes_cell

__all__ = ["memory_sections"]

_MEMORY_CAPTION = (
    "Parameters, state, its new values, and the tensors that are alive at the peak of the optimized graph, by the life "
    "of each; the mark is where the bar would end by what onnxruntime's allocator measured of the tensors."
)
_MEMORY_NOTE = (
    "Tensors at the peak by the life of each: in the graph as written, in the optimized one, and as the allocator "
    "measured them in the first run. Parameters, state and its new values count apart. What the allocator handed out "
    "at most is in whole blocks and all it holds; what is bound to a session lies elsewhere."
)


def memory_sections(name: str, modes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Section]:
    """The memory of a step of each run; nothing where no run has a record of it.

    Args:
        name: Prefix of the ids in the drawing.
        modes: Mode to the summaries of its runs by name.
    """
    by_mode = {
        mode: {who: summary["memory"] for who, summary in runs.items() if summary.get("memory")}
        for mode, runs in modes.items()
    }
    by_run = {f"{mode}, {who}": memory for mode, runs in by_mode.items() for who, memory in runs.items()}
    if not by_run:
        return []
    columns = (
        *("run", "parameters", "state", "its new values", "kept for backward", "tensors at the peak, as written"),
        *("optimized", "measured", "most that the allocator handed out", "largest tensor at the peak", "its layer"),
    )
    drawn = partial(memory_bars, name, [_bar(run, memory) for run, memory in by_run.items()])
    rows = [_memory_row(run, memory) for run, memory in by_run.items()]
    layers = [_by_layer(mode, runs) for mode, runs in by_mode.items() if runs]
    return [
        Section(
            "memory",
            "Memory",
            figures=[Figure("Memory of a step", drawn, _MEMORY_CAPTION)],
            tables=[Table("Memory of a step, MB", columns, rows, _MEMORY_NOTE)],
        ),
        Section("memory-layers", "Memory by layer", tables=layers, folded=True),
    ]


def _bar(run: str, memory: Mapping[str, Any]) -> MemoryBar:
    executed = memory["executed"]
    residents = (executed["parameters_bytes"], executed["state_bytes"], executed["next_state_bytes"])
    return MemoryBar(run, residents, executed["peak_bytes"], memory["traced"]["peak_bytes"])


def _memory_row(run: str, memory: Mapping[str, Any]) -> list[TableCell | str]:
    original, executed, traced = memory["graph"], memory["executed"], memory["traced"]
    largest = executed["largest"][0] if executed["largest"] else None
    return [
        run,
        *(megabytes_cell(executed[f"{name}_bytes"]) for name in ("parameters", "state", "next_state", "kept")),
        *(megabytes_cell(part["peak_bytes"], part["unknown_tensors"] > 0) for part in (original, executed)),
        megabytes_cell(traced["peak_bytes"]),
        megabytes_cell(traced["lifetime_peak_bytes"]),
        megabytes_cell(largest["bytes"]) if largest else "",
        (largest["layer"] or "fed") if largest else "",
    ]


def _by_layer(mode: str, runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Bytes of the outputs of each layer's nodes in the optimized graph, the most first."""
    sizes = {who: {row["name"]: row["bytes"] for row in memory["executed"]["by_layer"]} for who, memory in runs.items()}
    table = pd.DataFrame(sizes)
    ordered = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    rows: list[list[TableCell | str]] = [
        [str(layer), *(_size_cell(size) for size in row)]
        for layer, row in zip(ordered.index, ordered.to_numpy(), strict=True)
    ]
    return Table(f"{mode}, MB made by each layer's nodes", ["layer", *table.columns], rows)


def _size_cell(size: float) -> TableCell:
    return TableCell("-", 0.0) if pd.isna(size) else megabytes_cell(int(size))
