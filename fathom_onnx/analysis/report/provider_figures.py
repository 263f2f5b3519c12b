"""Drawings of the same graphs on two providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fathom_onnx.analysis.paper.provider_comparison import (
    OF_THE_WORK,
    Gain,
    ProviderPair,
    Ratio,
    provider_name,
    times_of,
)
from fathom_onnx.vocabulary import OpClass

from .drawing import LINE_COLOURS, drawing, heat_cell, plain, short

__all__ = ["class_pairs", "gain_over_skew", "ratios_beside"]

_MARKS = "so^Dv<>P"
_CLASSES = [str(c) for c in OpClass]


def class_pairs(pairs: Sequence[ProviderPair]) -> str:
    """Percent of node time by op class: a row a graph and provider, the frameworks side by side.

    Args:
        pairs: Graphs on two providers, one at least; where node times are not those of the work, it says so.
    """
    frameworks = list(dict.fromkeys(pair.label.framework for pair in pairs))
    graphs = list(dict.fromkeys((pair.label.workload, pair.label.mode) for pair in pairs))
    providers = (pairs[0].base.provider, pairs[0].other.provider)
    runs = {(pair.label, run.provider): run for pair in pairs for run in (pair.base, pair.other)}
    rows = [(workload, mode, provider) for workload, mode in graphs for provider in providers]
    with drawing(
        f"providers-{providers[1]}", "Percent of time by op class on each provider", 1.0 + 0.3 * len(rows)
    ) as canvas:
        panels = canvas.figure.subplots(1, len(frameworks), sharey=True, squeeze=False)[0]
        for panel, framework in zip(panels, frameworks, strict=True):
            for y, (workload, mode, provider) in enumerate(rows):
                run = next(
                    (
                        run
                        for (label, where), run in runs.items()
                        if (*label, where) == (workload, framework, mode, provider)
                    ),
                    None,
                )
                if run is None or times_of(run) not in OF_THE_WORK:
                    note = "not run" if run is None else f"node times: {times_of(run)}"
                    panel.text(len(_CLASSES) / 2, y + 0.5, note, ha="center", va="center", style="italic", alpha=0.7)
                    continue
                shares = run.op_mix.shares("class")
                for x, name in enumerate(_CLASSES):
                    share = float(shares[name])
                    panel.add_patch(heat_cell(x, y, share))
                    panel.text(x + 0.5, y + 0.52, _percent(share), ha="center", va="center")
            panel.hlines(range(2, len(rows), 2), 0, len(_CLASSES), linewidth=0.6, color="#8a8f98")
            panel.set(xlim=(0, len(_CLASSES)), ylim=(len(rows), 0), title=framework)
            panel.set_xticks([x + 0.5 for x in range(len(_CLASSES))], _CLASSES)
            names = [f"{short(f'{w} {m}')} · {provider_name(p)}" for w, m, p in rows]
            panel.set_yticks([y + 0.5 for y in range(len(rows))], names)
            plain(panel)
    return canvas.svg


def _percent(share: float) -> str:
    if share <= 0:
        return ""
    return f"{100 * share:.0f}" if share >= 0.005 else "<1"


def gain_over_skew(gains: Sequence[Gain], base: str, other: str) -> str:
    """How many times faster a step is on the second provider, over the share of the largest op on the first."""
    with drawing(f"gains-{other}", "How much faster a step is, over the share of its largest op", 4.2) as canvas:
        axes = canvas.figure.subplots()
        groups = list(dict.fromkeys((gain.label.framework, gain.label.mode) for gain in gains))
        for place, (framework, mode) in enumerate(groups):
            subset = [g for g in gains if (g.label.framework, g.label.mode) == (framework, mode)]
            points = [(100 * g.skew, g.gain, g.label.workload) for g in subset]
            _dots(axes, points, place, f"{mode} ({framework})")
        axes.axhline(1.0, linewidth=0.8, linestyle=":", color="#8a8f98")
        axes.set(
            yscale="log",
            xlabel=f"largest op, % of node time on the {provider_name(base)}",
            ylabel=f"times faster on {provider_name(other)}",
        )
        _finish(canvas.figure, axes)
    return canvas.svg


def ratios_beside(ratios: Sequence[Ratio], base: str, other: str) -> str:
    """How many times longer training takes than inference, on one provider over the other."""
    with drawing(f"ratios-{other}", "Training to inference on one provider over the other", 4.2) as canvas:
        axes = canvas.figure.subplots()
        for place, framework in enumerate(dict.fromkeys(ratio.framework for ratio in ratios)):
            points = [(r.base, r.other, r.workload) for r in ratios if r.framework == framework]
            _dots(axes, points, place, framework)
        ends = [value for ratio in ratios for value in (ratio.base, ratio.other)]
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], linewidth=0.8, linestyle=":", color="#8a8f98")
        axes.set(
            xscale="log",
            yscale="log",
            xlabel=f"training to inference on the {provider_name(base)}",
            ylabel=f"on {provider_name(other)}",
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        _finish(canvas.figure, axes)
    return canvas.svg


def _dots(axes: Any, points: Sequence[tuple[float, float, str]], place: int, name: str) -> None:
    colour = LINE_COLOURS[place % len(LINE_COLOURS)]
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(xs, ys, linestyle="", marker=_MARKS[place % len(_MARKS)], markersize=5, color=colour, label=name)
    for x, y, workload in points:
        axes.annotate(short(workload, 24), (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7.5)


def _finish(figure: Any, axes: Any) -> None:
    axes.yaxis.set_major_formatter("{x:g}")  # powers of ten are formulas, which are not drawn
    axes.yaxis.set_minor_formatter("")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=4, frameon=False)
