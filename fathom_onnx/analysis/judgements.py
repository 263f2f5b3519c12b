"""The criteria of the ledger as functions: from the evidence to whether a claim holds, with our number.

Each raises :class:`~fathom_onnx.analysis.evidence.Untestable` where the runs it needs are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..vocabulary import OPS, OpClass
from .clusters import centroid_distance, centroid_linkage
from .distances import FrameworkLevel
from .evidence import Evidence, RunEvidence, Untestable
from .paper import FIGURE_3, LEFT_OUT_BELOW, figure_3
from .similarity import Label

__all__ = [
    "ALIKE",
    "CORRELATED",
    "DISCOVERY",
    "FAR",
    "MANY_THREADS",
    "TRENDING",
    "VARIES",
    "Found",
    "centroids",
    "closer",
    "concentrated",
    "convolution_pays_more",
    "deepq_next",
    "dominated",
    "far_apart",
    "framework",
    "gpu_gain",
    "gpu_ratio",
    "heavy_shrinks",
    "image_nets",
    "loss_surfaces",
    "mix",
    "optimizer_surfaces",
    "outside",
    "shrinking",
    "small_do_not_scale",
    "stationary",
    "steady",
    "training_costs_more",
]

ALIKE = 0.8  # cosine similarity
FAR = 0.25  # cosine distance; the paper's Figure 3 has 0.35
TRENDING = 0.05
DISCOVERY = 0.01
VARIES = 0.1
CORRELATED = 0.5
MANY_THREADS = 4

_MIN_STEPS = 10
_NOTABLE = 0.01
_IMAGE_NETS = ("residual", "vgg", "alexnet")
_CONVOLUTIONAL = (*_IMAGE_NETS, "deepq")


class Found(NamedTuple):
    """What a criterion found: whether the claim holds, and our number in words."""

    holds: bool
    ours: str


def _each(frameworks: Iterable[str], judged: Callable[[str], Found]) -> Found:
    """A criterion asked of every framework: it must hold in each."""
    found = {name: judged(name) for name in frameworks}
    return Found(all(f.holds for f in found.values()), "; ".join(f"{name}: {f.ours}" for name, f in found.items()))


def _ratios(evidence: Evidence, name: str) -> dict[str, float]:
    """Training to inference by unprofiled step, for a framework's workloads that have both."""
    runs = evidence.usual
    return {
        label.workload: run.step_us / runs[Label(label.workload, name, "inference")].step_us
        for label, run in runs.items()
        if label.framework == name and label.mode == "training" and Label(label.workload, name, "inference") in runs
    }


# F1: steps


def _notable_steps(evidence: Evidence) -> list[np.ndarray]:
    """Times over the steps of each op type of each run that has a noticeable part of it."""
    series = []
    for run in evidence.usual.values():
        steps = run.profile.steps
        if len(steps) >= _MIN_STEPS:
            shares = run.profile.shares("op")
            series += [steps[op].to_numpy(float) for op in steps.columns if shares[op] >= _NOTABLE]
    if not series:
        raise Untestable(f"needs runs that keep {_MIN_STEPS} steps or more")
    return series


def stationary(evidence: Evidence) -> Found:
    """Few op types have a trend over the steps."""
    from scipy.stats import false_discovery_control, kendalltau

    series = _notable_steps(evidence)
    found = [float(kendalltau(np.arange(len(times)), times).pvalue) for times in series]
    p = [1.0 if np.isnan(value) else value for value in found]  # a constant time has no trend
    trending = int((false_discovery_control(p) <= DISCOVERY).sum())
    return Found(trending <= TRENDING * len(p), f"{trending} of {len(p)} op types of all runs have a trend")


def steady(evidence: Evidence) -> Found:
    """The usual op type varies little."""
    from scipy.stats import variation

    found = [float(variation(times, ddof=1)) for times in _notable_steps(evidence)]
    middle, high = np.percentile(found, [50, 90])
    return Found(bool(middle < VARIES), f"coefficient of variation {middle:.1%} (median), {high:.1%} (90th percentile)")


# F2 and F3: the mix


def _training(evidence: Evidence) -> dict[Label, RunEvidence]:
    found = {label: run for label, run in evidence.usual.items() if label.mode == "training"}
    if not found:
        raise Untestable("needs training runs")
    return found


