"""Rooflines of a study's runs: each run under the ceilings of the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.analysis.runs.roofline import Roofline, rooflines
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.engine.ceilings import CeilingsKey, ceilings_key

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["ROWS", "roofline_json", "run_rooflines"]

ROWS = ("node", "layer", "op")
"""What the rows of a run's rooflines are."""


def run_rooflines(
    folder: Path, cells: Sequence[CellResult], ceilings: Mapping[CeilingsKey, Ceilings]
) -> dict[Job, dict[str, Roofline]]:
    """The runs under the ceilings, by :data:`ROWS`.

    A run has none if no ceilings were measured for its provider and threads, or if its node times are those of
    launching kernels, not of running them.

    Args:
        folder: The study's folder.
        cells: Its cells; those that did not run are left out.
        ceilings: Ceilings by provider and threads.

    Raises:
        DataError: A run cannot be read.
    """
    by_job = {}
    for cell in cells:
        roof = ceilings.get(ceilings_key(cell.job))
        if roof is not None and cell.has_work_times:
            run = Run.load(folder / str(cell.profile["folder"]))
            by_job[cell.job] = rooflines(run, roof, ROWS)
    return by_job


def roofline_json(job: Job, roofline: Roofline) -> dict[str, Any]:
    """A run's time, its time at the roof and what bounds it, as JSON can hold it; unknown numbers are null."""
    total = {name: None if math.isnan(value) else value for name, value in roofline.total.items()}
    place = {"cell": asdict(job.cell), "provider": job.options.ep, "threads": job.options.threads}
    return {**place, **total, "bound_shares": roofline.bound_shares, "unexplained": len(roofline.unexplained)}
