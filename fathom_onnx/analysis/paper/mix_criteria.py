"""The criteria of the ledger on what runs spend by op (F1 to F4): from the evidence to whether a claim holds.

Each raises :class:`~fathom_onnx.analysis.paper.evidence.Untestable` where the runs it needs are not there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fathom_onnx.analysis.similarity.clusters import centroid_distance, centroid_linkage
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.vocabulary import OPS, OpClass

from .evidence import Evidence, Found, RunEvidence, Untestable, in_each
from .reported import FIGURE_3, LEFT_OUT_BELOW, figure_3

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

ALIKE = 0.8  # cosine similarity
FAR = 0.25  # cosine distance; the paper's Figure 3 has 0.35
TRENDING = 0.05
DISCOVERY = 0.01
VARIES = 0.1

_MIN_STEPS = 10
_NOTABLE = 0.01
_IMAGE_NETS = ("residual", "vgg", "alexnet")


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


def _training(evidence: Evidence) -> dict[RunLabel, RunEvidence]:
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
        ours = _cut(evidence.usual[RunLabel(workload, name, "training")].profile.shares("op"))
        similarity = _similarity(ours, printed)
        classes = [row.groupby([str(OPS[op].op_class) for op in row.index]).sum() for row in (ours, printed)]
        top = ", ".join(f"{op} {share:.0%}" for op, share in ours.sort_values(ascending=False).head(3).items())
        return Found(similarity >= ALIKE, f"{similarity:.2f} by op, {_similarity(*classes):.2f} by class ({top})")

    return in_each(evidence.frameworks([workload], "training"), judged)


def dominated(evidence: Evidence, classes: Mapping[str, str]) -> Found:
    """A class has most of a workload's training time."""

    def judged(name: str) -> Found:
        holds, said = True, []
        for workload, wanted in classes.items():
            shares = evidence.usual[RunLabel(workload, name, "training")].profile.shares("class")
            holds &= bool(shares.idxmax() == wanted and shares[wanted] > 0.5)
            said.append(f"{workload} {OpClass(wanted).label.lower()} {shares[wanted]:.0%}")
        return Found(holds, ", ".join(said))

    return in_each(evidence.frameworks(classes, "training"), judged)


def shrinking(evidence: Evidence) -> Found:
    """The share of matrix operations falls from alexnet to vgg to residual."""
    order = ("alexnet", "vgg", "residual")

    def judged(name: str) -> Found:
        shares = [evidence.usual[RunLabel(w, name, "training")].profile.shares("class")["B"] for w in order]
        return Found(shares[0] > shares[1] > shares[2], ", ".join(f"{s:.1%}" for s in shares))

    return in_each(evidence.frameworks(order, "training"), judged)


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

    return in_each(evidence.frameworks(needed, "training"), judged)


def deepq_next(evidence: Evidence) -> Found:
    """The first cluster of the three image networks and a fourth workload has deepq as the fourth."""
    needed = tuple(FIGURE_3)

    def judged(name: str) -> Found:
        merges = centroid_linkage(evidence.shares(name, "training").loc[list(needed)])
        joined = [{*m.left, *m.right} for m in merges]
        first = next(members for members in joined if members > set(_IMAGE_NETS))
        others = ", ".join(w for w in needed if w in first - set(_IMAGE_NETS))
        return Found(others == "deepq", f"joined by {others}")

    return in_each(evidence.frameworks(needed, "training"), judged)


def closer(evidence: Evidence) -> Found:
    """Speech and autoenc are closer than seq2seq and memnet."""

    def judged(name: str) -> Found:
        full, language = _distance(evidence, name, "speech", "autoenc"), _distance(evidence, name, "seq2seq", "memnet")
        return Found(full < language, f"{full:.2f} against {language:.2f}")

    return in_each(evidence.frameworks(("speech", "autoenc", "seq2seq", "memnet"), "training"), judged)


def far_apart(evidence: Evidence) -> Found:
    """Speech and seq2seq are far apart."""

    def judged(name: str) -> Found:
        distance = _distance(evidence, name, "speech", "seq2seq")
        return Found(distance >= FAR, f"{distance:.2f}")

    return in_each(evidence.frameworks(("speech", "seq2seq"), "training"), judged)


def centroids(evidence: Evidence) -> Found:
    """The centroids of two pairs are about 0.4 apart."""

    def judged(name: str) -> Found:
        table = evidence.shares(name, "training")
        distance = centroid_distance(table, ["seq2seq", "memnet"], ["speech", "autoenc"])
        return Found(0.3 <= distance <= 0.5, f"{distance:.2f}")

    return in_each(evidence.frameworks(("seq2seq", "memnet", "speech", "autoenc"), "training"), judged)
