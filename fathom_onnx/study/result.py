"""The result of a study as a value: its runs, its verdict and findings, all of it as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.analysis.paper.claims import Entry, ledger
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
from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.op_mix import structure_op_mix
from fathom_onnx.analysis.similarity.similarity import FrameworkEffect, RunLabel, framework_effect
from fathom_onnx.study.cells.plan import Job, Options, Role
from fathom_onnx.study.cells.results import CellResult, Failure
from fathom_onnx.study.engine.ceilings import CeilingsKey
from fathom_onnx.workloads import suite_of

from .comparisons.compiled import StepTimes, compiled_finding, step_times
from .comparisons.movements import NEWER, SuiteComparison, compare_suites
from .comparisons.noise import RunNoise, mix_floor, noise_finding, run_noise
from .comparisons.roofs import roofline_json, run_rooflines
from .comparisons.trained import ValueEffect, value_effects, value_finding
from .findings import (
    further_runs_finding,
    ledger_finding,
    missing_finding,
    provider_finding,
    verification_finding,
)

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["LEVELS", "SCHEMA", "StudyResult"]

SCHEMA = "fathom-onnx/study/2"
"""Name and version of the JSON schema."""

LEVELS = {"structure": "modelled cost of the graphs as written", "native": "time in the frameworks themselves"}
"""Levels of the framework question besides time in onnxruntime, and what each sums up."""


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        folder: The study's folder.
        options: How it was run; their provider is the first one, which figures and verdicts are about.
        runs: Every cell in every role that it was to be run in, done or not.
        checks: Verification results: ``name``, ``passed``, ``detail``.
        verified: Whether the graphs were verified at all.
        failures: Jobs that failed.
        reused: How many jobs had a stored result.
        worked: How many jobs were done now.
        left_out: Providers that were to be used and cannot be, and the reason.
        ceilings: Ceilings of the machine for each provider and number of threads of the cells.
        rounds: How often each run was measured.
    """

    folder: Path
    options: Options
    runs: tuple[CellResult, ...]
    checks: tuple[Mapping[str, Any], ...]
    verified: bool
    failures: tuple[Failure, ...]
    reused: int
    worked: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    ceilings: Mapping[CeilingsKey, Ceilings] = field(default_factory=dict)
    rounds: int = 1

    def _of(self, role: Role) -> tuple[CellResult, ...]:
        return tuple(run for run in self.runs if run.job.role is role)

    @cached_property
    def cells(self) -> tuple[CellResult, ...]:
        """Every cell on the first provider with the most threads."""
        return self._of(Role.MAIN)

    @cached_property
    def fewer_threads(self) -> tuple[CellResult, ...]:
        """The cells with fewer threads."""
        return self._of(Role.FEWER_THREADS)

    @cached_property
    def other_providers(self) -> tuple[CellResult, ...]:
        """The cells on the other providers, one provider after the other."""
        return self._of(Role.OTHER_PROVIDER)

    @cached_property
    def native_runs(self) -> tuple[CellResult, ...]:
        """The cells run by the frameworks themselves."""
        return self._of(Role.NATIVE)

    @cached_property
    def compiled_runs(self) -> tuple[CellResult, ...]:
        """The cells as the frameworks' own compilers made them."""
        return self._of(Role.COMPILED)

    @cached_property
    def trained_runs(self) -> tuple[CellResult, ...]:
        """The cells with the values of training runs."""
        return self._of(Role.TRAINED)

    @cached_property
    def value_effects(self) -> tuple[ValueEffect, ...]:
        """What trained values change of the times of the cells."""
        return value_effects(self.cells, self.trained_runs)

    @cached_property
    def compiled_steps(self) -> list[StepTimes]:
        """The compiled steps beside the same steps in the frameworks and as graphs."""
        return step_times(self.cells, self.native_runs, self.compiled_runs)

    @property
    def all_providers(self) -> tuple[CellResult, ...]:
        """Every cell on every provider, those on the first provider first; without the runs of fewer threads."""
        return (*self.cells, *self.other_providers)

    @property
    def report(self) -> Path:
        """The report's path."""
        return self.folder / "report.html"

    def run_name(self, job: Job) -> str:
        """A cell as the study names it: with its provider, unless that is the first one."""
        return str(job.cell) if job.options.ep == self.options.ep else f"{job.cell} on {job.options.ep}"

    @cached_property
    def by_provider(self) -> dict[str, dict[RunLabel, RunEvidence]]:
        """Provider to its runs, the first provider first; without the runs of fewer threads."""
        grouped: dict[str, dict[RunLabel, RunEvidence]] = {}
        for cell in self.all_providers:
            if (run := cell.evidence) is not None:
                grouped.setdefault(cell.job.options.ep, {})[run.label] = run
        return grouped

    @property
    def summaries(self) -> list[Mapping[str, Any]]:
        """Summaries of the first provider's runs, in the order of the cells."""
        return [c.summary for c in self.cells if c.done]

    @cached_property
    def effects(self) -> tuple[FrameworkEffect, ...]:
        """Framework against workload, by class and by op; empty where no cell ran."""
        of_workloads = [c.summary for c in self.cells if c.done and c.job.own is None]
        return tuple(framework_effect(of_workloads, level) for level in ("class", "op")) if of_workloads else ()

    @cached_property
    def framework(self) -> tuple[FrameworkLevel, ...]:
        """The framework question: of structure, of time in onnxruntime on each provider, of the frameworks themselves.

        Empty where no cell ran.
        """
        mixes = {
            "structure": [
                structure_op_mix(RunLabel(*astuple(c.cell)), c.structure)
                for c in self.cells
                if c.structure.get("ops") and c.job.own is None
            ],
            "native": [c.op_mix for c in self.native_runs if c.op_mix is not None],
        }
        words = {"native": self._native_words}
        structure, native = (
            [FrameworkLevel.of(n, words.get(n, LEVELS[n]), several)] if several else [] for n, several in mixes.items()
        )
        measured = provider_levels(run for c in self.all_providers if (run := c.evidence) is not None)
        return (*structure, *measured, *native)

    @property
    def _native_words(self) -> str:
        """What the frameworks' own times are, with the frameworks whose profiled steps are not those they run."""
        notes = {c.cell.framework: c.profiled_as for c in self.native_runs if c.profiled_as}
        told = ", ".join(f"{framework} {words}" for framework, words in notes.items())
        return f"{LEVELS['native']} ({told})" if told else LEVELS["native"]

    @property
    def _main(self) -> FrameworkLevel | None:
        """The level that the verdict is about: time in onnxruntime on the first provider."""
        return next((level for level in self.framework if level.name not in LEVELS), None)

    @cached_property
    def rooflines(self) -> dict[Job, dict[str, Roofline]]:
        """The runs under the ceilings (:func:`~.roofs.run_rooflines`)."""
        return run_rooflines(self.folder, self.all_providers, self.ceilings)

    @cached_property
    def suites(self) -> SuiteComparison | None:
        """The workloads of today beside those of 2016; None where the study ran only one suite."""
        return compare_suites(self.cells, self.rooflines)

    @cached_property
    def noise(self) -> tuple[RunNoise, ...]:
        """The rounds of every run beside each other; empty where runs were measured in one round."""
        return run_noise((*self.all_providers, *self.fewer_threads, *self.native_runs))

    @property
    def floors(self) -> dict[RunLabel, float]:
        """Noise floors by class of the runs on the first provider; empty where runs were measured in one round."""
        mixes = [c.op_mix for c in self.cells if c.op_mix is not None]
        return {mix.label: floor for mix in mixes if (floor := mix_floor(mix, "class")) is not None}

    @cached_property
    def ledger(self) -> tuple[Entry, ...]:
        """The paper's claims, each with our number and a verdict; they are not about the workloads of today."""
        cells = [c for c in (*self.all_providers, *self.fewer_threads) if suite_of(c.cell.workload) != NEWER]
        runs = tuple(run for c in cells if (run := c.evidence) is not None)
        return ledger(Evidence(runs, self.framework))

    @property
    def ok(self) -> bool:
        """Whether every cell was done and every check passed."""
        return not self.failures and all(check["passed"] for check in self.checks)

    @property
    def verdict(self) -> str:
        """One line: first what is missing, then whether the framework matters in onnxruntime."""
        undone = [self.run_name(c.job) for c in self.all_providers if not c.done]
        missing = missing_finding(undone, len(self.all_providers), self.checks, self.failures)
        none = "No workload of a definition ran." if self.summaries else "No cell ran."
        return f"{missing}{none if self._main is None else self._main.verdict}"

    @property
    def findings(self) -> list[str]:
        """Further lines: the other levels, distances, the ledger's count, time outside ops, verification."""
        other_providers = list(dict.fromkeys(c.job.options.ep for c in self.other_providers))
        beside = [
            (self.fewer_threads, "with fewer threads"),
            *(([c for c in self.other_providers if c.job.options.ep == ep], f"on {ep}") for ep in other_providers),
            (self.native_runs, "in the frameworks themselves"),
            (self.compiled_runs, "compiled"),
            (self.trained_runs, "with trained values"),
        ]
        lines = [
            *(level.verdict for level in self.framework if level is not self._main),
            *(pair.verdict for level in self.framework for pair in level.pairs),
            self.suites.verdict if self.suites else "",
            *(distance_finding(effect) for effect in self.effects),
            noise_finding(self.noise),
            ledger_finding(self.ledger),
            compiled_finding(self.compiled_steps),
            value_finding(self.value_effects),
            outside_finding(self.summaries),
            overhead_finding(self.summaries),
            attribution_finding(self.summaries),
            roof_finding({self.run_name(job): by["node"] for job, by in self.rooflines.items()}),
            verification_finding(self.checks, self.verified),
            f"{len(self.summaries)} of {len(self.cells)} cells ran.",
            further_runs_finding(beside),
            "" if other_providers else provider_finding(self.options.ep, self.left_out),
        ]
        return [line for line in lines if line]

    def json(self) -> dict[str, Any]:
        """Everything but the single steps, as JSON can hold it (``study.json``)."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "ok": self.ok,
            "findings": self.findings,
            "options": self.options.json(),
            "rounds": self.rounds,
            "noise": [run.json() for run in self.noise],
            "framework": [level.json() for level in self.framework],
            "ledger": [entry.json() for entry in self.ledger],
            "cells": [c.json() for c in self.cells],
            "fewer_threads": [{"threads": c.job.options.threads, **c.json()} for c in self.fewer_threads],
            "native": [c.json() for c in self.native_runs],
            "compiled": [c.json() for c in self.compiled_runs],
            "trained": [c.json() for c in self.trained_runs],
            "value_effects": [effect.json() for effect in self.value_effects],
            "elsewhere": [{"provider": c.job.options.ep, **c.json()} for c in self.other_providers],
            "providers_left_out": dict(self.left_out),
            "providers": [
                {"base": self.options.ep, "other": ep, **comparison_json(self.by_provider[self.options.ep], runs)}
                for ep, runs in self.by_provider.items()
                if ep != self.options.ep and self.options.ep in self.by_provider
            ],
            "ceilings": [ceilings.as_json() for ceilings in self.ceilings.values()],
            "rooflines": [roofline_json(job, by["node"]) for job, by in self.rooflines.items()],
            "suites": None if self.suites is None else self.suites.json(),
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
        "level": effect.grouping,
        "framework_matters_less": effect.small,
        "nearest_is_twin": effect.hits,
        "of_runs": effect.runs,
        "between_frameworks": rows(effect.framework_pairs),
        "between_workloads": rows(effect.workload_pairs),
    }
