"""Steps with trained values beside the same steps with starting values: whether op times change as training goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.resampling import cosine_square, drawn_medians, interval
from fathom_onnx.study.cells.plan import Cell
from fathom_onnx.study.cells.results import CellResult

from .noise import mix_floor

__all__ = ["ValueEffect", "value_effects", "value_finding"]


@dataclass(frozen=True)
class ValueEffect:
    """What trained values change of a run's times.

    Attributes:
        cell: The run's cell.
        checkpoint: Folder and file that the values are from.
        before_us: Node time of a step with starting values, the median over the steps of all rounds.
        after_us: The same with trained values.
        interval: 95 % interval of the ratio, by resampling rounds and steps of both; None where each has one step.
        spread: How far two rounds of the same values are apart at most: the longer node time over the shorter, less 1;
            None where runs have one round.
        classes: Op class to its share of the node time before and after.
        distance: Cosine distance of the two op mixes, by op.
        floor: The larger noise floor of the two; None where runs have one round.
    """

    cell: Cell
    checkpoint: str
    before_us: float
    after_us: float
    interval: tuple[float, float] | None
    spread: float | None
    classes: dict[str, tuple[float, float]]
    distance: float
    floor: float | None

    @property
    def ratio(self) -> float:
        """The node time after over that before."""
        return self.after_us / self.before_us

    @property
    def differs(self) -> bool | None:
        """Whether the time differs by more than noise; None where it is not known how large noise is.

        The interval must not hold 1, and the ratio be farther from it than two rounds of the same values are.
        """
        if self.interval is None or self.spread is None:
            return None
        low, high = self.interval
        return not low <= 1 <= high and max(self.ratio, 1 / self.ratio) - 1 > self.spread

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {**asdict(self), "ratio": self.ratio, "differs": self.differs}


def value_effects(starting: Iterable[CellResult], trained: Iterable[CellResult]) -> tuple[ValueEffect, ...]:
    """The effect of the values on each cell that was run with trained ones, in their order.

    Args:
        starting: The runs with starting values.
        trained: Those with trained ones.
    """
    before = {run.cell: run.op_mix for run in starting}
    return tuple(
        _effect(run, first, run.op_mix)
        for run in trained
        if run.op_mix is not None and (first := before.get(run.cell)) is not None
    )


def _effect(run: CellResult, before: OpMix, after: OpMix) -> ValueEffect:
    totals = [
        [table.to_numpy(float).sum(axis=1, keepdims=True) for table in m.in_rounds("op")] for m in (before, after)
    ]
    before_us, after_us = (float(np.median(np.concatenate(several))) for several in totals)
    ends = None
    if all(sum(map(len, several)) > 1 for several in totals):
        drawn = [drawn_medians(several, np.random.default_rng(place)) for place, several in enumerate(totals)]
        ends = interval((drawn[1] / drawn[0]).ravel())
    spreads = [spread for several in totals if (spread := _spread(several)) is not None]
    floors = [floor for mix in (before, after) if (floor := mix_floor(mix, "op")) is not None]
    shares = [mix.shares("class") for mix in (before, after)]
    ops = [mix.shares("op") for mix in (before, after)]
    names = list(dict.fromkeys(name for several in ops for name in several.index))
    both = np.array([several.reindex(names, fill_value=0.0).to_numpy(float) for several in ops])
    source = run.job.values
    return ValueEffect(
        cell=run.cell,
        checkpoint=f"{source.parent.name}/{source.name}" if source else "",
        before_us=before_us,
        after_us=after_us,
        interval=ends,
        spread=max(spreads, default=None),
        classes={str(name): (float(shares[0][name]), float(shares[1][name])) for name in shares[0].index},
        distance=float(cosine_square(both)[0, 1]),
        floor=max(floors, default=None),
    )


def _spread(rounds: Sequence[npt.NDArray[np.float64]]) -> float | None:
    """The longest round's median over the shortest's, less 1; None where there is one round."""
    medians = [float(np.median(rows)) for rows in rounds]
    return max(medians) / min(medians) - 1 if len(medians) > 1 else None


def value_finding(effects: Sequence[ValueEffect]) -> str:
    """One line: how far trained values change the node time of a step; empty without such runs."""
    if not effects:
        return ""
    least, most = (choose(effects, key=lambda e: e.ratio) for choose in (min, max))
    known = [e for e in effects if e.differs is not None]
    told = f"; it differs by more than noise in {sum(bool(e.differs) for e in known)} of {len(known)}" if known else ""
    return (
        f"With trained values the node time of a step is {least.ratio:.2f} ({least.cell}) to {most.ratio:.2f} "
        f"({most.cell}) times that with starting values{told}."
    )
