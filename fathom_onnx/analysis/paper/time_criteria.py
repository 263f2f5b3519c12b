"""The ledger's criteria on step times (F5, F6, OV), and the framework question (FW).

Each raises :class:`~.evidence.Untestable` where the runs it needs are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.similarity import RunLabel

from .evidence import CriterionResult, Evidence, RunEvidence, Untestable, in_each
from .provider_comparison import FEWEST, ProviderPair, correlation, gains, pairs, ratios, times_of
from .reported import FIGURE_3

__all__ = [
    "CORRELATED",
    "MANY_THREADS",
    "convolution_pays_more",
    "framework",
    "gpu_gain",
    "gpu_ratio",
    "heavy_shrinks",
    "loss_surfaces",
    "optimizer_surfaces",
    "outside",
    "small_do_not_scale",
    "training_costs_more",
]

CORRELATED = 0.5
"""F5c, F5d: smallest rank correlation that supports a claim."""

MANY_THREADS = 4
"""F6: smallest number of threads that counts as many."""

_CONVOLUTIONAL = ("residual", "vgg", "alexnet", "deepq")


# F5: training and inference, CPU and GPU


def _ratios(evidence: Evidence, name: str) -> dict[str, float]:
    """Training to inference by unprofiled step, for a framework's workloads that have both."""
    runs = evidence.usual
    return {
        label.workload: run.step_us / runs[RunLabel(label.workload, name, "inference")].step_us
        for label, run in runs.items()
        if label.framework == name and label.mode == "training" and RunLabel(label.workload, name, "inference") in runs
    }


def training_costs_more(evidence: Evidence) -> CriterionResult:
    """Every workload's training step takes longer than its inference step."""

    def check(name: str) -> CriterionResult:
        ratios = _ratios(evidence, name)
        low, high = min(ratios, key=lambda w: ratios[w]), max(ratios, key=lambda w: ratios[w])
        return CriterionResult(ratios[low] > 1, f"{ratios[low]:.1f} ({low}) to {ratios[high]:.1f} ({high}) times")

    names = [name for name in dict.fromkeys(label.framework for label in evidence.usual) if _ratios(evidence, name)]
    if not names:
        raise Untestable("needs inference and training runs of one workload from one framework")
    return in_each(names, check)


def convolution_pays_more(evidence: Evidence) -> CriterionResult:
    """The median ratio of training to inference is larger over convolutional networks."""

    def check(name: str) -> CriterionResult:
        ratios = _ratios(evidence, name)
        with_it = median(ratios[w] for w in _CONVOLUTIONAL)
        without = median(ratios[w] for w in FIGURE_3 if w not in _CONVOLUTIONAL)
        return CriterionResult(with_it > without, f"{with_it:.1f} against {without:.1f} times")

    return in_each(evidence.frameworks(FIGURE_3, "inference", "training"), check)


def _correlated(
    evidence: Evidence, needs: str, points: Callable[[Sequence[ProviderPair]], list[tuple[float, float]]]
) -> CriterionResult:
    """Whether two numbers of the graphs that ran on both providers correlate, in every framework with enough graphs."""
    cpu, gpu = evidence.by_provider("cpu"), evidence.by_provider("cuda")
    both = pairs(cpu, gpu)
    by_framework = {name: points([p for p in both if p.label.framework == name]) for name in _framework_names(both)}
    correlations = {name: rho for name, rows in by_framework.items() if (rho := correlation(rows)) is not None}
    if not correlations:
        most = max((len(rows) for rows in by_framework.values()), default=0)
        lack = f"there are {most}" if most < FEWEST else "they do not differ"
        raise Untestable(f"needs {needs}, of {FEWEST} graphs or more from one framework; {lack}")

    def check(name: str) -> CriterionResult:
        return CriterionResult(
            correlations[name] >= CORRELATED,
            f"rank correlation {correlations[name]:.2f} over {len(by_framework[name])}",
        )

    result = in_each(correlations, check)
    slowed = any(times_of(pair.other) == "serialized" for pair in both)
    return result._replace(ours=f"{result.ours} (GPU steps with serialized launches)") if slowed else result


def _framework_names(both: Iterable[ProviderPair]) -> list[str]:
    return list(dict.fromkeys(pair.label.framework for pair in both))


def gpu_gain(evidence: Evidence) -> CriterionResult:
    """The GPU's gain goes with the share of the largest op on the CPU."""
    return _correlated(
        evidence, "runs on the CPU and on a GPU", lambda both: [(graph.skew, graph.gain) for graph in gains(both)]
    )


