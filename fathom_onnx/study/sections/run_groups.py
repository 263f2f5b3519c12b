"""The runs of a study by workload and mode, named by what tells them apart on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fathom_onnx.study.cells.results import CellResult

__all__ = ["Runs", "group_runs", "summaries"]

Runs = Mapping[str, CellResult]
"""Name (a framework and, where there are several, the provider) to its run."""


def group_runs(cells: Sequence[CellResult]) -> dict[str, dict[str, dict[str, CellResult]]]:
    """Workload to mode to name to run, without cells that did not run."""
    several = len({cell.job.options.ep for cell in cells}) > 1
    grouped: dict[str, dict[str, dict[str, CellResult]]] = {}
    for cell in cells:
        if cell.done:
            name = _run_name(cell) if several else cell.cell.framework
            grouped.setdefault(cell.cell.workload, {}).setdefault(cell.cell.mode, {})[name] = cell
    return grouped


def _run_name(cell: CellResult) -> str:
    """A run's framework and provider, and the kind of its node times where that is not the provider's usual one."""
    provider = cell.job.options.ep
    usual = cell.node_times == ("kernel" if provider == "cpu" else "device")
    return f"{cell.cell.framework}, {provider}{'' if usual else f' ({cell.node_times})'}"


def summaries(runs: Runs) -> dict[str, Mapping[str, Any]]:
    """Name to the run's summary."""
    return {name: cell.summary for name, cell in runs.items()}
