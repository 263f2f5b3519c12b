"""A page of the report for each workload: its steps, roofline, memory, ops and layers, frameworks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fathom_onnx.analysis.report.page import Cell, Figure, Further, Page, Section, Table, side_by_side, three_digits
from fathom_onnx.analysis.report.report import duration, percent
from fathom_onnx.analysis.report.workload_figures import SIZES, MemoryBar, layers_under_the_roof, memory_bars
from fathom_onnx.analysis.runs.roofline import Roofline
from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult
from fathom_onnx.workloads import definition

__all__ = ["page_anchor", "workload_pages"]

Runs = Mapping[str, "CellResult"]
"""Who (a framework and, where there are several, the provider) to its run."""

Roofs = Mapping[str, Mapping[str, Roofline]]
"""Who to the run's rooflines, by what their rows are."""

_ROOF_COLUMNS = ("FLOPs/byte", "GFLOP/s", "of the roof", "bound by")
_HEAVIEST = ("by_op", "by_layer")
_BOUND = {"compute": "arithmetic", "memory": "memory", "none": "neither"}

_WIDTHS = ", ".join(f"{100 * least:g}%" for least, _ in reversed(SIZES))
_ROOF_CAPTION = (
    f"A dot a layer, as wide as its part of its run's time (from {_WIDTHS}; less is not drawn); the line is what "
    "onnxruntime reaches on this machine. What lies far below it is held up by something else. Layers that compute "
    "nothing have no place here."
)
_ROOF_NOTE = (
    "What each node would take at the ceilings of arithmetic and memory, over what it took. Bound by: share of the "
    "time in nodes whose FLOPs, or whose bytes, take longer at the ceiling; neither: no work is counted, all of it is "
    "overhead. Above 100%: less moved than was counted, for tensors stayed in a cache."
)
_GROUP_NOTE = (
    "Shares are of the run's node time. FLOPs a byte, GFLOP/s and the share of the roof are of the nodes of known cost."
)
_MEMORY_CAPTION = (
    "Parameters, state, its new values, and the tensors that are alive at the peak of the optimized graph, by the life "
    "of each; the mark is where the bar would end by what onnxruntime's allocator measured of the tensors."
)
_MEMORY_NOTE = (
    "Tensors at the peak by the life of each: in the graph as written, in the optimized one, and as the allocator "
    "measured them in the first run. Parameters, state and its new values count apart. What the allocator handed out "
    "at most is in whole blocks and all it holds; what is bound to a session lies elsewhere."
)


def page_anchor(workload: str) -> str:
    """The id of a workload's page."""
    return f"workload-{workload}"


def workload_pages(result: StudyResult) -> list[Page]:
    """A page for each workload of which a run is there."""
    natives = _grouped(result.native_runs)
    return [
        _page(number, workload, modes, natives.get(workload, {}), result.rooflines)
        for number, (workload, modes) in enumerate(_grouped(result.all_providers).items())
    ]


def _grouped(cells: Sequence[CellResult]) -> dict[str, dict[str, dict[str, CellResult]]]:
    """Workload to mode to who to run, of the runs that are there."""
    several = len({cell.job.options.ep for cell in cells}) > 1
    grouped: dict[str, dict[str, dict[str, CellResult]]] = {}
    for cell in cells:
        if cell.done:
            who = _who(cell) if several else cell.cell.framework
            grouped.setdefault(cell.cell.workload, {}).setdefault(cell.cell.mode, {})[who] = cell
    return grouped


def _who(cell: CellResult) -> str:
    """A run among those of several providers; what its node times are, where they are not what one expects of it."""
    provider = cell.job.options.ep
    usual = cell.node_times == ("kernel" if provider == "cpu" else "device")
    return f"{cell.cell.framework}, {provider}{'' if usual else f' ({cell.node_times})'}"