def gpu_ratio(evidence: Evidence) -> CriterionResult:
    """Training to inference on the GPU goes with that on the CPU."""
    return _correlated(
        evidence,
        "inference and training runs on the CPU and on a GPU",
        lambda both: [(ratio.base, ratio.other) for ratio in ratios(both)],
    )


# F6: threads


def _scaled(evidence: Evidence, workload: str = "", most: int = 0) -> dict[RunLabel, tuple[RunEvidence, RunEvidence]]:
    """Training runs on one thread and on the most there are (or exactly ``most``), by label."""
    scaled = {}
    counts: set[int] = set()
    for label in evidence.usual:
        if label.mode == "training" and workload in ("", label.workload):
            runs = evidence.by_threads(label)
            counts |= set(runs)
            many = most or max(runs, default=0)
            if 1 in runs and many in runs and many >= MANY_THREADS:
                scaled[label] = runs[1], runs[many]
    if not scaled:
        needed = str(most) if most else f"{MANY_THREADS} or more"
        present = ", ".join(map(str, sorted(counts))) or "none"
        runs_of = f"{workload} training runs" if workload else "training runs"
        raise Untestable(f"needs {runs_of} on 1 and on {needed} threads; there are: {present}")
    return scaled


def _over_threads(
    scaled: Mapping[RunLabel, tuple[RunEvidence, RunEvidence]],
    check: Callable[[RunEvidence, RunEvidence], CriterionResult],
) -> CriterionResult:
    by_framework = {label.framework: pair for label, pair in scaled.items()}
    return in_each(by_framework, lambda name: check(*by_framework[name]))


def heavy_shrinks(evidence: Evidence) -> CriterionResult:
    """The share of the largest op on one thread is smaller on many."""
    pairs = _scaled(evidence)
    falls = sum(
        many.op_mix.shares("op").get(one.op_mix.shares("op").idxmax(), 0.0) < one.op_mix.shares("op").max()
        for one, many in pairs.values()
    )
    return CriterionResult(2 * falls > len(pairs), f"it falls in {falls} of {len(pairs)} runs")


def optimizer_surfaces(evidence: Evidence) -> CriterionResult:
    """The share of deepq's optimizer grows to what the paper has at 8 threads."""

    def check(one: RunEvidence, many: RunEvidence) -> CriterionResult:
        first, last = (run.share("by_op", "ApplyRMSProp") for run in (one, many))
        return CriterionResult(last > first and last >= 0.04, f"{first:.1%} on 1 thread, {last:.1%} on {many.threads}")

    return _over_threads(_scaled(evidence, "deepq", 8), check)


def loss_surfaces(evidence: Evidence) -> CriterionResult:
    """The share of seq2seq's loss grows to something visible."""

    def check(one: RunEvidence, many: RunEvidence) -> CriterionResult:
        first, last = (run.share("by_phase", "loss") for run in (one, many))
        return CriterionResult(last > first and last >= 0.01, f"{first:.1%} on 1 thread, {last:.1%} on {many.threads}")

    return _over_threads(_scaled(evidence, "seq2seq"), check)


def small_do_not_scale(evidence: Evidence) -> CriterionResult:
    """Memnet's time outside matrix products hardly falls."""

    def check(one: RunEvidence, many: RunEvidence) -> CriterionResult:
        times = [float(run.op_mix.steps.drop(columns="MatMul", errors="ignore").median().sum()) for run in (one, many)]
        if min(times) <= 0:
            raise Untestable("memnet has no time outside MatMul")
        return CriterionResult(
            times[0] / times[1] < 1.5, f"{times[0] / times[1]:.2f} times faster on {many.threads} threads"
        )

    return _over_threads(_scaled(evidence, "memnet"), check)


# OV and FW


def outside(evidence: Evidence) -> CriterionResult:
    """No run spends more than 2% of a profiled step outside ops."""
    shares = {
        label: float(s["outside_us"]) / float(s["run_time_us"])
        for label, run in evidence.usual.items()
        if (s := run.summary).get("outside_us") is not None and s.get("run_time_us")
    }
    if not shares:
        raise Untestable("no run says what it spends outside ops")
    most = max(shares, key=lambda label: shares[label])
    within = sum(share <= 0.02 for share in shares.values())
    span = f"{min(shares.values()):.1%} to {shares[most]:.1%} (most in {most})"
    return CriterionResult(within == len(shares), f"{span}; at most 2% in {within} of {len(shares)} runs")


def framework(level: FrameworkLevel) -> CriterionResult:
    """The framework question at one level."""
    if level.outcome == "unknown":
        raise Untestable(level.verdict)
    return CriterionResult(level.outcome == "little", level.verdict)
