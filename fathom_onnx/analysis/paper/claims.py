"""The ledger: each claim of the paper with its criterion, our number and the verdict.

The claims are those of R. Adolf et al., "Fathom: Reference Workloads for Modern Deep Learning Methods" (IISWC 2016), in
our own words. Criteria are functions over the runs and were fixed before the first measurement. A verdict is one of
``holds``, ``differs`` and ``cannot be tested here``, and the last says what is missing. Where several frameworks ran, a
claim holds when it holds in each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from fathom_onnx.analysis.similarity.levels import FrameworkLevel

from . import mix_criteria as mix
from . import thread_model as threads
from . import time_criteria as time
from .evidence import CriterionResult, Evidence, Untestable
from .reported import FIGURE_3

__all__ = ["CLAIMS", "Claim", "Entry", "Verdict", "ledger"]

Verdict = Literal["holds", "differs", "cannot be tested here"]
"""The verdict on a claim of the paper."""


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        id: Its number; letters number the parts of a claim.
        text: What the paper says, in our words.
        paper: The paper's number, or nothing where it gives none.
        criterion: The condition on our runs for the claim to hold, in words.
        check: The criterion as a function of the evidence.
        model: Says, of evidence that cannot test the claim, what a model makes of it; None where there is no model.
    """

    id: str
    text: str
    paper: str
    criterion: str
    check: Callable[[Evidence], CriterionResult]
    model: Callable[[Evidence], str] | None = None


@dataclass(frozen=True)
class Entry:
    """A row of the ledger: a claim, our number, the verdict, and what is missing where it could not be tested.

    ``model`` is what a model says of such a claim, in words that call it one; it has no part in the verdict.
    """

    claim: Claim
    ours: str
    verdict: Verdict
    why: str = ""
    model: str = ""

    @property
    def told(self) -> str:
        """Our number, or what is missing and what a model says."""
        return self.ours or "; ".join(part for part in (self.why, self.model) if part)

    def __str__(self) -> str:
        c = self.claim
        paper = f" (paper: {c.paper})" if c.paper else ""
        return f"{c.id} {self.verdict}: {c.text}{paper}; {self.told}"

    def json(self) -> dict[str, Any]:
        """The entry as JSON can hold it."""
        c = self.claim
        return {
            **{"id": c.id, "claim": c.text, "paper": c.paper, "criterion": c.criterion},
            **{"ours": self.ours, "verdict": self.verdict, "why": self.why, "model": self.model},
        }


