"""What became of a cell: the results of its stages, the failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from fathom_onnx.analysis.paper.evidence import RunEvidence
from fathom_onnx.analysis.paper.provider_comparison import OF_THE_WORK, node_times
from fathom_onnx.analysis.similarity.op_mix import StepProfile

from .plan import Cell, Job

__all__ = ["CellResult", "Failure", "Reading"]


@dataclass(frozen=True)
class Failure:
    """Something that could not be done: what, at which stage, and the one-line error."""

    what: str
    stage: str
    error: str


@dataclass(frozen=True)
class CellResult:
    """What became of a cell; a stage that did not succeed left its part empty.

    Attributes:
        job: The cell and how it was to be run.
        export: What the export gave: ``path``, ``sha256``, ``nodes``, ``size_bytes``, ``seconds``.
        structure: Modelled cost of the graph by op.
        profile: What the profiling gave: the run's ``folder`` and the ``seconds`` it took.
        summary: The run's summary.
        manifest: The run's manifest.
        spent: What the run spent by op in every step.
        error: The one-line error of a cell that was not exported or not run.
    """

    job: Job
    export: Mapping[str, Any] = field(default_factory=dict)
    structure: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    spent: StepProfile | None = None
    error: str = ""

    @property
    def cell(self) -> Cell:
        """Workload, framework, mode."""
        return self.job.cell

    def json(self) -> dict[str, Any]:
        """All but the single steps, as JSON can hold it."""
        parts = {name: getattr(self, name) for name in ("export", "structure", "profile", "summary", "manifest")}
        return {"cell": asdict(self.cell), **parts, "error": self.error, "done": self.done}

    @property
    def evidence(self) -> RunEvidence | None:
        """The run as evidence for the paper's claims, where there is one."""
        return RunEvidence(self.summary, self.spent, self.node_times) if self.spent is not None else None

    @property
    def node_times(self) -> str:
        """What the run's node times are; empty where there is no run."""
        return node_times(self.manifest, self.job.options.ep) if self.done else ""

    @property
    def has_work_times(self) -> bool:
        """Whether there is a run whose node times are those of its work, not of launching it."""
        return self.node_times in OF_THE_WORK

    @property
    def done(self) -> bool:
        """Whether the cell was exported and run."""
        return bool(self.summary)


class Reading(NamedTuple):
    """A finished run as it is read back: summary, manifest, and what it spent by op in every step."""

    summary: dict[str, Any]
    manifest: dict[str, Any]
    spent: StepProfile
