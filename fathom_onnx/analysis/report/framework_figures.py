"""Drawings of op mixes and of their distances, each as the text of one SVG element.

No figure conveys anything by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.vocabulary import PHASES, OpClass

from .drawing import (
    CLASS_COLOURS,
    DARK_INK,
    OTHER,
    PHASE_COLOURS,
    class_legend,
    drawing,
    heat_cell,
    op_colour,
    plain,
    short,
)

__all__ = ["class_heatmap", "distance_matrix", "phase_bars", "top_ops"]

Summary = Mapping[str, Any]

_ROUNDING = 1e-6


def _shares(summary: Summary, level: str, known: Sequence[str]) -> dict[str, float]:
    """Share by name; what is not known, and what the rows do not account for, is under :data:`OTHER`."""
    shares = dict.fromkeys(known, 0.0)
    for row in summary[level]:
        name = row["name"] if row["name"] in shares else OTHER
        shares[name] = shares.get(name, 0.0) + float(row["share"])
    rest = 1.0 - sum(shares.values())
    if rest > _ROUNDING:
        shares[OTHER] = shares.get(OTHER, 0.0) + rest
    return shares


def _rows(summaries: Sequence[Summary]) -> list[tuple[str, str]]:
    """(workload, mode) in the order they come."""
    return list(dict.fromkeys((label.workload, label.mode) for label in map(RunLabel.of, summaries)))


def _percent(share: float) -> str:
    if share <= 0:
        return ""
    return f"{100 * share:.0f}" if share >= 0.005 else "<1"


def class_heatmap(summaries: Sequence[Summary]) -> str:
    """Percent of time by op class: one row a workload and mode, the frameworks side by side."""
    labels = [RunLabel.of(s) for s in summaries]
    frameworks = list(dict.fromkeys(label.framework for label in labels))
    rows = _rows(summaries)
    shares = {
        label: _shares(s, "by_class", [str(c) for c in OpClass]) for label, s in zip(labels, summaries, strict=True)
    }
    columns = [c for c in CLASS_COLOURS if c != OTHER or any(s.get(OTHER, 0) > 0 for s in shares.values())]
    with drawing("classes", "Percent of time by op class, workload and framework", 1.0 + 0.34 * len(rows)) as canvas:
        panels = canvas.figure.subplots(1, len(frameworks), sharey=True, squeeze=False)[0]
        for panel, framework in zip(panels, frameworks, strict=True):
            for y, (workload, mode) in enumerate(rows):
                of_run = shares.get(RunLabel(workload, framework, mode))
                if of_run is None:
                    panel.text(
                        len(columns) / 2, y + 0.5, "not run", ha="center", va="center", style="italic", alpha=0.7
                    )
                for x, name in enumerate(columns):
                    share = of_run.get(name, 0.0) if of_run else 0.0
                    panel.add_patch(heat_cell(x, y, share))
                    panel.text(x + 0.5, y + 0.52, _percent(share), ha="center", va="center")
            panel.set(xlim=(0, len(columns)), ylim=(len(rows), 0), title=framework)
            panel.set_xticks([x + 0.5 for x in range(len(columns))], columns)
            panel.set_yticks([y + 0.5 for y in range(len(rows))], [short(f"{w} {m}") for w, m in rows])
            plain(panel)
    return canvas.svg


def phase_bars(summaries: Sequence[Summary]) -> str:
    """Share of time by phase, one bar a run."""
    shares = [_shares(s, "by_phase", PHASES) for s in summaries]
    used = [p for p in PHASE_COLOURS if any(s.get(p, 0.0) > 0 for s in shares)]
    with drawing("phases", "Share of time by phase of each run", 0.9 + 0.3 * len(summaries)) as canvas:
        axes = canvas.figure.subplots()
        for y, of_run in enumerate(shares):
            left = 0.0
            for phase in used:
                width = 100 * of_run.get(phase, 0.0)
                axes.barh(y, width, left=left, height=0.72, color=PHASE_COLOURS[phase], label=phase if not y else None)
                if width >= 5:
                    axes.text(left + width / 2, y, f"{width:.0f}", ha="center", va="center_baseline", color=DARK_INK)
                left += width
        axes.set(xlim=(0, 100), ylim=(len(summaries) - 0.5, -0.5), xlabel="% of node time")
        axes.set_yticks(range(len(summaries)), [short(str(RunLabel.of(s))) for s in summaries])
        plain(axes)
        if used:
            canvas.figure.legend(loc="outside upper right", ncols=len(used), frameon=False)
    return canvas.svg


def top_ops(summaries: Sequence[Summary], count: int = 8) -> str:
    """The ops that take most time of each run, coloured by class; one row a workload and mode."""
    rows = _rows(summaries)
    by_label = {RunLabel.of(s): s for s in summaries}
    frameworks = list(dict.fromkeys(label.framework for label in by_label))
    taken = {label: sorted(s["by_op"], key=lambda r: -float(r["us"]))[:count] for label, s in by_label.items()}
    longest = max(1, *(len(t) for t in taken.values()))
    height = 0.6 + len(rows) * (0.65 + 0.2 * longest)
    with drawing("ops", f"The {count} ops that take most time in each run", height) as canvas:
        canvas.figure.get_layout_engine().set(h_pad=0.12, w_pad=0.1)
        grid = canvas.figure.subplots(len(rows), len(frameworks), squeeze=False)
        for (workload, mode), line in zip(rows, grid, strict=True):
            for axes, framework in zip(line, frameworks, strict=True):
                label = RunLabel(workload, framework, mode)
                _op_bars(axes, label, taken.get(label, []), longest)
        class_legend(canvas.figure, [r["name"] for ops in taken.values() for r in ops])
    return canvas.svg


def _op_bars(axes: Any, label: RunLabel, ops: Sequence[Mapping[str, Any]], slots: int) -> None:
    """One run's bars, with the percent in words beside each."""
    names = [str(r["name"]) for r in ops]
    widths = [100 * float(r["share"]) for r in ops]
    axes.barh(range(len(ops)), widths, height=0.72, color=[op_colour(name) for name in names])
    for y, width in enumerate(widths):
        axes.text(width + 1, y, f"{width:.1f}", va="center_baseline")
    axes.set(xlim=(0, 112), ylim=(slots - 0.5, -0.5), title=short(str(label) if ops else f"{label}: not run"))
    axes.set_yticks(range(len(ops)), names)
    axes.set_xticks([])
    plain(axes)


