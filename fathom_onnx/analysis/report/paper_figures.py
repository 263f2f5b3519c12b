"""The paper's figures, drawn from our runs (Adolf et al., IISWC 2016, Figures 1 to 6).

Each function takes tables, not runs, so that whatever measured them (onnxruntime, a framework itself, another provider)
is drawn the same way. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.vocabulary import OPS, OpClass

from .drawing import DARK_INK, LINE_COLOURS, class_legend, drawing, heat_cell, op_colour, plain, short

__all__ = [
    "MODE_COLUMNS",
    "THREAD_COLUMNS",
    "beside_paper",
    "cumulative_ops",
    "dendrogram",
    "ops_over_steps",
    "ops_over_threads",
    "training_against_inference",
]

MODE_COLUMNS = ("workload", "framework", "provider", "mode", "us")
"""Columns of the table of :func:`training_against_inference`."""

THREAD_COLUMNS = ("workload", "framework", "threads", "op", "us")
"""Columns of the table of :func:`ops_over_threads`."""

_TARGET = 0.9
_MARKS = "os^Dv<>P"
_NARROW = 0.04
"""Least part of the longest bar in which three letters can be read, in a drawing of the report's width."""

_REPORT_WIDTH = 10.0


def _panels(count: int, across: int) -> tuple[int, int]:
    across = min(across, max(count, 1))
    return -(-count // across), across


def ops_over_steps(series: Mapping[RunLabel, pd.DataFrame], count: int = 4) -> str:
    """Figure 1: the time of the heaviest ops over the steps of a run, relative to each op's median.

    Args:
        series: For each run a table with one row a step and one column an op, microseconds.
        count: Ops to draw of each run.
    """
    rows, across = _panels(len(series), 2)
    with drawing(
        "steps", "Time of the heaviest ops over the steps, relative to the median", 0.4 + 1.75 * rows
    ) as canvas:
        grid = canvas.figure.subplots(rows, across, squeeze=False).ravel()
        for axes, (label, table) in zip(grid, series.items(), strict=False):
            heaviest = table.median().sort_values(ascending=False).index[:count]
            for place, op in enumerate(heaviest):
                median = float(table[op].median())
                if median <= 0:
                    continue
                line = 100 * table[op] / median
                mark = _MARKS[place % len(_MARKS)]
                axes.plot(
                    range(len(line)), line, marker=mark, markersize=3, linewidth=1, color=LINE_COLOURS[place], label=op
                )
            axes.set(title=short(str(label)), ylabel="% of median")
            axes.set_ylim(bottom=0)
            axes.set_xticks(range(0, len(table), max(1, len(table) // 8)))
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="lower left")
        for axes in grid[len(series) :]:
            axes.set_visible(False)
    return canvas.svg


def ops_needed(shares: Sequence[float], target: float = _TARGET) -> int:
    """How many of the heaviest shares it takes to reach ``target`` (shares of 1)."""
    ordered = np.sort(np.asarray(shares, float))[::-1]
    return int(np.searchsorted(np.cumsum(ordered), target - 1e-12) + 1)


def cumulative_ops(shares: Mapping[RunLabel, Mapping[str, float]]) -> str:
    """Figure 2: the share of time that the heaviest n op types take together, over n.

    Args:
        shares: For each run the share of its time by op, of 1.
    """
    modes = list(dict.fromkeys((label.framework, label.mode) for label in shares))
    rows, across = _panels(len(modes), 2)
    workloads = list(dict.fromkeys(label.workload for label in shares))
    with drawing("cumulative", "Cumulative share of time over the number of op types", 0.6 + 2.9 * rows) as canvas:
        grid = canvas.figure.subplots(rows, across, squeeze=False, sharey=True).ravel()
        for axes, (framework, mode) in zip(grid, modes, strict=False):
            for label, by_op in shares.items():
                if (label.framework, label.mode) != (framework, mode):
                    continue
                place = workloads.index(label.workload)
                cumulative = 100 * np.cumsum(np.sort(np.asarray(list(by_op.values()), float))[::-1])
                needed = ops_needed(list(by_op.values()))
                axes.plot(
                    range(1, len(cumulative) + 1),
                    cumulative,
                    marker=_MARKS[place % len(_MARKS)],
                    markersize=3,
                    linewidth=1,
                    color=LINE_COLOURS[place % len(LINE_COLOURS)],
                    label=f"{short(label.workload, 24)} ({needed})",
                )
            axes.axhline(100 * _TARGET, linewidth=0.8, linestyle=":", color="#8a8f98")
            axes.set(title=f"{mode} ({framework})", xlabel="op types", ylabel="% of time", ylim=(0, 103))
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", title=f"types for {_TARGET:.0%}")
        for axes in grid[len(modes) :]:
            axes.set_visible(False)
    return canvas.svg


def beside_paper(shares: Mapping[str, Mapping[str, Mapping[str, float]]], columns: Sequence[str]) -> str:
    """Figure 3: percent of time by op type, the paper's row above ours.

    Args:
        shares: Workload to who measured it ("paper", a framework) to the share of time by op, of 1.
        columns: The ops to show, in the figure's order; all others are summed under "other".
    """
    rows = [(workload, who, by_op) for workload, several in shares.items() for who, by_op in several.items()]
    names = [*columns, "other"]
    with drawing("paper", "Percent of time by op type, the paper's beside ours", 2.0 + 0.27 * len(rows)) as canvas:
        axes = canvas.figure.subplots()
        for y, (_, who, by_op) in enumerate(rows):
            other = sum(share for op, share in by_op.items() if op not in columns)
            for x, name in enumerate(names):
                share = other if name == "other" else by_op.get(name, 0.0)
                axes.add_patch(heat_cell(x, y, share))
                text = f"{100 * share:.0f}" if share >= 0.005 else ""
                axes.text(
                    x + 0.5,
                    y + 0.52,
                    text,
                    ha="center",
                    va="center",
                    fontsize=8,
                    style="italic" if who == "paper" else "normal",
                )
        firsts = [y for y, row in enumerate(rows) if y and row[0] != rows[y - 1][0]]
        axes.hlines(firsts, 0, len(names), linewidth=0.6, color="#8a8f98")
        groups = [str(OPS[n].op_class) if n in OPS else "" for n in names]
        edges = [x for x in range(1, len(names)) if groups[x] != groups[x - 1]]
        axes.vlines(edges, 0, len(rows), linewidth=0.6, color="#8a8f98")
        for c in OpClass:
            held_by = [x for x, g in enumerate(groups) if g == str(c)]
            if held_by:
                axes.text((held_by[0] + held_by[-1] + 1) / 2, -0.25, str(c), ha="center", va="bottom")
        axes.set(xlim=(0, len(names)), ylim=(len(rows), 0))
        axes.set_xticks([x + 0.5 for x in range(len(names))], names, rotation=60, ha="right", fontsize=8)
        axes.set_yticks([y + 0.5 for y in range(len(rows))], [f"{short(w)} · {who}" for w, who, _ in rows], fontsize=8)
        plain(axes)
    return canvas.svg


def dendrogram(merges: npt.NDArray[np.float64], labels: Sequence[str], title: str = "") -> str:
    """Figure 4: which runs are alike: the height of a joint is the distance at which two groups were merged.

    Args:
        merges: Merges in the form of :func:`scipy.cluster.hierarchy.linkage`, [runs - 1, 4].
        labels: What each leaf is called.
        title: The text above the drawing.
    """
    from scipy.cluster import hierarchy

    drawn = hierarchy.dendrogram(merges, labels=list(labels), orientation="left", no_plot=True)
    with drawing("dendrogram", "Which runs are alike, by cosine distance", 0.9 + 0.3 * len(labels)) as canvas:
        axes = canvas.figure.subplots()
        for xs, ys in zip(drawn["dcoord"], drawn["icoord"], strict=True):
            axes.plot(xs, ys, linewidth=1.2, color=LINE_COLOURS[0])
        places = [10 * place + 5 for place in range(len(labels))]  # scipy puts leaves at 5, 15, 25, ...
        axes.set_yticks(places, [short(name) for name in drawn["ivl"]])
        axes.set(xlabel="cosine distance", title=title, ylim=(0, 10 * len(labels)))
        axes.set_xlim(left=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return canvas.svg


def training_against_inference(table: pd.DataFrame) -> str:
    """Figure 5: time of a training and of an inference step, on every provider; log scale.

    Args:
        table: Columns :data:`MODE_COLUMNS`; microseconds a step. What was not run has no row.
    """
    groups = list(table.groupby(["workload", "framework", "provider"], sort=False))
    with drawing("modes", "Time of a training step and of an inference step", 0.9 + 0.32 * len(groups)) as canvas:
        axes = canvas.figure.subplots()
        for y, (_, group) in enumerate(groups):
            times = {str(row["mode"]): float(row["us"]) / 1e3 for row in group.to_dict("records")}
            for mode, shift, colour in (("inference", -0.2, LINE_COLOURS[5]), ("training", 0.2, LINE_COLOURS[4])):
                if mode in times:
                    axes.barh(y + shift, times[mode], height=0.38, color=colour, label=mode if not y else None)
            if len(times) == 2:
                ratio = times["training"] / times["inference"]
                axes.text(max(times.values()) * 1.08, y, f"{ratio:.1f}x", va="center_baseline")
        axes.set_yticks(range(len(groups)), [short(f"{w} ({f}, {p})") for (w, f, p), _ in groups])
        axes.set(xscale="log", xlabel="ms a step", ylim=(len(groups) - 0.4, -0.6))
        axes.xaxis.set_major_formatter("{x:g}")  # powers of ten are formulas, which are not drawn
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0.12)
        plain(axes)
        canvas.figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return canvas.svg


def _stack(table: pd.DataFrame, named: Sequence[str]) -> pd.DataFrame:
    """Rows: thread counts; columns: the named ops and the rest, milliseconds."""
    wide = table.pivot_table(index="threads", columns="op", values="us", aggfunc="sum", fill_value=0.0) / 1e3
    kept = wide.reindex(columns=list(named), fill_value=0.0)
    return kept.assign(other=wide.drop(columns=list(named), errors="ignore").sum(axis=1))


def ops_over_threads(table: pd.DataFrame, notes: Mapping[str, str] | None = None, count: int = 6) -> str:
    """Figure 6: the time of each op type as the threads inside an operator grow.

    Args:
        table: Columns :data:`THREAD_COLUMNS`; microseconds a step.
        notes: Workload to a remark on what its ops do in it (which layers they serve).
        count: Op types to name in each panel; the others are summed.
    """
    groups = list(table.groupby(["workload", "framework"], sort=False))
    rows, across = _panels(len(groups), 2)
    used: set[str] = set()
    with drawing("threads", "Time of each op type over the number of threads", 0.9 + 1.9 * rows) as canvas:
        grid = canvas.figure.subplots(rows, across, squeeze=False).ravel()
        for axes, ((workload, framework), group) in zip(grid, groups, strict=False):
            heaviest = group.groupby("op")["us"].max().sort_values(ascending=False).index[:count]
            stack = _stack(group, list(heaviest))
            _thread_bars(axes, stack)
            used.update(stack.columns)
            note = (notes or {}).get(str(workload), "")
            axes.set_title(short(f"{workload} ({framework})") + (f"\n{note}" if note else ""), fontsize=9)
        for axes in grid[len(groups) :]:
            axes.set_visible(False)
        class_legend(canvas.figure, sorted(used))
    return canvas.svg


def _thread_bars(axes: Any, stack: pd.DataFrame) -> None:
    longest = float(stack.sum(axis=1).max())
    narrow = _NARROW * _REPORT_WIDTH / axes.figure.get_figwidth()
    for y, (_, times) in enumerate(stack.iterrows()):
        left = 0.0
        for op, width in times.items():
            axes.barh(y, width, left=left, height=0.74, color=op_colour(str(op)), edgecolor="#8a8f98", linewidth=0.3)
            if longest and width / longest >= narrow * len(str(op)) / 3:
                axes.text(left + width / 2, y, str(op), ha="center", va="center_baseline", fontsize=6.5, color=DARK_INK)
            left += width
    axes.set_yticks(range(len(stack)), [f"{n} thread{'s' if n != 1 else ''}" for n in stack.index])
    axes.set(xlabel="ms", ylim=(len(stack) - 0.5, -0.5))
    plain(axes)
