"""What the loop of a run costs over bare steps of the same graph, in turns within one session."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from fathom_onnx.data import batches_for
from fathom_onnx.exporting import ExportRequest, export_graph
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper
from fathom_onnx.training import open_training, train
from fathom_onnx.training.noise import take_noise_out
from fathom_onnx.workloads import workload

__all__ = ["columns", "measure", "row_cells"]

_TURN_S, _FEWEST = 1.5, 4
"""Wall time of a turn, about, and its fewest steps."""

Turn = tuple[float, float, float]
"""Seconds of a turn: wall time, processor time of the thread that takes the steps, and that of all threads."""

_MEASURES = ("wall time:", "processor time of the stepping thread:", "of all threads:")


def measure(name: str, rounds: int) -> dict[str, Any]:
    """A workload at the small preset, PyTorch's graph, one thread: turns of a run's steps and of bare steps.

    Bare steps are taken in the run's own session: another one with the same graph was up to 12 % faster or slower,
    wherever its tensors came to lie, and its weights could be at numbers that take longer.

    Args:
        name: The workload.
        rounds: Turns of the run's steps, each between two of bare steps.
    """
    spec, settings = workload(name, "small"), SessionSettings(threads=1)
    graph = export_graph("torch", ExportRequest(spec, "training", purpose="onnxruntime"))
    fed, noise, _ = take_noise_out(graph)
    few = list(itertools.islice(batches_for(spec, "training", 0), 4))
    samplers = {n.name: n.sampler(0) for n in noise}
    drawn = [{**batch, **{n: sample(k) for n, sample in samplers.items()}} for k, batch in enumerate(few)]
    count = _steps_a_turn(open_training(fed, settings), drawn)
    opened: list[Stepper] = []
    turns: dict[str, list[Turn]] = {"loop": [], "bare": []}
    begun = _clocks()

    def opening(*given: Any) -> Stepper:
        opened.append(open_training(*given))
        return opened[0]

    def on_step(step: int, _: float) -> None:
        """Steps of the run between two turns of bare steps are a turn; those before the first one are not."""
        nonlocal begun
        if step % count:
            return
        if step > count:
            turns["loop"].append(_since(begun))
        time.sleep(0.05)  # batches that are made ahead are no part of the bare steps' turn
        turns["bare"].append(_turn(lambda: _bare(opened[0], drawn, count)))
        begun = _clocks()

    with mock.patch("fathom_onnx.training.loop.open_training", opening):
        train(graph, few, count * (rounds + 1), settings, on_step=on_step)
    around = itertools.pairwise(turns["bare"])
    ratios = [
        [2 * own / (before + after) for own, before, after in zip(loop, *bare, strict=True)]
        for loop, bare in zip(turns["loop"], around, strict=True)
    ]
    return {"section": "loop", "workload": name, "steps": count, "ratios": ratios}


def _steps_a_turn(stepper: Stepper, batches: list[Any]) -> int:
    few = len(batches)
    _bare(stepper, batches, few)
    wall, _, _ = _turn(lambda: _bare(stepper, batches, few))
    return max(_FEWEST, int(_TURN_S * few / wall))


def _clocks() -> Turn:
    return time.perf_counter(), time.thread_time(), time.process_time()


def _since(begun: Turn) -> Turn:
    wall, own, every = (now - then for now, then in zip(_clocks(), begun, strict=True))
    return wall, own, every


def _turn(run: Callable[[], None]) -> Turn:
    begun = _clocks()
    run()
    return _since(begun)


def _bare(stepper: Stepper, batches: list[Any], count: int) -> None:
    for batch in itertools.islice(itertools.cycle(batches), count):
        stepper.step(batch)
        stepper.results()


def columns() -> list[str]:
    """Heads of the table."""
    return ["workload", *_MEASURES, "turns of steps:"]


def row_cells(row: dict[str, Any]) -> list[str]:
    """The line of a workload: median ratios, and the quartiles of each."""
    measures = zip(*row["ratios"], strict=True)
    return [row["workload"], *map(_told, measures), f"{len(row['ratios'])} of {row['steps']:,}"]


def _told(ratios: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"