def _page(
    number: int,
    workload: str,
    modes: Mapping[str, Runs],
    natives: Mapping[str, Runs],
    rooflines: Mapping[Job, Mapping[str, Roofline]],
) -> Page:
    known = definition(workload)
    roofs = {
        mode: {who: found for who, cell in runs.items() if (found := rooflines.get(cell.job))}
        for mode, runs in modes.items()
    }
    # ids in drawings are made of a number: a name may hold anything
    sections = [
        Section("steps", "Steps", tables=[_steps(modes, natives)]),
        *_roofline(f"roofline-{number}", roofs),
        *_memory(f"memory-{number}", modes),
    ]
    for what, title in (("op", "Ops"), ("layer", "Layers")):
        tables = [_groups(mode, runs, what, roofs[mode]) for mode, runs in modes.items()]
        tables += [
            side_by_side(f"{mode}, by {what}, in the frameworks", _summaries(runs), f"by_{what}", what, duration)
            for mode, runs in natives.items()
        ]
        sections.append(Section(f"{what}s", title, tables=tables, folded=True))
    rest = [
        side_by_side(f"{mode}, by {what}", _summaries(runs), f"by_{what}", what, duration)
        for what in ("class", "phase")
        for mode, runs in modes.items()
    ]
    sections.append(Section("groups", "Classes and phases", tables=rest, folded=True))
    return Page(
        page_anchor(workload),
        f"{workload}: {known.summary}",
        workload,
        [known.fidelity] if known.fidelity else [],
        sections,
        [cell.summary for runs in modes.values() for cell in runs.values()],
    )


def _summaries(runs: Runs) -> dict[str, Mapping[str, Any]]:
    return {who: cell.summary for who, cell in runs.items()}


def _time(us: float | None) -> Cell:
    return Cell("") if us is None else Cell(duration(us), us)


def _percent(share: float | None) -> Cell:
    return Cell("") if share is None or pd.isna(share) else Cell(percent(share), share)


def _number(value: float | None) -> Cell:
    return Cell("") if value is None or pd.isna(value) else Cell(three_digits(value), value)


def _megabytes(size: int | None, least: bool = False) -> Cell:
    if size is None:
        return Cell("unknown")
    return Cell(f"{'at least ' if least else ''}{three_digits(size / 1e6)}", size)


def _steps(modes: Mapping[str, Runs], natives: Mapping[str, Runs]) -> Table:
    """The times of each run's steps, here and in the framework itself on the same provider."""
    itself = {(c.cell, c.job.options.ep): c.summary["control_us"] for runs in natives.values() for c in runs.values()}
    rows: list[list[Cell | str]] = []
    for mode, runs in modes.items():
        for who, cell in runs.items():
            s = cell.summary
            rows.append(
                [
                    f"{mode}, {who}",
                    _time(s.get("control_us")),
                    _time(itself.get((cell.cell, cell.job.options.ep))),
                    _time(s.get("step_us")),
                    _time(s.get("outside_us")),
                    _number(s.get("executed_nodes")),
                    _number(cell.export.get("nodes")),
                    *(", ".join(f"{row['name']} {row['share']:.0%}" for row in s[rows][:1]) for rows in _HEAVIEST),
                ]
            )
    columns = (
        *("run", "a step", "in the framework itself", "profiled", "of it outside nodes", "nodes that ran"),
        *("nodes of the graph", "heaviest op", "heaviest layer"),
    )
    return Table("A step of each run", columns, rows)


def _roofline(name: str, roofs: Mapping[str, Mapping[str, Mapping[str, Roofline]]]) -> list[Section]:
    """The workload under the machine's ceilings; nothing where no run could be set against any."""
    there = {mode: several for mode, several in roofs.items() if several}
    if not there:
        return []
    drawn = layers_under_the_roof(
        name, {mode: {who: r["layer"] for who, r in several.items()} for mode, several in there.items()}
    )
    rows = [_under(f"{mode}, {who}", r["node"]) for mode, several in there.items() for who, r in several.items()]
    columns = (
        *("run", "nodes' time", "at the roof", "of the roof", "bound by arithmetic", "by memory", "by neither"),
        *("of unknown cost", "FLOPs/byte", "GFLOP/s", "ceiling, GFLOP/s", "GB/s", "ceiling, GB/s"),
    )
    return [
        Section(
            "roofline",
            "Roofline",
            figures=[Figure("Layers under the roof", drawn, _ROOF_CAPTION)],
            tables=[Table("Under the roof", columns, rows, _ROOF_NOTE)],
        )
    ]


