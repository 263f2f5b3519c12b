"""The ledger's criteria on op mixes (F1 to F4): functions of the evidence that say whether a claim holds.

Each raises :class:`~.evidence.Untestable` where the runs it needs are missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.similarity.clusters import centroid_distance, centroid_linkage
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.vocabulary import OPS, OpClass

from .evidence import CriterionResult, Evidence, RunEvidence, Untestable, in_each
from .reported import FIGURE_3, LEFT_OUT_BELOW, figure_3
from .trends import coefficient_of_variation, trend_p

__all__ = [
    "ALIKE",
    "DISCOVERY",
    "FAR",
    "TRENDING",
    "VARIES",
    "centroids",
    "closer",
    "concentrated",
    "deepq_next",
    "dominated",
    "far_apart",
    "image_nets",
    "mix",
    "shrinking",
    "stationary",
    "steady",
]

Floats = npt.NDArray[np.float64]

ALIKE = 0.8
"""F3: smallest cosine similarity of two op mixes that count as the same."""

FAR = 0.25
"""F4d: smallest cosine distance that counts as far; the paper's Figure 3 has 0.35."""

TRENDING = 0.05
"""F1a: largest share of the op types that may have a trend."""

DISCOVERY = 0.01
"""F1a: false discovery rate of the trend tests."""

VARIES = 0.1
"""F1b: largest median coefficient of variation."""

_MIN_STEPS = 10
_NOTABLE = 0.01
_IMAGE_NETS = ("residual", "vgg", "alexnet")


# F1: steps


def _notable_steps(evidence: Evidence) -> list[list[Floats]]:
    """Times over the steps of each round, of every op type with a notable share, of every run."""
    series: list[list[Floats]] = []
    for run in evidence.usual.values():
        if len(run.op_mix.steps) >= _MIN_STEPS:
            shares = run.op_mix.shares("op")
            rounds = run.op_mix.in_rounds("op")
            series += [[table[op].to_numpy(float) for table in rounds] for op in shares.index if shares[op] >= _NOTABLE]
    if not series:
        raise Untestable(f"needs runs that keep {_MIN_STEPS} steps or more")
    return series


def stationary(evidence: Evidence) -> CriterionResult:
    """Few op types have a trend over the steps of the rounds."""
    from scipy.stats import false_discovery_control

    p = [trend_p(rounds) for rounds in _notable_steps(evidence)]
    trending = int((false_discovery_control(p) <= DISCOVERY).sum())
    return CriterionResult(trending <= TRENDING * len(p), f"{trending} of {len(p)} op types of all runs have a trend")


def steady(evidence: Evidence) -> CriterionResult:
    """The usual op type varies little."""
    variations = [coefficient_of_variation(rounds) for rounds in _notable_steps(evidence)]
    middle, high = np.percentile(variations, [50, 90])
    return CriterionResult(
        bool(middle < VARIES), f"coefficient of variation {middle:.1%} (median), {high:.1%} (90th percentile)"
    )


# F2 and F3: the mix


def _training(evidence: Evidence) -> dict[RunLabel, RunEvidence]:
    runs = {label: run for label, run in evidence.usual.items() if label.mode == "training"}
    if not runs:
        raise Untestable("needs training runs")
    return runs


def concentrated(evidence: Evidence) -> CriterionResult:
    """Few op types cover 90% of each training step."""
    needed = {}
    for label, run in _training(evidence).items():
        covered = run.op_mix.shares("op").sort_values(ascending=False).cumsum()
        needed[label] = int((covered < 0.9).sum()) + 1
    most = max(needed, key=lambda label: needed[label])
    return CriterionResult(
        needed[most] <= 15, f"{min(needed.values())} to {needed[most]} types (most in {most}), of {len(needed)} runs"
    )


def _cut(shares: pd.Series[float]) -> pd.Series[float]:
    return shares.where(shares >= LEFT_OUT_BELOW, 0.0)


def _similarity(ours: pd.Series[float], printed: pd.Series[float]) -> float:
    both = pd.DataFrame({"ours": ours, "printed": printed}).fillna(0.0)
    return 1.0 - centroid_distance(both.T, ["ours"], ["printed"])