def concentrated(evidence: Evidence) -> Found:
    """Few op types cover 90% of each training step."""
    needed = {}
    for label, run in _training(evidence).items():
        covered = run.profile.shares("op").sort_values(ascending=False).cumsum()
        needed[label] = int((covered < 0.9).sum()) + 1
    most = max(needed, key=lambda label: needed[label])
    return Found(
        needed[most] <= 15, f"{min(needed.values())} to {needed[most]} types (most in {most}), of {len(needed)} runs"
    )


def _cut(shares: pd.Series[float]) -> pd.Series[float]:
    return shares.where(shares >= LEFT_OUT_BELOW, 0.0)


def _similarity(ours: pd.Series[float], printed: pd.Series[float]) -> float:
    both = pd.DataFrame({"ours": ours, "printed": printed}).fillna(0.0)
    return 1.0 - centroid_distance(both.T, ["ours"], ["printed"])


def mix(evidence: Evidence, workload: str) -> Found:
    """Our mix of operations is that of Figure 3.

    The figure leaves out what is below 1%, so its rows sum to 93 to 99%. Cosine similarity does not see a row's sum, so
    nothing is scaled; our ops below 1% are 0 as well, and an op that the figure does not have counts against us.
    """
    printed = figure_3().loc[workload]

    def judged(name: str) -> Found:
        ours = _cut(evidence.usual[Label(workload, name, "training")].profile.shares("op"))
        similarity = _similarity(ours, printed)
        classes = [row.groupby([str(OPS[op].op_class) for op in row.index]).sum() for row in (ours, printed)]
        top = ", ".join(f"{op} {share:.0%}" for op, share in ours.sort_values(ascending=False).head(3).items())
        return Found(similarity >= ALIKE, f"{similarity:.2f} by op, {_similarity(*classes):.2f} by class ({top})")

    return _each(evidence.frameworks([workload], "training"), judged)


def dominated(evidence: Evidence, classes: Mapping[str, str]) -> Found:
    """A class has most of a workload's training time."""

    def judged(name: str) -> Found:
        holds, said = True, []
        for workload, wanted in classes.items():
            shares = evidence.usual[Label(workload, name, "training")].profile.shares("class")
            holds &= bool(shares.idxmax() == wanted and shares[wanted] > 0.5)
            said.append(f"{workload} {OpClass(wanted).label.lower()} {shares[wanted]:.0%}")
        return Found(holds, ", ".join(said))

    return _each(evidence.frameworks(classes, "training"), judged)


def shrinking(evidence: Evidence) -> Found:
    """The share of matrix operations falls from alexnet to vgg to residual."""
    order = ("alexnet", "vgg", "residual")

    def judged(name: str) -> Found:
        shares = [evidence.usual[Label(w, name, "training")].profile.shares("class")["B"] for w in order]
        return Found(shares[0] > shares[1] > shares[2], ", ".join(f"{s:.1%}" for s in shares))

    return _each(evidence.frameworks(order, "training"), judged)


# F4: which workloads are alike


def _distance(evidence: Evidence, name: str, a: str, b: str) -> float:
    return centroid_distance(evidence.shares(name, "training"), [a], [b])


def image_nets(evidence: Evidence) -> Found:
    """The nearest workload of each image network is another image network."""
    needed = tuple(FIGURE_3)

    def judged(name: str) -> Found:
        table = evidence.shares(name, "training")
        nearest = {
            w: min((o for o in needed if o != w), key=lambda other: centroid_distance(table, [w], [other]))
            for w in _IMAGE_NETS
        }
        said = ", ".join(f"{w} to {o}" for w, o in nearest.items())
        return Found(all(o in _IMAGE_NETS for o in nearest.values()), said)

    return _each(evidence.frameworks(needed, "training"), judged)


def deepq_next(evidence: Evidence) -> Found:
    """The first cluster of the three image networks and a fourth workload has deepq as the fourth."""
    needed = tuple(FIGURE_3)

    def judged(name: str) -> Found:
        merges = centroid_linkage(evidence.shares(name, "training").loc[list(needed)])
        joined = [{*m.left, *m.right} for m in merges]
        first = next(members for members in joined if members > set(_IMAGE_NETS))
        others = ", ".join(w for w in needed if w in first - set(_IMAGE_NETS))
        return Found(others == "deepq", f"joined by {others}")

    return _each(evidence.frameworks(needed, "training"), judged)


