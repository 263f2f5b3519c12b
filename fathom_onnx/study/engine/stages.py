"""The stages of a study or a sweep: what each does for a job, and what its result depends on.

Each stage's work is a module-level function from a :class:`Job` to a dict that JSON can hold; it runs in another
process and imports there what it needs. Another table of stages can take the place of :data:`STAGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import FinishedRun, StageResult

from .ceilings import are_ceilings, measure_job_ceilings
from .graphs import (
    checked_graph_exists,
    compare_graphs,
    export_checked_graph,
    export_graph,
    graph_exists,
    model_structure,
    verify_graph,
)
from .inputs import (
    ceilings_inputs,
    explain_inputs,
    export_inputs,
    native_inputs,
    pool_inputs,
    profile_inputs,
    structure_inputs,
    verify_inputs,
)
from .runs import (
    compile_native_step,
    compiled_run_exists,
    explain_cell,
    is_prepared,
    measure_cell,
    native_imports,
    pool_rounds,
    prepare_native_step,
    profile_imports,
    profile_native_step,
    read_compiled_run,
    read_native_run,
    read_run,
    round_exists,
    run_exists,
)

__all__ = ["STAGES", "Stage", "Stages"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: Its name, in events and file names.
        work: What it does; the result must be JSON.
        inputs: Everything its result depends on.
        complete: Whether the files that a stored result names still exist.
        imports: Of a job, a name and what imports all that ``work`` needs and starts nothing; None where ``work`` does
            that itself. Processes that measure are copies of one that has done it.
        spread: Whether jobs are spread over two processes, since they need no framework, or several of them; others are
            done in a process a framework.
        by_workload: Whether one of these two does all jobs of a workload, and keeps of one what another needs.
    """

    name: str
    work: Callable[[Job], StageResult]
    inputs: Callable[[Job], Mapping[str, Any]]
    complete: Callable[[Job, StageResult], bool] = lambda job, result: True
    imports: Callable[[Job], tuple[str, Callable[[], object]] | None] = lambda job: None
    spread: bool = False
    by_workload: bool = False

    def inputs_of(self, job: Job) -> dict[str, Any]:
        """Everything that a job's result depends on: a further round is another measurement of the same."""
        further = {"round": job.round} if job.round > 1 else {}
        return {**self.inputs(job), **further}


@dataclass(frozen=True)
class Stages:
    """The stages, in the order in which they are done.

    Attributes:
        export: Writes the graph file of a cell.
        verify: Checks a cell's graph against its framework, or None. Its result is ``{"checks": [{"name", "passed",
            "detail"}, ...]}``.
        compare: Checks the graphs of one workload and mode from several frameworks against each other, or None; its
            result has the form of that of ``verify``.
        structure: Sums up the modelled cost of a cell's graph without running it, or None.
        profile: Runs a cell's graph.
        explain: Makes one run of the rounds that ``profile`` measured, or None where that makes finished runs itself.
        read: Reads a finished run from the folder and the profile stage's result.
        native: Has the framework itself run a cell's step, or None.
        read_native: Reads such a run, as ``read`` does.
        export_checked: Writes a second graph of a cell whose step draws random tensors, which takes them as inputs and
            can be checked, or None.
        ceilings: Measures the machine's ceilings with a job's provider and threads, or None.
        compiled: Has the framework's own compiler make a cell's step, and times it, or None.
        read_compiled: Reads such a run, as ``read`` does.
        prepare: Has the framework itself make what it keeps of a cell's step before that is run, or None.
        pool: Makes one run of several finished runs of a job, where it has several rounds; of ``native`` and, without
            ``explain``, of ``profile``.
    """

    export: Stage
    verify: Stage | None
    compare: Stage | None
    structure: Stage | None
    profile: Stage
    read: Callable[[Path, StageResult], FinishedRun]
    native: Stage | None = None
    read_native: Callable[[Path, StageResult], FinishedRun] | None = None
    export_checked: Stage | None = None
    ceilings: Stage | None = None
    explain: Stage | None = None
    pool: Stage | None = None
    compiled: Stage | None = None
    read_compiled: Callable[[Path, StageResult], FinishedRun] | None = None
    prepare: Stage | None = None


STAGES = Stages(
    export=Stage("export", export_graph, export_inputs, graph_exists),
    export_checked=Stage("export-noise", export_checked_graph, export_inputs, checked_graph_exists),
    verify=Stage("verify", verify_graph, verify_inputs),
    compare=Stage("compare", compare_graphs, verify_inputs, spread=True),
    structure=Stage("structure", model_structure, structure_inputs, spread=True),
    profile=Stage("profile", measure_cell, profile_inputs, round_exists, profile_imports),
    explain=Stage("explain", explain_cell, explain_inputs, run_exists, spread=True),
    read=read_run,
    native=Stage("native", profile_native_step, native_inputs, run_exists, native_imports),
    read_native=read_native_run,
    compiled=Stage("compiled", compile_native_step, native_inputs, compiled_run_exists),
    read_compiled=read_compiled_run,
    ceilings=Stage("ceilings", measure_job_ceilings, ceilings_inputs, are_ceilings),
    prepare=Stage("prepare", prepare_native_step, native_inputs, is_prepared, spread=True, by_workload=True),
    pool=Stage("pool", pool_rounds, pool_inputs, run_exists, spread=True),
)
"""The stages of an ordinary study; a sweep leaves out verification, structure and the frameworks' own runs."""