def _mix(workload: str) -> Claim:
    printed = FIGURE_3[workload]
    top = sorted(printed, key=lambda op: -printed[op])[:3]
    return Claim(
        f"F3 {workload}",
        f"{workload} has the operation mix of Figure 3",
        ", ".join(f"{op} {printed[op]}%" for op in top),
        f"cosine similarity of our training profile and the figure's row at least {mix.ALIKE}; below 1% is 0 in both",
        lambda e: mix.mix(e, workload),
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "F1a",
        "an operation's time is stationary over the steps",
        "",
        f"at most {mix.TRENDING:.0%} of the op types with 1% of a step or more have a trend over the steps of the "
        f"rounds (Kendall, rounds as strata, false discovery rate {mix.DISCOVERY:.0%})",
        mix.stationary,
    ),
    Claim(
        "F1b",
        "an operation's time varies little between steps",
        "",
        f"median coefficient of variation, within rounds, of the op types with 1% of a step or more below "
        f"{mix.VARIES:.0%}",
        mix.steady,
    ),
    Claim(
        "F2",
        "few operation types cover 90% of a training step in every workload",
        "5 to 15 types",
        "at most 15 types in every training run",
        mix.concentrated,
    ),
    *(_mix(workload) for workload in FIGURE_3),
    Claim(
        "F3a conv",
        "residual and vgg are dominated by convolution",
        "96 to 99% of the time",
        "convolution is the largest class, with more than half of the training time, in both",
        lambda e: mix.dominated(e, {"residual": "D", "vgg": "D"}),
    ),
    Claim(
        "F3a full",
        "speech is dominated by matrix multiplication",
        "89% of the time",
        "matrix operations are the largest class, with more than half of the training time",
        lambda e: mix.dominated(e, {"speech": "B"}),
    ),
    Claim(
        "F3b",
        "the fully connected share shrinks from alexnet to vgg to residual",
        "11%, 7%, under 1%",
        "the share of matrix operations in training falls in that order",
        mix.shrinking,
    ),
    Claim(
        "F4a",
        "residual, vgg and alexnet are each other's nearest neighbours",
        "",
        "in training, the nearest other workload of each is one of the other two (cosine distance by op)",
        mix.image_nets,
    ),
    Claim(
        "F4b",
        "deepq is the next to join the three",
        "",
        "in centroid linkage the first cluster that holds the three and a fourth holds deepq",
        mix.deepq_next,
    ),
    Claim(
        "F4c",
        "speech and autoenc are closer to each other than seq2seq and memnet are",
        "",
        "smaller cosine distance by op in training",
        mix.closer,
    ),
    Claim(
        "F4d",
        "the two recurrent networks, speech and seq2seq, are far apart",
        "0.35 from Figure 3",
        f"cosine distance by op in training at least {mix.FAR}",
        mix.far_apart,
    ),
    Claim(
        "F4e",
        "the centroids of {seq2seq, memnet} and {speech, autoenc} are about 0.4 apart",
        "0.4",
        "cosine distance between 0.3 and 0.5",
        mix.centroids,
    ),
    Claim(
        "F5a",
        "a training step costs more than an inference step in every workload",
        "",
        "ratio of unprofiled step times above 1 in every workload",
        time.training_costs_more,
    ),
    Claim(
        "F5b",
        "convolutional networks pay slightly more for training",
        "",
        "median ratio of training to inference larger over the convolutional networks than over the others",
        time.convolution_pays_more,
    ),
    Claim(
        "F5c",
        "the GPU gains most where the profile is most skewed",
        "",
        f"rank correlation of the GPU's gain and the largest op's share at least {time.CORRELATED}",
        time.gpu_gain,
    ),
    Claim(
        "F5d",
        "the training to inference ratio on the GPU goes with the one on the CPU",
        "",
        f"rank correlation of the two ratios at least {time.CORRELATED}",
        time.gpu_ratio,
    ),
    Claim(
        "F6a",
        "with more threads the heavy operations shrink and others surface",
        "",
        f"from 1 thread to {time.MANY_THREADS} or more, the share of a training step's largest op falls in most runs",
        time.heavy_shrinks,
        threads.modelled_heavy,
    ),
    Claim(
        "F6b",
        "deepq's optimizer surfaces with threads",
        "about 7% at 8 threads",
        "its share of a training step is larger at 8 threads than at 1, and at least 4%",
        time.optimizer_surfaces,
        threads.modelled_optimizer,
    ),
    Claim(
        "F6c",
        "seq2seq's loss becomes visible with threads",
        "",
        f"its share of a training step grows from 1 thread to {time.MANY_THREADS} or more, to at least 1%",
        time.loss_surfaces,
        threads.modelled_loss,
    ),
    Claim(
        "F6d",
        "memnet's small operations do not scale with threads",
        "",
        f"training ops other than MatMul gain less than 1.5 times from 1 thread to {time.MANY_THREADS} or more",
        time.small_do_not_scale,
        threads.modelled_small,
    ),
    Claim(
        "OV",
        "time outside operations is small",
        "under 1 to 2%",
        "at most 2% of the profiled step in every run",
        time.outside,
    ),
)
"""The claims that runs can test; the framework question (FW) has an entry for each of its levels."""


def _framework(level: FrameworkLevel) -> Claim:
    return Claim(
        f"FW {level.name}",
        "primitive operations decide the time, so that the framework matters little",
        "",
        "every criterion of the framework question, in both modes, by class and by op, in most resamples",
        lambda e: time.framework(level),
    )


def ledger(evidence: Evidence) -> tuple[Entry, ...]:
    """An entry for every claim, then one for each level of the framework question."""
    entries = []
    for claim in (*CLAIMS, *map(_framework, evidence.levels)):
        try:
            result = claim.check(evidence)
        except Untestable as missing:
            entries.append(Entry(claim, "", "cannot be tested here", str(missing), _model(claim, evidence)))
        else:
            entries.append(Entry(claim, result.ours, "holds" if result.holds else "differs"))
    return tuple(entries)


def _model(claim: Claim, evidence: Evidence) -> str:
    """What the claim's model says, or nothing."""
    if claim.model is None:
        return ""
    try:
        return claim.model(evidence)
    except Untestable:
        return ""