def distance_matrix(
    square: pd.DataFrame, floors: Mapping[RunLabel, float] | None = None, name: str = "distances"
) -> str:
    """Cosine distances of every two runs (:func:`~fathom_onnx.analysis.similarity.distances`); near is strong.

    Args:
        square: The distances.
        floors: Noise floor of runs; a distance that is not above the larger one of its two runs is in brackets.
        name: What the drawing's ids start with.
    """
    labels = [RunLabel(*row) for row in square.index]
    noise = [(floors or {}).get(label, -1.0) for label in labels]
    with drawing(name, "Cosine distance of every two runs", 1.7 + 0.32 * len(labels)) as canvas:
        axes = canvas.figure.subplots()
        for y in range(len(labels)):
            for x in range(len(labels)):
                distance = float(square.iat[y, x])
                axes.add_patch(heat_cell(x, y, 1.0 - distance))
                told = f"{distance:.2f}" if distance > max(noise[x], noise[y]) else f"({distance:.2f})"
                axes.text(x + 0.5, y + 0.52, told if x != y else "", ha="center", va="center")
        axes.set(xlim=(0, len(labels)), ylim=(len(labels), 0))
        axes.set_yticks([y + 0.5 for y in range(len(labels))], [short(str(label)) for label in labels])
        axes.set_xticks([x + 0.5 for x in range(len(labels))], [str(n + 1) for n in range(len(labels))])
        axes.set_yticklabels([f"{short(str(label))}  {n + 1}" for n, label in enumerate(labels)])
        plain(axes)
    return canvas.svg
