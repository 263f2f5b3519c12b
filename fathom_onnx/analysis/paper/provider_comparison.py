"""The same graphs on two providers: the speed-up, the op mix on each, and what the speed-up correlates with.

Steps are compared by their unprofiled wall time, which ends when the device is done. Op mixes are shares of node time;
what a node's time means differs between providers (:data:`NODE_TIMES`), so that each number comes with the kinds of
times behind it, and times that are not those of the work (launches) are not compared.

The paper (Adolf et al., IISWC 2016, Figure 5) finds that the GPU gains most where an op mix is most skewed, and that
the ratio of training to inference on the GPU correlates with that on the CPU: :func:`gains` and :func:`ratios`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.similarity import Gap, MixGrouping, RunLabel

from .evidence import RunEvidence, Untestable

__all__ = [
    "FEWEST",
    "NODE_TIMES",
    "OF_THE_WORK",
    "Gain",
    "ProviderPair",
    "Ratio",
    "comparison_json",
    "correlation",
    "framework_distance",
    "gains",
    "mix_distance",
    "node_times",
    "pairs",
    "provider_levels",
    "provider_name",
    "ratios",
    "times_of",
]

NODE_TIMES: dict[str, str] = {
    "kernel": "the time that its kernel takes on the CPU",
    "device": "the time on the device of the kernels, copies and sets that it launches",
    "serialized": "the time on the host, where every launch waits for its end; steps are slower than without",
    "host launch": "the time on the host of launching its kernels, not of running them",
    "unknown": "not told by the run",
}
"""What the time of a node measures in a run, by the kind that its manifest names."""

OF_THE_WORK = ("kernel", "device", "serialized")
"""Kinds of node times that measure the work itself, so that their shares can be compared."""

FEWEST = 5
"""Smallest number of points for a rank correlation."""


def node_times(manifest: Mapping[str, Any], provider: str) -> str:
    """The kind of a run's node times, from its manifest; CPU runs that do not name one have kernel times."""
    return str(manifest.get("node_times") or ("kernel" if provider == "cpu" else "unknown"))


def provider_name(provider: str) -> str:
    """A provider's name for use in a sentence."""
    return provider.upper()


@dataclass(frozen=True)
class ProviderPair:
    """One graph on two providers.

    Attributes:
        base: The run on the first, the CPU where there is one.
        other: The run on the second.
    """

    base: RunEvidence
    other: RunEvidence

    @property
    def label(self) -> RunLabel:
        """Workload, framework, mode."""
        return self.base.label

    @property
    def gain(self) -> float | None:
        """How many times faster the unprofiled step is on the second; None where a run has none."""
        try:
            return self.base.step_us / self.other.step_us
        except Untestable:
            return None

    def distance(self, grouping: MixGrouping) -> float | None:
        """Cosine distance of the two op mixes; None where a run's node times are not those of its work."""
        if not {times_of(self.base), times_of(self.other)} <= set(OF_THE_WORK):
            return None
        return mix_distance(self.base, self.other, grouping)

    def gap(self, grouping: MixGrouping) -> Gap | None:
        """The largest difference of the two op mixes; None as for :meth:`distance`."""
        if not {times_of(self.base), times_of(self.other)} <= set(OF_THE_WORK):
            return None
        table = _share_rows(self.base, self.other, grouping)
        name = str((table.iloc[0] - table.iloc[1]).abs().idxmax())
        return Gap(name, float(table.iloc[0][name]), float(table.iloc[1][name]))

    def json(self) -> dict[str, Any]:
        """The pair as JSON can hold it."""
        gap = self.gap("op")
        return {
            **self.label._asdict(),
            "base": self.base.provider,
            "other": self.other.provider,
            "base_us": self.base.summary.get("control_us"),
            "other_us": self.other.summary.get("control_us"),
            "gain": self.gain,
            "base_node_times": times_of(self.base),
            "other_node_times": times_of(self.other),
            "distance_by_class": self.distance("class"),
            "distance_by_op": self.distance("op"),
            "largest_gap": None if gap is None else gap._asdict(),
        }


def times_of(run: RunEvidence) -> str:
    """The kind of a run's node times."""
    return run.node_times or node_times({}, run.provider)


def _share_rows(a: RunEvidence, b: RunEvidence, grouping: MixGrouping) -> pd.DataFrame:
    return pd.DataFrame([a.op_mix.shares(grouping), b.op_mix.shares(grouping)]).fillna(0.0)


def mix_distance(a: RunEvidence, b: RunEvidence, grouping: MixGrouping) -> float:
    """Cosine distance of two op mixes, 0 to 1."""
    from scipy.spatial.distance import cosine

    table = _share_rows(a, b, grouping).to_numpy(float)
    # rounding makes equal rows differ by a few 1e-17, to either side of zero
    return min(1.0, max(0.0, float(cosine(table[0], table[1]))))