def closer(evidence: Evidence) -> Found:
    """Speech and autoenc are closer than seq2seq and memnet."""

    def judged(name: str) -> Found:
        full, language = _distance(evidence, name, "speech", "autoenc"), _distance(evidence, name, "seq2seq", "memnet")
        return Found(full < language, f"{full:.2f} against {language:.2f}")

    return _each(evidence.frameworks(("speech", "autoenc", "seq2seq", "memnet"), "training"), judged)


def far_apart(evidence: Evidence) -> Found:
    """Speech and seq2seq are far apart."""

    def judged(name: str) -> Found:
        distance = _distance(evidence, name, "speech", "seq2seq")
        return Found(distance >= FAR, f"{distance:.2f}")

    return _each(evidence.frameworks(("speech", "seq2seq"), "training"), judged)


def centroids(evidence: Evidence) -> Found:
    """The centroids of two pairs are about 0.4 apart."""

    def judged(name: str) -> Found:
        table = evidence.shares(name, "training")
        distance = centroid_distance(table, ["seq2seq", "memnet"], ["speech", "autoenc"])
        return Found(0.3 <= distance <= 0.5, f"{distance:.2f}")

    return _each(evidence.frameworks(("seq2seq", "memnet", "speech", "autoenc"), "training"), judged)


# F5: training and inference, CPU and GPU


def training_costs_more(evidence: Evidence) -> Found:
    """Every workload's training step takes longer than its inference step."""

    def judged(name: str) -> Found:
        ratios = _ratios(evidence, name)
        low, high = min(ratios, key=lambda w: ratios[w]), max(ratios, key=lambda w: ratios[w])
        return Found(ratios[low] > 1, f"{ratios[low]:.1f} ({low}) to {ratios[high]:.1f} ({high}) times")

    names = [name for name in dict.fromkeys(label.framework for label in evidence.usual) if _ratios(evidence, name)]
    if not names:
        raise Untestable("needs inference and training runs of one workload from one framework")
    return _each(names, judged)


def convolution_pays_more(evidence: Evidence) -> Found:
    """The median ratio of training to inference is larger over convolutional networks."""

    def judged(name: str) -> Found:
        ratios = _ratios(evidence, name)
        with_it = median(ratios[w] for w in _CONVOLUTIONAL)
        without = median(ratios[w] for w in FIGURE_3 if w not in _CONVOLUTIONAL)
        return Found(with_it > without, f"{with_it:.1f} against {without:.1f} times")

    return _each(evidence.frameworks(FIGURE_3, "inference", "training"), judged)


def _correlated(pairs: Iterable[tuple[float, float]], needs: str) -> Found:
    from scipy.stats import spearmanr

    rows = np.array(list(pairs), float)
    if len(rows) < 5:
        raise Untestable(f"needs {needs}, of 5 graphs or more; there are {len(rows)}")
    rho = float(spearmanr(rows[:, 0], rows[:, 1]).statistic)
    if np.isnan(rho):
        raise Untestable(f"needs {needs} that differ")
    return Found(rho >= CORRELATED, f"rank correlation {rho:.2f} over {len(rows)}")


def gpu_gain(evidence: Evidence) -> Found:
    """The GPU's gain goes with the share of the largest op on the CPU."""
    cpu, gpu = evidence.by_provider("cpu"), evidence.by_provider("cuda")
    pairs = [
        (float(run.profile.shares("op").max()), run.step_us / gpu[label].step_us)
        for label, run in cpu.items()
        if label in gpu
    ]
    return _correlated(pairs, "runs on the CPU and on a GPU")


def gpu_ratio(evidence: Evidence) -> Found:
    """Training to inference on the GPU goes with that on the CPU."""
    both = evidence.by_provider("cpu"), evidence.by_provider("cuda")
    pairs = []
    for label in both[0]:
        other = label._replace(mode="inference")
        if label.mode == "training" and all(label in runs and other in runs for runs in both):
            cpu, gpu = (runs[label].step_us / runs[other].step_us for runs in both)
            pairs.append((cpu, gpu))
    return _correlated(pairs, "inference and training runs on the CPU and on a GPU")


# F6: threads


def _scaled(evidence: Evidence, workload: str = "", most: int = 0) -> dict[Label, tuple[RunEvidence, RunEvidence]]:
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
    scaled: Mapping[Label, tuple[RunEvidence, RunEvidence]], judged: Callable[[RunEvidence, RunEvidence], Found]
) -> Found:
    by_framework = {label.framework: pair for label, pair in scaled.items()}
    return _each(by_framework, lambda name: judged(*by_framework[name]))


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
