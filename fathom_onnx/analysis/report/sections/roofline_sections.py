"""The section that shows runs under the machine's ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fathom_onnx.analysis.report.page import Figure, Section, Table, TableCell
from fathom_onnx.analysis.report.workload_figures import SIZES, layers_under_the_roof
from fathom_onnx.analysis.runs.roofline import Roofline

from .table_cells import percent_cell, rounded_cell, time_cell

__all__ = ["Roofs", "roofline_sections"]

Roofs = Mapping[str, Mapping[str, Roofline]]
"""Name of a run to its rooflines, by what their rows are."""

_WIDTHS = ", ".join(f"{100 * least:g}%" for least, _ in reversed(SIZES))
_ROOF_CAPTION = (
    f"A dot a layer, as wide as its part of its run's time (from {_WIDTHS}; less is not drawn); the line is what "
    "onnxruntime reaches on this machine. What lies far below it is held up by something else. Layers that compute "
    "nothing have no place here."
)
_ROOF_NOTE = (
    "What each node would take at the ceilings of arithmetic and memory, over what it took. Bound by: share of the "
    "time in nodes whose FLOPs, or whose bytes, take longer at the ceiling; neither: no work is counted, all of it is "
    "overhead. Above 100%: data stayed in a cache, where copies of as many bytes are as fast. Unexplained: nodes above "
    "it whose speed no measurement explains."
)


def roofline_sections(name: str, roofs: Mapping[str, Roofs]) -> list[Section]:
    """Runs under the machine's ceilings; nothing where none has a roofline.

    Args:
        name: Prefix of the ids in the drawing.
        roofs: Mode to the rooflines of its runs.
    """
    by_mode = {mode: runs for mode, runs in roofs.items() if runs}
    if not by_mode:
        return []
    drawn = partial(
        layers_under_the_roof,
        name,
        {mode: {who: r["layer"] for who, r in runs.items()} for mode, runs in by_mode.items()},
    )
    runs = {f"{mode}, {who}": r["node"] for mode, several in by_mode.items() for who, r in several.items()}
    columns = (
        *("run", "nodes' time", "at the roof", "of the roof", "bound by arithmetic", "by memory", "by neither"),
        *("of unknown cost", "unexplained"),
    )
    rates = ("run", "FLOPs/byte", "GFLOP/s", "ceiling, GFLOP/s", "GB/s", "ceiling, GB/s")
    return [
        Section(
            "roofline",
            "Roofline",
            figures=[Figure("Layers under the roof", drawn, _ROOF_CAPTION)],
            tables=[
                Table("Under the roof", columns, [_row(*run) for run in runs.items()], _ROOF_NOTE),
                Table("Rates", rates, [_rates(*run) for run in runs.items()]),
            ],
        )
    ]


def _row(run: str, roofline: Roofline) -> list[TableCell | str]:
    total, bound = roofline.total, roofline.bound_shares
    return [
        run,
        time_cell(total["us"]),
        time_cell(total["roof_us"]),
        percent_cell(total["share"]),
        *(percent_cell(bound.get(name)) for name in ("compute", "memory", "none", "unknown")),
        str(len(roofline.unexplained)),
    ]


def _rates(run: str, roofline: Roofline) -> list[TableCell | str]:
    us, flops, moved = roofline.total["us"], *(float(roofline.table[name].sum()) for name in ("flops", "bytes"))
    return [
        run,
        rounded_cell(flops / moved if moved else None),
        rounded_cell(flops / us / 1e3 if us else None),
        rounded_cell(roofline.gflops),
        rounded_cell(moved / us / 1e3 if us else None),
        rounded_cell(roofline.gbytes),
    ]
