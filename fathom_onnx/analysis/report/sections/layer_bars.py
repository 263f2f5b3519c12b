"""The picture of where the time of runs goes: their layers as bars, parted by phase or by op class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from fathom_onnx.analysis.report.bars import CLASS_KEY, PHASE_KEY, Bar, BarRow, Bars, known_parts
from fathom_onnx.analysis.report.drawing import short
from fathom_onnx.analysis.report.report import duration, percent

__all__ = ["LayerTimes", "layer_bars"]

LayerTimes = Mapping[str, pd.DataFrame]
"""Name of a run to its microseconds: a row a layer, a column a phase or class."""

_ROWS = 12
"""Layers that are named; the others are summed."""


def layer_bars(title: str, columns: Mapping[str, LayerTimes], by_class: bool = False) -> Bars:
    """The layers that take longest, a bar a run, in columns that each have a scale of their own.

    Args:
        title: The heading.
        columns: Title of a column (a mode) to its runs; the same layers are the rows of all.
        by_class: Whether the parts are op classes, not phases.
    """
    totals = pd.DataFrame(
        {(column, who): table.sum(axis=1) for column, runs in columns.items() for who, table in runs.items()}
    ).fillna(0.0)
    weights = (totals / totals.sum().where(totals.sum() > 0, 1.0)).sum(axis=1)
    layers = [str(name) for name in weights.sort_values(ascending=False, kind="stable").index]
    named = layers if len(layers) <= _ROWS + 1 else layers[:_ROWS]
    key = CLASS_KEY if by_class else PHASE_KEY
    rows = [BarRow(short(layer), [_bars(runs, [layer], by_class) for runs in columns.values()]) for layer in named]
    rest = [layer for layer in layers if layer not in set(named)]
    if rest:
        rows.append(BarRow(f"{len(rest)} more", [_bars(runs, rest, by_class) for runs in columns.values()]))
    several = list(dict.fromkeys(who for runs in columns.values() for who in runs))
    order = f" Bars from the top: {', '.join(several)}." if len(several) > 1 else ""
    parts = "op classes" if by_class else "phases"
    caption = f"Time of each layer in a step, parted by {parts}, with its share of the run's node time.{order}"
    return Bars(title, caption, list(columns), rows, key)


def _bars(runs: LayerTimes, layers: Sequence[str], by_class: bool) -> list[Bar]:
    bars = []
    for who, table in runs.items():
        us = table.loc[table.index.isin(layers)].sum()
        whole = float(table.to_numpy().sum())
        text = f"{duration(float(us.sum()))}, {percent(float(us.sum()) / whole)}" if whole else ""
        parts = known_parts({str(n): float(v) for n, v in us.items()}, CLASS_KEY if by_class else PHASE_KEY)
        bars.append(Bar(who, parts, text))
    return bars