def mix(evidence: Evidence, workload: str) -> CriterionResult:
    """Our mix of operations is that of Figure 3.

    The figure leaves out what is below 1%, so its rows sum to 93 to 99%. Cosine similarity does not see a row's sum, so
    nothing is scaled; our ops below 1% are 0 as well, and an op that the figure does not have counts against us.
    """
    printed = figure_3().loc[workload]

    def check(name: str) -> CriterionResult:
        ours = _cut(evidence.usual[RunLabel(workload, name, "training")].op_mix.shares("op"))
        similarity = _similarity(ours, printed)
        classes = [row.groupby([str(OPS[op].op_class) for op in row.index]).sum() for row in (ours, printed)]
        top = ", ".join(f"{op} {share:.0%}" for op, share in ours.sort_values(ascending=False).head(3).items())
        return CriterionResult(
            similarity >= ALIKE, f"{similarity:.2f} by op, {_similarity(*classes):.2f} by class ({top})"
        )

    return in_each(evidence.frameworks([workload], "training"), check)


def dominated(evidence: Evidence, classes: Mapping[str, str]) -> CriterionResult:
    """A class has most of a workload's training time."""

    def check(name: str) -> CriterionResult:
        holds, parts = True, []
        for workload, op_class in classes.items():
            shares = evidence.usual[RunLabel(workload, name, "training")].op_mix.shares("class")
            holds &= bool(shares.idxmax() == op_class and shares[op_class] > 0.5)
            parts.append(f"{workload} {OpClass(op_class).label.lower()} {shares[op_class]:.0%}")
        return CriterionResult(holds, ", ".join(parts))

    return in_each(evidence.frameworks(classes, "training"), check)


def shrinking(evidence: Evidence) -> CriterionResult:
    """The share of matrix operations falls from alexnet to vgg to residual."""
    order = ("alexnet", "vgg", "residual")

    def check(name: str) -> CriterionResult:
        shares = [evidence.usual[RunLabel(w, name, "training")].op_mix.shares("class")["B"] for w in order]
        return CriterionResult(shares[0] > shares[1] > shares[2], ", ".join(f"{s:.1%}" for s in shares))

    return in_each(evidence.frameworks(order, "training"), check)


# F4: which workloads are alike


def _distance(evidence: Evidence, name: str, a: str, b: str) -> float:
    return centroid_distance(evidence.shares(name, "training"), [a], [b])


def image_nets(evidence: Evidence) -> CriterionResult:
    """The nearest workload of each image network is another image network."""
    needed = tuple(FIGURE_3)

    def check(name: str) -> CriterionResult:
        table = evidence.shares(name, "training")
        nearest = {
            w: min((o for o in needed if o != w), key=lambda other: centroid_distance(table, [w], [other]))
            for w in _IMAGE_NETS
        }
        ours = ", ".join(f"{w} to {o}" for w, o in nearest.items())
        return CriterionResult(all(o in _IMAGE_NETS for o in nearest.values()), ours)

    return in_each(evidence.frameworks(needed, "training"), check)


def deepq_next(evidence: Evidence) -> CriterionResult:
    """The first cluster of the three image networks and a fourth workload has deepq as the fourth."""
    needed = tuple(FIGURE_3)

    def check(name: str) -> CriterionResult:
        merges = centroid_linkage(evidence.shares(name, "training").loc[list(needed)])
        joined = [{*m.left, *m.right} for m in merges]
        first = next(members for members in joined if members > set(_IMAGE_NETS))
        others = ", ".join(w for w in needed if w in first - set(_IMAGE_NETS))
        return CriterionResult(others == "deepq", f"joined by {others}")

    return in_each(evidence.frameworks(needed, "training"), check)


def closer(evidence: Evidence) -> CriterionResult:
    """Speech and autoenc are closer than seq2seq and memnet."""

    def check(name: str) -> CriterionResult:
        full, language = _distance(evidence, name, "speech", "autoenc"), _distance(evidence, name, "seq2seq", "memnet")
        return CriterionResult(full < language, f"{full:.2f} against {language:.2f}")

    return in_each(evidence.frameworks(("speech", "autoenc", "seq2seq", "memnet"), "training"), check)


def far_apart(evidence: Evidence) -> CriterionResult:
    """Speech and seq2seq are far apart."""

    def check(name: str) -> CriterionResult:
        distance = _distance(evidence, name, "speech", "seq2seq")
        return CriterionResult(distance >= FAR, f"{distance:.2f}")

    return in_each(evidence.frameworks(("speech", "seq2seq"), "training"), check)


def centroids(evidence: Evidence) -> CriterionResult:
    """The centroids of two pairs are about 0.4 apart."""

    def check(name: str) -> CriterionResult:
        table = evidence.shares(name, "training")
        distance = centroid_distance(table, ["seq2seq", "memnet"], ["speech", "autoenc"])
        return CriterionResult(0.3 <= distance <= 0.5, f"{distance:.2f}")

    return in_each(evidence.frameworks(("seq2seq", "memnet", "speech", "autoenc"), "training"), check)
