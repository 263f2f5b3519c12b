"""The criteria of the ledger on how long steps take (F5, F6, OV), and the framework question (FW).

Each raises :class:`~fathom_onnx.analysis.paper.evidence.Untestable` where the runs it needs are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from fathom_onnx.analysis.similarity.distances import FrameworkLevel
from fathom_onnx.analysis.similarity.similarity import RunLabel

from .evidence import Evidence, Found, RunEvidence, Untestable, in_each
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
MANY_THREADS = 4

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


def training_costs_more(evidence: Evidence) -> Found:
    """Every workload's training step takes longer than its inference step."""

    def judged(name: str) -> Found:
        ratios = _ratios(evidence, name)
        low, high = min(ratios, key=lambda w: ratios[w]), max(ratios, key=lambda w: ratios[w])
        return Found(ratios[low] > 1, f"{ratios[low]:.1f} ({low}) to {ratios[high]:.1f} ({high}) times")

    names = [name for name in dict.fromkeys(label.framework for label in evidence.usual) if _ratios(evidence, name)]
    if not names:
        raise Untestable("needs inference and training runs of one workload from one framework")
    return in_each(names, judged)


def convolution_pays_more(evidence: Evidence) -> Found:
    """The median ratio of training to inference is larger over convolutional networks."""

    def judged(name: str) -> Found:
        ratios = _ratios(evidence, name)
        with_it = median(ratios[w] for w in _CONVOLUTIONAL)
        without = median(ratios[w] for w in FIGURE_3 if w not in _CONVOLUTIONAL)
        return Found(with_it > without, f"{with_it:.1f} against {without:.1f} times")

    return in_each(evidence.frameworks(FIGURE_3, "inference", "training"), judged)


def _correlated(
    evidence: Evidence, needs: str, points: Callable[[Sequence[ProviderPair]], list[tuple[float, float]]]
) -> Found:
    """Whether two numbers of the graphs that ran on both go together, in every framework that has enough of them."""
    cpu, gpu = evidence.by_provider("cpu"), evidence.by_provider("cuda")
    both = pairs(cpu, gpu)
    held = {name: points([p for p in both if p.label.framework == name]) for name in _named(both)}
    found = {name: rho for name, rows in held.items() if (rho := correlation(rows)) is not None}
    if not found:
        most = max((len(rows) for rows in held.values()), default=0)
        lack = f"there are {most}" if most < FEWEST else "they do not differ"
        raise Untestable(f"needs {needs}, of {FEWEST} graphs or more from one framework; {lack}")

    def judged(name: str) -> Found:
        return Found(found[name] >= CORRELATED, f"rank correlation {found[name]:.2f} over {len(held[name])}")

    result = in_each(found, judged)
    slowed = any(times_of(pair.other) == "serialized" for pair in both)
    return result._replace(ours=f"{result.ours} (GPU steps with serialized launches)") if slowed else result


def _named(both: Iterable[ProviderPair]) -> list[str]:
    return list(dict.fromkeys(pair.label.framework for pair in both))


def gpu_gain(evidence: Evidence) -> Found:
    """The GPU's gain goes with the share of the largest op on the CPU."""
    return _correlated(
        evidence, "runs on the CPU and on a GPU", lambda both: [(found.skew, found.gain) for found in gains(both)]
    )


def gpu_ratio(evidence: Evidence) -> Found:
    """Training to inference on the GPU goes with that on the CPU."""
    return _correlated(
        evidence,
        "inference and training runs on the CPU and on a GPU",
        lambda both: [(found.base, found.other) for found in ratios(both)],
    )


# F6: threads


def _scaled(evidence: Evidence, workload: str = "", most: int = 0) -> dict[RunLabel, tuple[RunEvidence, RunEvidence]]:
    """Training runs on one thread and on the most there are (or exactly ``most``), by label."""
    found = {}
    counts: set[int] = set()
    for label in evidence.usual:
        if label.mode == "training" and workload in ("", label.workload):
            runs = evidence.by_threads(label)
            counts |= set(runs)
            many = most or max(runs, default=0)
            if 1 in runs and many in runs and many >= MANY_THREADS:
                found[label] = runs[1], runs[many]
    if not found:
        wanted = str(most) if most else f"{MANY_THREADS} or more"
        there = ", ".join(map(str, sorted(counts))) or "none"
        what = f"{workload} training runs" if workload else "training runs"
        raise Untestable(f"needs {what} on 1 and on {wanted} threads; there are: {there}")
    return found


def _over_threads(
    scaled: Mapping[RunLabel, tuple[RunEvidence, RunEvidence]], judged: Callable[[RunEvidence, RunEvidence], Found]
) -> Found:
    by_framework = {label.framework: pair for label, pair in scaled.items()}
    return in_each(by_framework, lambda name: judged(*by_framework[name]))


def heavy_shrinks(evidence: Evidence) -> Found:
    """The share of the largest op on one thread is smaller on many."""
    pairs = _scaled(evidence)
    falls = sum(
        many.profile.shares("op").get(one.profile.shares("op").idxmax(), 0.0) < one.profile.shares("op").max()
        for one, many in pairs.values()
    )
    return Found(2 * falls > len(pairs), f"it falls in {falls} of {len(pairs)} runs")


def optimizer_surfaces(evidence: Evidence) -> Found:
    """The share of deepq's optimizer grows to what the paper has at 8 threads."""

    def judged(one: RunEvidence, many: RunEvidence) -> Found:
        first, last = (run.share("by_op", "ApplyRMSProp") for run in (one, many))
        return Found(last > first and last >= 0.04, f"{first:.1%} on 1 thread, {last:.1%} on {many.threads}")

    return _over_threads(_scaled(evidence, "deepq", 8), judged)


def loss_surfaces(evidence: Evidence) -> Found:
    """The share of seq2seq's loss grows to something visible."""

    def judged(one: RunEvidence, many: RunEvidence) -> Found:
        first, last = (run.share("by_phase", "loss") for run in (one, many))
        return Found(last > first and last >= 0.01, f"{first:.1%} on 1 thread, {last:.1%} on {many.threads}")

    return _over_threads(_scaled(evidence, "seq2seq"), judged)


def small_do_not_scale(evidence: Evidence) -> Found:
    """Memnet's time outside matrix products hardly falls."""

    def judged(one: RunEvidence, many: RunEvidence) -> Found:
        times = [float(run.profile.steps.drop(columns="MatMul", errors="ignore").median().sum()) for run in (one, many)]
        if min(times) <= 0:
            raise Untestable("memnet has no time outside MatMul")
        return Found(times[0] / times[1] < 1.5, f"{times[0] / times[1]:.2f} times faster on {many.threads} threads")

    return _over_threads(_scaled(evidence, "memnet"), judged)


# OV and FW


def outside(evidence: Evidence) -> Found:
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
    return Found(within == len(shares), f"{span}; at most 2% in {within} of {len(shares)} runs")


def framework(level: FrameworkLevel) -> Found:
    """The framework question at one level."""
    if level.outcome == "unknown":
        raise Untestable(level.verdict)
    return Found(level.outcome == "little", level.verdict)