def _under(run: str, found: Roofline) -> list[Cell | str]:
    total, bound = found.total, found.bound_shares
    us, flops, moved = total["us"], float(found.table["flops"].sum()), float(found.table["bytes"].sum())
    return [
        run,
        _time(us),
        _time(total["roof_us"]),
        _percent(total["share"]),
        *(_percent(bound.get(name)) for name in ("compute", "memory", "none", "unknown")),
        _number(flops / moved if moved else None),
        _number(flops / us / 1e3 if us else None),
        _number(found.gflops),
        _number(moved / us / 1e3 if us else None),
        _number(found.gbytes),
    ]


def _groups(mode: str, runs: Runs, what: str, roofs: Roofs) -> Table:
    """Ops or layers side by side: their time and, where there is a roofline, what they make of the machine."""
    title, summaries = f"{mode}, by {what}", _summaries(runs)
    if not roofs:
        return side_by_side(title, summaries, f"by_{what}", what, duration)
    cells = {
        who: {str(row["name"]): _roof_cells(row) for row in found[what].table.to_dict("records")}
        for who, found in roofs.items()
    }
    made = side_by_side(title, summaries, f"by_{what}", what, duration, Further(_ROOF_COLUMNS, cells))
    return Table(made.title, made.columns, made.rows, _GROUP_NOTE)


def _roof_cells(row: Mapping[Any, Any]) -> list[Cell]:
    computes = row["flops"] > 0
    return [
        _number(row["intensity"] if computes else None),
        _number(row["gflops"] if computes else None),
        _percent(row["share"] if row["bound"] != "none" else None),
        Cell(_BOUND[row["bound"]]),
    ]


def _memory(name: str, modes: Mapping[str, Runs]) -> list[Section]:
    """The memory of a step of each run; nothing where no run tells."""
    told = {
        mode: {who: cell.summary["memory"] for who, cell in runs.items() if cell.summary.get("memory")}
        for mode, runs in modes.items()
    }
    held = {f"{mode}, {who}": found for mode, several in told.items() for who, found in several.items()}
    if not held:
        return []
    columns = (
        *("run", "parameters", "state", "its new values", "kept for backward", "tensors at the peak, as written"),
        *("optimized", "measured", "most that the allocator handed out", "largest tensor at the peak", "its layer"),
    )
    drawn = memory_bars(name, [_bar(run, found) for run, found in held.items()])
    layers = [_memory_by_layer(mode, several) for mode, several in told.items() if several]
    return [
        Section(
            "memory",
            "Memory",
            figures=[Figure("Memory of a step", drawn, _MEMORY_CAPTION)],
            tables=[Table("Memory of a step, MB", columns, [_memory_row(*row) for row in held.items()], _MEMORY_NOTE)],
        ),
        Section("memory-layers", "Memory by layer", tables=layers, folded=True),
    ]


def _bar(run: str, found: Mapping[str, Any]) -> MemoryBar:
    ran = found["executed"]
    residents = (ran["parameters_bytes"], ran["state_bytes"], ran["next_state_bytes"])
    return MemoryBar(run, residents, ran["peak_bytes"], found["traced"]["peak_bytes"])


def _memory_row(run: str, found: Mapping[str, Any]) -> list[Cell | str]:
    written, ran, traced = found["graph"], found["executed"], found["traced"]
    largest = ran["largest"][0] if ran["largest"] else None
    return [
        run,
        *(_megabytes(ran[f"{name}_bytes"]) for name in ("parameters", "state", "next_state", "kept")),
        *(_megabytes(part["peak_bytes"], part["unknown_tensors"] > 0) for part in (written, ran)),
        _megabytes(traced["peak_bytes"]),
        _megabytes(traced["lifetime_peak_bytes"]),
        _megabytes(largest["bytes"]) if largest else "",
        (largest["layer"] or "fed") if largest else "",
    ]


def _memory_by_layer(mode: str, several: Mapping[str, Mapping[str, Any]]) -> Table:
    """Bytes that the nodes of each layer make in the optimized graph, the most first."""
    made = {who: {row["name"]: row["bytes"] for row in found["executed"]["by_layer"]} for who, found in several.items()}
    table = pd.DataFrame(made)
    ordered = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    rows: list[list[Cell | str]] = [
        [str(layer), *(_made(size) for size in row)]
        for layer, row in zip(ordered.index, ordered.to_numpy(), strict=True)
    ]
    return Table(f"{mode}, MB made by each layer's nodes", ["layer", *table.columns], rows)


def _made(size: float) -> Cell:
    return Cell("-", 0.0) if pd.isna(size) else _megabytes(int(size))
