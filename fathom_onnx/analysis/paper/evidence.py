"""The evidence for the paper's claims: runs by workload, framework, mode, provider and number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.errors import RunError

__all__ = ["CriterionResult", "Evidence", "RunEvidence", "Untestable", "in_each"]


class Untestable(Exception):  # noqa: N818  # not an error: these runs cannot test a claim
    """Why a claim cannot be tested with the runs there are."""


class CriterionResult(NamedTuple):
    """The result of a criterion: whether the claim holds, and our number in words."""

    holds: bool
    ours: str


def in_each(frameworks: Iterable[str], check: Callable[[str], CriterionResult]) -> CriterionResult:
    """Apply a criterion to every framework: it must hold in each."""
    results = {name: check(name) for name in frameworks}
    ours = "; ".join(f"{name}: {result.ours}" for name, result in results.items())
    return CriterionResult(all(result.holds for result in results.values()), ours)


@dataclass(frozen=True)
class RunEvidence:
    """A run as evidence.

    Attributes:
        summary: Its summary (see ``docs/reference/run-schema.md``).
        op_mix: Its op mix, a row a step.
        node_times: The kind of its node times (:data:`.provider_comparison.NODE_TIMES`); empty where the manifest
            does not name one.
    """

    summary: Mapping[str, Any]
    op_mix: OpMix
    node_times: str = ""

    @property
    def label(self) -> RunLabel:
        """Workload, framework, mode."""
        return self.op_mix.label

    @property
    def provider(self) -> str:
        """Execution provider."""
        return str(self.summary.get("provider") or "cpu")

    @property
    def threads(self) -> int:
        """Threads inside one operator."""
        return int(self.summary.get("threads") or 1)

    @property
    def step_us(self) -> float:
        """Median wall time of an unprofiled step.

        Raises:
            Untestable: The run has no unprofiled steps.
        """
        if not self.summary.get("control_us"):
            raise Untestable(f"run {self.label} has no unprofiled step time")
        return float(self.summary["control_us"])

    def share(self, rows: str, name: str) -> float:
        """Share of node time of a row of ``by_op``, ``by_class`` or ``by_phase``; 0 where there is none."""
        return next((float(row["share"]) for row in self.summary[rows] if row["name"] == name), 0.0)


@dataclass(frozen=True)
class Evidence:
    """All runs, which differ only in workload, framework, mode, provider and threads, and the framework levels.

    Raises:
        RunError: Two runs are the same in all of that.
    """

    runs: tuple[RunEvidence, ...]
    levels: tuple[FrameworkLevel, ...] = ()

    def __post_init__(self) -> None:
        seen = set()
        for run in self.runs:
            identity = (run.label, run.provider, run.threads)
            if identity in seen:
                raise RunError(f"two runs are both {run.label}", "take one batch size and optimization level")
            seen.add(identity)

    @cached_property
    def usual(self) -> dict[RunLabel, RunEvidence]:
        """One run a label, with the most threads: those on the CPU where there are any, else on the first provider.

        All are on one provider, so that times on different providers are never compared.
        """
        providers = list(dict.fromkeys(run.provider for run in self.runs))
        if not providers:
            return {}
        chosen = self.by_provider("cpu" if "cpu" in providers else providers[0])
        return {run.label: chosen[run.label] for run in self.runs if run.label in chosen}

    def by_provider(self, provider: str) -> dict[RunLabel, RunEvidence]:
        """One run a label on a provider, with the most threads."""
        return {r.label: r for r in sorted(self.runs, key=lambda r: r.threads) if r.provider == provider}

    def by_threads(self, label: RunLabel) -> dict[int, RunEvidence]:
        """Runs of a label on the CPU by number of threads, the fewest first."""
        on_cpu = [r for r in self.runs if r.label == label and r.provider == "cpu"]
        return {r.threads: r for r in sorted(on_cpu, key=lambda r: r.threads)}

    def frameworks(self, workloads: Iterable[str], *modes: str) -> list[str]:
        """Frameworks with runs of all these workloads in all these modes.

        Raises:
            Untestable: There is none.
        """
        needed = tuple(workloads)
        known = dict.fromkeys(label.framework for label in self.usual)
        complete = [f for f in known if all(RunLabel(w, f, m) in self.usual for w in needed for m in modes)]
        if not complete:
            raise Untestable(f"needs {' and '.join(modes)} runs of {', '.join(needed)} from one framework")
        return complete

    def shares(self, framework: str, mode: str) -> pd.DataFrame:
        """Op shares of a framework's runs of a mode: one row a workload, one column an op; rows sum to 1."""
        rows = {
            label.workload: run.op_mix.shares("op")
            for label, run in self.usual.items()
            if (label.framework, label.mode) == (framework, mode)
        }
        return pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)