def pairs(base: Mapping[RunLabel, RunEvidence], other: Mapping[RunLabel, RunEvidence]) -> tuple[ProviderPair, ...]:
    """The graphs that ran on both providers, in the first one's order."""
    return tuple(ProviderPair(run, other[label]) for label, run in base.items() if label in other)


def framework_distance(runs: Mapping[RunLabel, RunEvidence], label: RunLabel, grouping: MixGrouping) -> float | None:
    """Largest distance between the frameworks of a workload on one provider; None where only one ran comparably."""
    reference = runs.get(label)
    if reference is None or times_of(reference) not in OF_THE_WORK:
        return None
    kind = times_of(reference)
    others = [run for other, run in runs.items() if label.other_framework_of(other) and times_of(run) == kind]
    return max((mix_distance(reference, run, grouping) for run in others), default=None)


@dataclass(frozen=True)
class Gain:
    """The speed-up of a graph on the second provider, and how skewed its op mix is on the first.

    Attributes:
        label: Workload, framework, mode.
        op: The op with the largest share of the step on the first provider.
        skew: That share, 0 to 1.
        gain: How many times faster the unprofiled step is on the second.
    """

    label: RunLabel
    op: str
    skew: float
    gain: float


def gains(of: Iterable[ProviderPair]) -> tuple[Gain, ...]:
    """Gain and skew of every pair that has unprofiled steps, and shares of the work on the first provider."""
    points = []
    for pair in of:
        if pair.gain is not None and times_of(pair.base) in OF_THE_WORK:
            shares = pair.base.op_mix.shares("op")
            points.append(Gain(pair.label, str(shares.idxmax()), float(shares.max()), pair.gain))
    return tuple(points)


@dataclass(frozen=True)
class Ratio:
    """How many times longer a training step takes than an inference step, on each of two providers."""

    workload: str
    framework: str
    base: float
    other: float


def ratios(of: Iterable[ProviderPair]) -> tuple[Ratio, ...]:
    """The ratios of the workloads and frameworks of which both modes ran on both providers."""
    steps: dict[RunLabel, tuple[float, float]] = {}
    for pair in of:
        if pair.gain is not None:
            steps[pair.label] = pair.base.step_us, pair.other.step_us
    both_modes = []
    for label, training in steps.items():
        inference = steps.get(label._replace(mode="inference"))
        if label.mode == "training" and inference is not None:
            base, other = (t / i for t, i in zip(training, inference, strict=True))
            both_modes.append(Ratio(label.workload, label.framework, base, other))
    return tuple(both_modes)


def correlation(points: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation; None for fewer than :data:`FEWEST` points, or where one side is constant."""
    from scipy.stats import spearmanr

    if len(points) < FEWEST or any(len(set(side)) < 2 for side in zip(*points, strict=True)):
        return None
    return float(spearmanr(*zip(*points, strict=True)).statistic)


def provider_levels(runs: Iterable[RunEvidence]) -> tuple[FrameworkLevel, ...]:
    """The framework question asked of time in onnxruntime, a level for each provider and kind of node times.

    The CPU's level is called ``onnxruntime``. Runs whose node times are not those of the work are left out.

    Args:
        runs: Runs; of one graph on one provider the one with the most threads counts.
    """
    by_kind: dict[tuple[str, str], dict[RunLabel, RunEvidence]] = {}
    for run in sorted(runs, key=lambda r: r.threads):
        if times_of(run) in OF_THE_WORK:
            by_kind.setdefault((run.provider, times_of(run)), {})[run.label] = run
    levels = []
    for provider, times in sorted(by_kind, key=lambda key: (key[0] != "cpu", key)):
        mixes = [run.op_mix for run in by_kind[provider, times].values()]
        levels.append(FrameworkLevel.of(*_level_name(provider, times), mixes))
    return tuple(levels)


def _level_name(provider: str, times: str) -> tuple[str, str]:
    """A level's name, and what its op mixes are shares of."""
    if provider == "cpu":
        return "onnxruntime", "time in onnxruntime"
    name = f"onnxruntime on {provider_name(provider)}"
    if times == "serialized":
        return f"{name}, serialized", f"time in {name} with serialized launches"
    return name, f"{times} time in {name}"


def comparison_json(base: Mapping[RunLabel, RunEvidence], other: Mapping[RunLabel, RunEvidence]) -> dict[str, Any]:
    """The comparison of two providers as JSON can hold it."""
    both = pairs(base, other)
    return {
        "graphs": [pair.json() for pair in both],
        "gains": [
            {**gain.label._asdict(), "op": gain.op, "skew": gain.skew, "gain": gain.gain} for gain in gains(both)
        ],
        "ratios": [asdict(ratio) for ratio in ratios(both)],
    }
