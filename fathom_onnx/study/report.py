"""The report of a study as HTML: which sections and pages it consists of."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fathom_onnx.analysis.report.report import DrawAll, Report, render
from fathom_onnx.study.sections import (
    compiled_sections,
    framework_sections,
    movement_sections,
    noise_sections,
    paper_sections,
    study_overview,
    trained_sections,
    workload_pages,
)

from .result import StudyResult

__all__ = ["study_report"]

_NAMED = 4
"""Most workloads that the title names."""


def study_report(result: StudyResult, commands: Sequence[str], draw: DrawAll) -> str:
    """The report as HTML.

    Args:
        result: The study.
        commands: The commands that repeat it.
        draw: Makes its drawings.
    """
    return render(_report(result, commands), draw)


def _report(result: StudyResult, commands: Sequence[str]) -> Report:
    o = result.options
    workloads = list(dict.fromkeys(c.cell.workload for c in result.cells))
    frameworks = list(dict.fromkeys(c.cell.framework for c in result.cells))
    providers = list(dict.fromkeys(c.job.options.ep for c in result.all_providers))
    on = f"provider{'s' if providers[1:] else ''} {', '.join(providers)}"
    named = ", ".join(workloads) if len(workloads) <= _NAMED else f"{len(workloads)} workloads"
    written = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Report(
        title=f"Study of {named}",
        subtitle=f"from {', '.join(frameworks)}; preset {o.preset}; {on}, {o.threads} threads; "
        f"{result.rounds} round{'s' * (result.rounds > 1)} of {o.steps} steps after {o.warmup}; seed {o.seed}; "
        f"written {written}",
        verdict=result.verdict,
        findings=result.findings,
        opening=[*movement_sections(result.suites), *paper_sections(result)],
        closing=[
            *framework_sections(result),
            *compiled_sections(result),
            *trained_sections(result),
            *noise_sections(result),
        ],
        floors=result.floors,
        pages=workload_pages(result),
        summaries=result.summaries,
        effects=result.effects,
        checks=result.checks,
        failures=[asdict(f) for f in result.failures],
        manifests={result.run_name(c.job): _identity(c.manifest) for c in result.all_providers if c.manifest},
        commands=commands,
        overview=study_overview(result),
    )


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without what the workload's page shows."""
    return {name: value for name, value in manifest.items() if name != "memory"}
