"""What became of a plan: the result of each cell, a finished run as it is read back, failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from fathom_onnx.analysis.paper.evidence import RunEvidence
from fathom_onnx.analysis.paper.provider_comparison import OF_THE_WORK, node_times
from fathom_onnx.analysis.similarity.op_mix import OpMix

from .plan import Cell, Job

__all__ = ["CellResult", "Failure", "FinishedRun", "StageResult"]

StageResult = dict[str, Any]
"""What a stage returns for a job, as JSON can hold it."""


@dataclass(frozen=True)
class Failure:
    """A job that failed: its name, the stage, the one-line error."""

    what: str
    stage: str
    error: str


class FinishedRun(NamedTuple):
    """A finished run as it is read back: summary, manifest, time by op in every step, and by layer and phase or op."""

    summary: dict[str, Any]
    manifest: dict[str, Any]
    op_mix: OpMix | None
    layers: pd.DataFrame | None = None
    layer_ops: pd.DataFrame | None = None


@dataclass(frozen=True)
class CellResult:
    """What became of the job that runs a cell; a stage that did not succeed left its part empty.

    Attributes:
        job: The cell and how it was to be run.
        export: Result of the export: ``path``, ``sha256``, ``nodes``, ``size_bytes``, ``seconds``.
        structure: Modelled cost of the graph by op.
        profile: Result of the run: its ``folder`` and the ``seconds`` it took.
        summary: The run's summary.
        manifest: The run's manifest.
        op_mix: The run's time by op in every step.
        layers: Its microseconds by layer (rows) and phase (columns).
        layer_ops: Its microseconds by layer and op.
        error: The one-line error of a cell that was not exported or not run.
    """

    job: Job
    export: Mapping[str, Any] = field(default_factory=dict)
    structure: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    op_mix: OpMix | None = None
    layers: pd.DataFrame | None = None
    layer_ops: pd.DataFrame | None = None
    error: str = ""

    @property
    def cell(self) -> Cell:
        """Workload, framework, mode."""
        return self.job.cell

    @property
    def done(self) -> bool:
        """Whether the cell was exported and run."""
        return bool(self.summary)

    @property
    def evidence(self) -> RunEvidence | None:
        """The run as evidence for the paper's claims, if there is a run and it is one of a workload's graph.

        Neither a graph file nor a model of the user's own is one that the paper speaks of.
        """
        if self.op_mix is None or self.job.source is not None or self.job.own is not None:
            return None
        return RunEvidence(self.summary, self.op_mix, self.node_times)

    @property
    def node_times(self) -> str:
        """The kind of the run's node times; empty where there is no run."""
        return node_times(self.manifest, self.job.options.ep) if self.done else ""

    @property
    def profiled_as(self) -> str:
        """How the steps behind the run's op mix were run, where that is not how the framework runs a step."""
        return str(self.summary.get("profiled_as") or "")

    @property
    def profiled_name(self) -> str:
        """The framework, as the name of a profile of its own: with how it was made, where that needs to be said."""
        return f"{self.cell.framework}, {self.profiled_as}" if self.profiled_as else self.cell.framework

    @property
    def has_work_times(self) -> bool:
        """Whether there is a run whose node times are those of the work, not of launching it."""
        return self.node_times in OF_THE_WORK

    def json(self) -> dict[str, Any]:
        """All but the single steps, as JSON can hold it."""
        parts = {name: getattr(self, name) for name in ("export", "structure", "profile", "summary", "manifest")}
        target = {"target": self.job.own.target.text} if self.job.own is not None else {}
        return {"cell": asdict(self.cell), **target, **parts, "error": self.error, "done": self.done}
