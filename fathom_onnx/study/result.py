"""What a study found: its runs, its verdict, and all of it as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.analysis.paper.claims import Entry, Verdict, ledger
from fathom_onnx.analysis.paper.evidence import Evidence, RunEvidence
from fathom_onnx.analysis.paper.findings import (
    attribution_finding,
    distance_finding,
    outside_finding,
    overhead_finding,
    roof_finding,
)
from fathom_onnx.analysis.paper.provider_comparison import comparison_json, provider_levels
from fathom_onnx.analysis.runs.roofline import Roofline
from fathom_onnx.analysis.similarity.distances import FrameworkLevel
from fathom_onnx.analysis.similarity.op_mix import structure_profile
from fathom_onnx.analysis.similarity.similarity import FrameworkEffect, Label, framework_effect
from fathom_onnx.study.cells.plan import Job, Options
from fathom_onnx.study.cells.results import CellResult, Failure
from fathom_onnx.study.engine.ceilings import Settings

from .roofs import roofline_json, run_rooflines

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["LEVELS", "StudyResult"]

SCHEMA = "fathom-onnx/study/2"

LEVELS = {"structure": "modelled cost of the graphs as written", "native": "time in the frameworks themselves"}
"""Levels of the framework question besides those of time in onnxruntime, and what their profiles are."""

_COUNTED: dict[Verdict, str] = {
    "holds": "hold",
    "differs": "differ",
    "cannot be tested here": "cannot be tested here",
}


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        folder: Where it lies.
        options: How it was run; its provider is the first, to which figures and verdicts belong where none is named.
        cells: Every cell on that provider, done or not.
        fewer: The same cells with fewer threads.
        elsewhere: The same cells on the other providers, one after the other.
        left_out: Providers that were to be used and cannot be, and why.
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
    elsewhere: tuple[CellResult, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    ceilings: Mapping[Settings, Ceilings] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        """The report's path."""
        return self.folder / "report.html"

    @property
    def everywhere(self) -> tuple[CellResult, ...]:
        """Every cell on every provider, the first provider's before the others'."""
        return (*self.cells, *self.elsewhere)

    def run_name(self, job: Job) -> str:
        """A cell as it is called here: with its provider, where that is not the first."""
        return str(job.cell) if job.options.ep == self.options.ep else f"{job.cell} on {job.options.ep}"

    @cached_property
    def by_provider(self) -> dict[str, dict[Label, RunEvidence]]:
        """Provider to the runs that there are on it, the first provider first; without those of fewer threads."""
        found: dict[str, dict[Label, RunEvidence]] = {}
        for cell in self.everywhere:
            if (run := cell.evidence) is not None:
                found.setdefault(cell.job.options.ep, {})[run.label] = run
        return found

    @property
    def summaries(self) -> list[Mapping[str, Any]]:
        """Summaries of the first provider's runs, in the order of the cells."""
        return [c.summary for c in self.cells if c.done]

    @cached_property
    def effects(self) -> tuple[FrameworkEffect, ...]:
        """Framework against workload, by class and by op; nothing where no cell ran."""
        return tuple(framework_effect(self.summaries, level) for level in ("class", "op")) if self.summaries else ()

    @cached_property
    def framework(self) -> tuple[FrameworkLevel, ...]:
        """The framework question: of structure, of time in onnxruntime on each provider, of the frameworks themselves.

        Nothing where no cell ran.
        """
        profiles = {
            "structure": [
                structure_profile(Label(*astuple(c.cell)), c.structure) for c in self.cells if c.structure.get("ops")
            ],
            "native": [c.spent for c in self.natives if c.spent is not None],
        }
        first, last = ([FrameworkLevel.of(n, LEVELS[n], held)] if held else [] for n, held in profiles.items())
        measured = provider_levels(run for c in self.everywhere if (run := c.evidence) is not None)
        return (*first, *measured, *last)

    @property
    def _main(self) -> FrameworkLevel | None:
        """The level that the verdict is about: time in onnxruntime on the first provider."""
        return next((level for level in self.framework if level.name not in LEVELS), None)

    @cached_property
    def rooflines(self) -> dict[Job, dict[str, Roofline]]:
        """The runs under the ceilings (:func:`~.roofs.run_rooflines`)."""
        return run_rooflines(self.folder, self.everywhere, self.ceilings)

    @cached_property
    def ledger(self) -> tuple[Entry, ...]:
        """The paper's claims, each with our number and a verdict."""
        runs = tuple(found for c in (*self.everywhere, *self.fewer) if (found := c.evidence) is not None)
        return ledger(Evidence(runs, self.framework))

    @property
    def ok(self) -> bool:
        """Whether every cell was done and every check passed."""
        return not self.failures and all(check["passed"] for check in self.checks)

    @property
    def verdict(self) -> str:
        """One line: whether the framework matters in onnxruntime and, before that, whatever is missing."""
        undone = [self.run_name(c.job) for c in self.everywhere if not c.done]
        missing = f"{len(undone)} of {len(self.everywhere)} cells failed ({', '.join(undone)}). " if undone else ""
        bad = [str(c["name"]) for c in self.checks if not c["passed"]]
        wrong = f"{len(bad)} of {len(self.checks)} checks failed ({', '.join(bad)}). " if bad else ""
        broken = len([f for f in self.failures if f.stage in ("verify", "compare")])
        unchecked = f"{broken} verifications could not be done. " if broken else ""
        answer = "No cell ran." if self._main is None else self._main.verdict
        return f"{missing}{wrong}{unchecked}{answer}"

    @property
    def findings(self) -> list[str]:
        """Further lines: the other levels, distances, the ledger's count, time outside ops, verification."""
        passed = sum(bool(check["passed"]) for check in self.checks)
        checked = f"{passed} of {len(self.checks)} checks passed." if self.verified else "The graphs were not verified."
        lines = [
            *(level.verdict for level in self.framework if level is not self._main),
            *(distance_finding(effect) for effect in self.effects),
            self._count,
            outside_finding(self.summaries),
            overhead_finding(self.summaries),
            attribution_finding(self.summaries),
            roof_finding({self.run_name(job): by["node"] for job, by in self.rooflines.items()}),
            checked,
            f"{len(self.summaries)} of {len(self.cells)} cells ran.",
            self._also,
            self._providers,
        ]
        return [line for line in lines if line]

    @property
    def _also(self) -> str:
        parts = [
            f"{sum(c.done for c in several)} of {len(several)} {words}"
            for several, words in (
                (self.fewer, "with fewer threads"),
                *(([c for c in self.elsewhere if c.job.options.ep == ep], f"on {ep}") for ep in self._others),
                (self.natives, "in the frameworks themselves"),
            )
            if several
        ]
        return f"Beside them {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}." if parts else ""

    @property
    def _others(self) -> list[str]:
        return list(dict.fromkeys(c.job.options.ep for c in self.elsewhere))

    @property
    def _providers(self) -> str:
        """Which provider there is nothing of, and why."""
        if self._others:
            return ""
        why = "; ".join(f"{name} cannot be used here: {error}" for name, error in self.left_out.items())
        return f"All runs are on provider {self.options.ep}{f' ({why})' if why else ''}."

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
            "options": self.options.json(),
            "framework": [level.json() for level in self.framework],
            "ledger": [entry.json() for entry in self.ledger],
            "cells": [c.json() for c in self.cells],
            "fewer_threads": [{"threads": c.job.options.threads, **c.json()} for c in self.fewer],
            "native": [c.json() for c in self.natives],
            "elsewhere": [{"provider": c.job.options.ep, **c.json()} for c in self.elsewhere],
            "providers_left_out": dict(self.left_out),
            "providers": [
                {"base": self.options.ep, "other": ep, **comparison_json(self.by_provider[self.options.ep], runs)}
                for ep, runs in self.by_provider.items()
                if ep != self.options.ep and self.options.ep in self.by_provider
            ],
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
