"""The claims about threads (F6) by a model, where the machine has too few cores: no measurement, and never a verdict.

Each op's time is measured on 1 thread and on a few; by Amdahl's law a part of it divides by the threads and the rest
does not, and the two times give that part. The law then gives the time on :data:`MODELLED_THREADS`. An op that the
further threads slow down stays as slow as it was measured. The error that is stated is that of noise: rounds and steps
are drawn with replacement (:func:`~fathom_onnx.analysis.similarity.resampling.drawn_medians`). What the law leaves out,
such as a memory that all threads share, is in no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.similarity.resampling import drawn_medians, interval
from fathom_onnx.analysis.similarity.similarity import RunLabel

from .evidence import Evidence, RunEvidence, Untestable

__all__ = [
    "MODELLED_THREADS",
    "Modelled",
    "amdahl",
    "modelled_heavy",
    "modelled_loss",
    "modelled_optimizer",
    "modelled_small",
]

Floats = npt.NDArray[np.float64]

MODELLED_THREADS = 8
"""Threads that the paper's Figure 6 goes to."""

_HOW = "by a model, not measured (each op on {} and {} threads, Amdahl's law to {})"


def amdahl(one: Floats, several: Floats, threads: int, wanted: int) -> Floats:
    """Times on ``wanted`` threads, from those on 1 thread and on several.

    Args:
        one: Times on 1 thread.
        several: Times on ``threads`` threads.
        threads: More than 1.
        wanted: More than ``threads``.
    """
    gained = (one - several) * (1 - 1 / wanted) / (1 - 1 / threads)
    scaled = np.maximum(one - gained, one / wanted)  # no more than all of it divides
    return np.where(several >= one, several, scaled)


class Modelled(NamedTuple):
    """Times of a training step by column: as measured on 1 thread and as modelled on many.

    Row 0 is of the medians over all steps, the further rows are of resamples.
    """

    columns: list[str]
    one: Floats
    many: Floats
    threads: int

    def share(self, name: str, of: Floats) -> Floats:
        """Share of a column in ``one`` or ``many``, each row; 0 where there is none."""
        if name not in self.columns:
            return np.zeros(len(of))
        return np.asarray(of[:, self.columns.index(name)] / of.sum(axis=1))


def _modelled(one: Sequence[pd.DataFrame], several: Sequence[pd.DataFrame], threads: int, seed: int) -> Modelled:
    columns = list(dict.fromkeys(str(name) for table in (*one, *several) for name in table.columns))
    rows = []
    for number, tables in enumerate((one, several)):
        rounds = [table.reindex(columns=columns, fill_value=0.0).to_numpy(float) for table in tables]
        drawn = drawn_medians(rounds, np.random.default_rng((seed, number)))
        rows.append(np.concatenate([np.median(np.concatenate(rounds), axis=0)[None], drawn]))
    return Modelled(columns, rows[0], amdahl(rows[0], rows[1], threads, MODELLED_THREADS), threads)


def _pairs(evidence: Evidence, workload: str = "") -> dict[RunLabel, tuple[RunEvidence, RunEvidence]]:
    """Training runs on 1 thread and on the most there are, where the model has something to go on."""
    pairs = {}
    for label in evidence.usual:
        if label.mode == "training" and workload in ("", label.workload):
            runs = evidence.by_threads(label)
            most = max(runs, default=0)
            if 1 in runs and 1 < most < MODELLED_THREADS:
                pairs[label] = runs[1], runs[most]
    if not pairs:
        raise Untestable("needs training runs on 1 thread and on 2 to 7")
    return pairs


def _by_op(pairs: Mapping[RunLabel, tuple[RunEvidence, RunEvidence]]) -> dict[RunLabel, Modelled]:
    return {
        label: _modelled(one.op_mix.in_rounds("op"), more.op_mix.in_rounds("op"), more.threads, number)
        for number, (label, (one, more)) in enumerate(pairs.items())
    }


def _said(models: Iterable[Modelled], told: str, holds: npt.NDArray[np.bool_]) -> str:
    """The model's answer in words, with how often it comes out.

    Args:
        models: The models that it is made of.
        told: Its numbers.
        holds: Whether the claim would hold, each row.
    """
    counts = sorted({m.threads for m in models})
    answer = "would hold" if holds[0] else "would not hold"
    often = float((holds[1:] == holds[0]).mean())
    how = _HOW.format(1, " or ".join(map(str, counts)), MODELLED_THREADS)
    return f"{how} it {answer}, in {often:.0%} of resamples: {told}"


def _span(values: Floats, form: Callable[[float], str]) -> str:
    """The first value, and the interval of the others."""
    ends = interval(values[1:])
    return form(float(values[0])) + (f" ({form(ends[0])} to {form(ends[1])})" if ends else "")


def _percent(share: float) -> str:
    return f"{share:.1%}"


def modelled_heavy(evidence: Evidence) -> str:
    """F6a: in how many runs the share of the largest op would fall."""
    models = _by_op(_pairs(evidence))
    falls = np.zeros(len(next(iter(models.values())).one))
    for model in models.values():
        shares = model.one / model.one.sum(axis=1, keepdims=True)
        largest = shares.argmax(axis=1)
        rows = np.arange(len(shares))
        falls += (model.many / model.many.sum(axis=1, keepdims=True))[rows, largest] < shares[rows, largest]
    told = f"the share falls in {_span(falls, lambda n: f'{n:.0f}')} of {len(models)} runs"
    return _said(models.values(), told, 2 * falls > len(models))


def _share_grows(models: Mapping[RunLabel, Modelled], name: str, least: float) -> str:
    """Whether the share of a column would grow to at least so much, in every framework."""
    holds = np.ones(len(next(iter(models.values())).one), bool)
    told = []
    for label, model in models.items():
        first, last = model.share(name, model.one), model.share(name, model.many)
        holds &= (last > first) & (last >= least)
        told.append(f"{label.framework}: {first[0]:.1%} on 1 thread, {_span(last, _percent)} on {MODELLED_THREADS}")
    return _said(models.values(), "; ".join(told), holds)


def modelled_optimizer(evidence: Evidence) -> str:
    """F6b: the share of deepq's optimizer."""
    return _share_grows(_by_op(_pairs(evidence, "deepq")), "ApplyRMSProp", 0.04)


def modelled_loss(evidence: Evidence) -> str:
    """F6c: the share of seq2seq's loss."""
    models = {}
    for number, (label, (one, more)) in enumerate(_pairs(evidence, "seq2seq").items()):
        of_one, of_more = one.op_mix.phases_in_rounds(), more.op_mix.phases_in_rounds()
        if not of_one or not of_more:
            raise Untestable("the runs do not say what each phase takes in each step")
        models[label] = _modelled(of_one, of_more, more.threads, number)
    return _share_grows(models, "loss", 0.01)


def modelled_small(evidence: Evidence) -> str:
    """F6d: how much faster memnet's time outside matrix products would be."""
    models = _by_op(_pairs(evidence, "memnet"))
    holds = np.ones(len(next(iter(models.values())).one), bool)
    told = []
    for label, model in models.items():
        small = [place for place, name in enumerate(model.columns) if name != "MatMul"]
        one, many = model.one[:, small].sum(axis=1), model.many[:, small].sum(axis=1)
        if not (one.all() and many.all()):
            raise Untestable("memnet has no time outside MatMul")
        holds &= one / many < 1.5
        told.append(f"{label.framework}: {_span(one / many, lambda x: f'{x:.2f}')} times faster on {MODELLED_THREADS}")
    return _said(models.values(), "; ".join(told), holds)
