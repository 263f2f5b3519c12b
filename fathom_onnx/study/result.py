"""What a study found: its verdict, and the files that say so."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.claims import Entry, Verdict, ledger
from ..analysis.distances import FrameworkLevel
from ..analysis.evidence import Evidence, RunEvidence
from ..analysis.findings import attribution_finding, distance_finding, outside_finding, overhead_finding, roof_finding
from ..analysis.profiles import StepProfile, structure_profile
from ..analysis.report import Report, render
from ..analysis.roofline import Roofline
from ..analysis.similarity import FrameworkEffect, Label, framework_effect
from ..graph.files import write_text
from .machine import Settings
from .pages import workload_pages
from .plan import Cell, Job, Options
from .roofs import roofline_json, run_rooflines
from .sections import framework_sections, paper_sections
from .tables import study_tables, write_table

if TYPE_CHECKING:
    from ..runtime.ceilings import Ceilings

__all__ = ["LEVELS", "CellResult", "Failure", "StudyResult", "write"]

SCHEMA = "fathom-onnx/study/2"

LEVELS = {
    "structure": "modelled cost of the graphs as written",
    "onnxruntime": "time in onnxruntime",
    "native": "time in the frameworks themselves",
}
"""Levels of the framework question that a study answers, and what their profiles are."""

_COUNTED: dict[Verdict, str] = {
    "holds": "hold",
    "differs": "differ",
    "cannot be tested here": "cannot be tested here",
}


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
        return RunEvidence(self.summary, self.spent) if self.spent is not None else None

    @property
    def done(self) -> bool:
        """Whether the cell was exported and run."""
        return bool(self.summary)


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        folder: Where it lies.
        options: How it was run.
        cells: Every cell, done or not.
        fewer: The same cells with fewer threads.
        natives: The same steps run by the frameworks themselves.
        ceilings: What the machine can do with each provider and number of threads of the cells.
        checks: Verification results: ``name``, ``passed``, ``detail``.
        verified: Whether there was a verification at all.
        failures: What could not be done.
        reused: Jobs whose result was there already.
        worked: Jobs that were done now.
    """

    folder: Path
    options: Options
    cells: tuple[CellResult, ...]
    checks: tuple[Mapping[str, Any], ...]
    verified: bool
    failures: tuple[Failure, ...]
    reused: int
    worked: int
    fewer: tuple[CellResult, ...] = ()
    natives: tuple[CellResult, ...] = ()
    ceilings: Mapping[Settings, Ceilings] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        """The report's path."""
        return self.folder / "report.html"

    @property
    def summaries(self) -> list[Mapping[str, Any]]:
        """Summaries of the runs there are, in the order of the cells."""
        return [c.summary for c in self.cells if c.done]

    @cached_property
    def effects(self) -> tuple[FrameworkEffect, ...]:
        """Framework against workload, by class and by op; nothing where no cell ran."""
        return tuple(framework_effect(self.summaries, level) for level in ("class", "op")) if self.summaries else ()

    @cached_property
    def framework(self) -> tuple[FrameworkLevel, ...]:
        """The framework question, a level of :data:`LEVELS` each; nothing where no cell ran."""
        profiles = {
            "structure": [
                structure_profile(Label(*astuple(c.cell)), c.structure) for c in self.cells if c.structure.get("ops")
            ],
            "onnxruntime": [c.spent for c in self.cells if c.spent is not None],
            "native": [c.spent for c in self.natives if c.spent is not None],
        }
        return tuple(FrameworkLevel.of(n, what, profiles[n]) for n, what in LEVELS.items() if profiles[n])

    @cached_property
    def rooflines(self) -> dict[Job, dict[str, Roofline]]:
        """The runs under the ceilings (:func:`~fathom_onnx.study.roofs.run_rooflines`)."""
        return run_rooflines(self.folder, self.cells, self.ceilings)

    @cached_property
    def ledger(self) -> tuple[Entry, ...]:
        """The paper's claims, each with our number and a verdict."""
        runs = tuple(found for c in (*self.cells, *self.fewer) if (found := c.evidence) is not None)
        return ledger(Evidence(runs, self.framework))

    @property
    def ok(self) -> bool:
        """Whether every cell was done and every check passed."""
        return not self.failures and all(check["passed"] for check in self.checks)

    @property
    def verdict(self) -> str:
        """One line: whether the framework matters in onnxruntime and, before that, whatever is missing."""
        undone = [str(c.cell) for c in self.cells if not c.done]
        missing = f"{len(undone)} of {len(self.cells)} cells failed ({', '.join(undone)}). " if undone else ""
        bad = [str(c["name"]) for c in self.checks if not c["passed"]]
        wrong = f"{len(bad)} of {len(self.checks)} checks failed ({', '.join(bad)}). " if bad else ""
        broken = len([f for f in self.failures if f.stage in ("verify", "compare")])
        unchecked = f"{broken} verifications could not be done. " if broken else ""
        answer = next((v.verdict for v in self.framework if v.name == "onnxruntime"), "No cell ran.")
        return f"{missing}{wrong}{unchecked}{answer}"

    @property
    def findings(self) -> list[str]:
        """Further lines: the other levels, distances, the ledger's count, time outside ops, verification."""
        passed = sum(bool(check["passed"]) for check in self.checks)
        checked = f"{passed} of {len(self.checks)} checks passed." if self.verified else "The graphs were not verified."
        lines = [
            *(v.verdict for v in self.framework if v.name != "onnxruntime"),
            *(distance_finding(effect) for effect in self.effects),
            self._count,
            outside_finding(self.summaries),
            overhead_finding(self.summaries),
            attribution_finding(self.summaries),
            roof_finding({str(job.cell): by["node"] for job, by in self.rooflines.items()}),
            checked,
            f"{len(self.summaries)} of {len(self.cells)} cells ran.",
            self._also,
        ]
        return [line for line in lines if line]

    @property
    def _also(self) -> str:
        parts = [
            f"{sum(c.done for c in several)} of {len(several)} {words}"
            for several, words in ((self.fewer, "with fewer threads"), (self.natives, "in the frameworks themselves"))
            if several
        ]
        return f"Beside them {' and '.join(parts)}." if parts else ""

    @property
    def _count(self) -> str:
        found = Counter(entry.verdict for entry in self.ledger)
        said = ", ".join(f"{found[v]} {words}" for v, words in _COUNTED.items() if found[v])
        return f"Of {len(self.ledger)} claims of the paper {said}."

    def json(self) -> dict[str, Any]:
        """Everything but the single steps, as JSON can hold it."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "ok": self.ok,
            "findings": self.findings,
            "options": asdict(self.options),
            "framework": [level.json() for level in self.framework],
            "ledger": [entry.json() for entry in self.ledger],
            "cells": [c.json() for c in self.cells],
            "fewer_threads": [{"threads": c.job.options.threads, **c.json()} for c in self.fewer],
            "native": [c.json() for c in self.natives],
            "ceilings": [ceilings.as_json() for ceilings in self.ceilings.values()],
            "rooflines": [roofline_json(job, by["node"]) for job, by in self.rooflines.items()],
            "distances": [_effect_json(effect) for effect in self.effects],
            "checks": list(self.checks),
            "failures": [asdict(f) for f in self.failures],
            "report": str(self.report),
        }


def _effect_json(effect: FrameworkEffect) -> dict[str, Any]:
    def rows(pairs: Sequence[Any]) -> list[dict[str, Any]]:
        return [
            {"a": p.a._asdict(), "b": p.b._asdict(), "distance": p.distance, "largest_gap": p.gap._asdict()}
            for p in pairs
        ]

    return {
        "level": effect.level,
        "framework_matters_less": effect.small,
        "nearest_is_twin": effect.hits,
        "of_runs": effect.runs,
        "between_frameworks": rows(effect.twins),
        "between_workloads": rows(effect.rivals),
    }


def write(result: StudyResult, commands: Sequence[str]) -> None:
    """Write ``report.html``, ``study.json`` and the tables into the study's folder.

    Raises:
        OutputError: A file cannot be written.
    """
    for name, table in study_tables(result).items():
        write_table(result.folder, name, table)
    write_text(result.folder / "study.json", json.dumps(result.json(), indent=1) + "\n")
    write_text(result.report, render(_report(result, commands)))


def _report(result: StudyResult, commands: Sequence[str]) -> Report:
    o = result.options
    workloads = list(dict.fromkeys(c.cell.workload for c in result.cells))
    frameworks = list(dict.fromkeys(c.cell.framework for c in result.cells))
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Report(
        title=f"Study of {', '.join(workloads)}",
        subtitle=f"from {', '.join(frameworks)}; preset {o.preset}; provider {o.ep}, {o.threads} threads; "
        f"{o.steps} steps after {o.warmup}; seed {o.seed}; written {made}",
        verdict=result.verdict,
        findings=result.findings,
        opening=paper_sections(result),
        closing=framework_sections(result),
        pages=workload_pages(result),
        summaries=result.summaries,
        effects=result.effects,
        checks=result.checks,
        failures=[asdict(f) for f in result.failures],
        manifests={str(c.cell): _identity(c.manifest) for c in result.cells if c.manifest},
        commands=commands,
    )


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without what the workload's page shows."""
    return {name: value for name, value in manifest.items() if name != "memory"}
