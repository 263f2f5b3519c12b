"""Tiles of the first screen on runs: the step, its heaviest op and layer, the roof, memory; or a tile a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fathom_onnx.analysis.comparison import Comparison
from fathom_onnx.analysis.report.drawing import short
from fathom_onnx.analysis.report.overview import Tile
from fathom_onnx.analysis.report.page import CellState, three_digits
from fathom_onnx.analysis.report.report import duration, percent
from fathom_onnx.analysis.report.strips import Strip, strip_svg
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.vocabulary import OpClass

from .run_sections import ShownRun

__all__ = ["VERDICT_STATES", "run_tile", "run_tiles", "step_us"]

VERDICT_STATES: dict[str, CellState] = {"slower": "bad", "faster": "good", "undecided": "open"}
"""How a verdict of a comparison is marked; the others are not."""

_CLASSES = {str(c): c.label.lower() for c in OpClass}


def step_us(summary: Mapping[str, Any]) -> float:
    """The time of a step: unprofiled where it is known."""
    return float(summary.get("control_us") or summary["step_us"])


def _step_times(shown: ShownRun) -> tuple[Sequence[float], Sequence[float]]:
    """Milliseconds of the unprofiled and of the profiled steps."""
    run = shown.run
    profiled = run.steps["wall_us"].to_numpy(float) if isinstance(run, Run) else run.wall_us
    return [us / 1e3 for us in run.manifest["control_steps_us"]], list(np.asarray(profiled, float) / 1e3)


def run_tiles(number: int, shown: ShownRun, summary: Mapping[str, Any]) -> list[Tile]:
    """What one run says at a glance.

    Args:
        number: The number of the run's sections.
        shown: The run.
        summary: Its summary.
    """
    control, profiled = _step_times(shown)
    strips = [Strip("unprofiled", control, float(np.median(control)))] if control else []
    strips.append(Strip("profiled", profiled, float(np.median(profiled))))
    outside = float(summary["outside_us"])
    tiles = [
        Tile(
            "A step",
            duration(step_us(summary)),
            [(duration(float(summary["step_us"])), "profiled"), (duration(outside), "of it outside nodes")],
            drawing=strip_svg(f"steps-{number}", "Time of each step, ms", strips, unit="ms a step"),
            to=f"times-{number}",
        )
    ]
    ops, layers, classes = summary["by_op"], summary["by_layer"], summary["by_class"]
    if ops:
        largest = classes[0]
        numbers = [
            (percent(ops[0]["share"]), "of the node time"),
            (percent(largest["share"]), f"in class {largest['name']} {_CLASSES.get(largest['name'], '')}".strip()),
        ]
        tiles.append(Tile("Heaviest op", short(ops[0]["name"], 40), numbers, to=f"times-{number}"))
    if layers:
        numbers = [
            (percent(layers[0]["share"]), "of the node time"),
            (percent(sum(row["share"] for row in layers[:5])), f"in the heaviest 5 of {len(layers)} layers"),
        ]
        tiles.append(Tile("Heaviest layer", short(layers[0]["name"], 40), numbers, to=f"times-{number}"))
    if shown.rooflines:
        roofline = shown.rooflines["node"]
        total, bound = roofline.total, roofline.bound_shares
        share = "not known" if np.isnan(total["share"]) else percent(total["share"])
        numbers = [
            (percent(bound.get("compute", 0.0)), "bound by arithmetic"),
            (percent(bound.get("memory", 0.0)), "bound by memory"),
        ]
        tiles.append(Tile("Of the machine's roof", share, numbers, to=f"roofline-{number}"))
    memory = (summary.get("memory") or {}).get("executed")
    if memory:
        held = memory["parameters_bytes"] + memory["state_bytes"] + memory["next_state_bytes"]
        numbers = [
            (f"{three_digits(held / 1e6)} MB", "parameters and state"),
            (f"{three_digits(memory['peak_bytes'] / 1e6)} MB", "tensors at the peak"),
        ]
        whole = f"{three_digits((held + memory['peak_bytes']) / 1e6)} MB"
        tiles.append(Tile("Memory of a step", whole, numbers, to=f"memory-{number}"))
    return tiles


def run_tile(
    number: int, shown: ShownRun, summary: Mapping[str, Any], ratio: float, comparison: Comparison | None, end: float
) -> Tile:
    """One of several runs at a glance.

    Args:
        number: The number of the run's page.
        shown: The run.
        summary: Its summary.
        ratio: Its step over the first run's.
        comparison: Its comparison with the first run; None for the first itself and where it cannot be tested.
        end: The end of the axis, milliseconds; the same for all runs.
    """
    control, profiled = _step_times(shown)
    times = control or profiled
    answer, state = duration(step_us(summary)), None
    numbers = [(f"{ratio:.2f}", "of the first run's step")] if number else []
    if comparison is not None:
        row = comparison.totals.get("control") or comparison.totals["step"]
        answer, state = f"{answer}, {row.verdict}", VERDICT_STATES.get(row.verdict)
    if summary["by_op"]:
        numbers.append((percent(summary["by_op"][0]["share"]), f"in {short(summary['by_op'][0]['name'], 30)}"))
    kind = "unprofiled" if control else "profiled"
    strip = strip_svg(
        f"steps-{number}",
        f"Time of each {kind} step, ms",
        [Strip("", times, float(np.median(times)))],
        unit="ms",
        end=end,
    )
    return Tile(short(shown.name, 60), answer, numbers, state, strip, f"run-{number}")
