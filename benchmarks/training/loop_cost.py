"""What the loop of a run costs over bare steps of the same graph, in turns within one process."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

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

_BARE, _GIVEN = "bare", "given"
"""Bare steps of the graph as it is, which draws its own noise; of the graph whose noise is an input, and at hand."""

Turn = tuple[float, float, float]
"""Seconds of a turn: wall time, processor time of the thread that takes the steps, and that of all threads."""


_MEASURES = ("wall time", "processor time of the stepping thread", "of all threads")


def measure(name: str, rounds: int) -> dict[str, Any]:
    """A workload at the small preset, PyTorch's graph, one thread: turns of a run's steps and of bare steps.

    Args:
        name: The workload.
        rounds: Turns of each.
    """
    spec, settings = workload(name, "small"), SessionSettings(threads=1)
    graph = export_graph("torch", ExportRequest(spec, "training", purpose="onnxruntime"))
    fed, noise, _ = take_noise_out(graph)
    few = list(itertools.islice(batches_for(spec, "training", 0), 4))
    samplers = {n.name: n.sampler(0) for n in noise}
    drawn = [{**batch, **{n: sample(k) for n, sample in samplers.items()}} for k, batch in enumerate(few)]
    others = {_BARE: (open_training(graph, settings), few)}
    if noise:
        others[_GIVEN] = (open_training(fed, settings), drawn)
    for stepper, batches in others.values():
        _bare(stepper, batches, len(batches))
    count = max(_FEWEST, int(_TURN_S * len(few) / _turn(lambda: _bare(*others[_BARE], len(few)))[0]))
    turns: dict[str, list[Turn]] = {"loop": [], **{arm: [] for arm in others}}
    begun = _clocks()

    def on_step(step: int, _: float) -> None:
        """The steps from the last turn of the others to here are a turn of the loop; those before the first are not."""
        nonlocal begun
        if step % count:
            return
        if step > count:
            turns["loop"].append(_since(begun))
            time.sleep(0.05)  # batches that are made ahead are no part of the others' turns
            for arm, (stepper, batches) in others.items():
                turns[arm].append(_turn(lambda s=stepper, b=batches: _bare(s, b, count)))
        begun = _clocks()

    train(graph, few, count * (rounds + 1), settings, on_step=on_step)
    ratios = {
        arm: [[a / b for a, b in zip(loop, other, strict=True)] for loop, other in zip(turns["loop"], of, strict=True)]
        for arm, of in turns.items()
        if arm != "loop"
    }
    return {"section": "loop", "workload": name, "steps": count, "ratios": ratios}


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
    return ["workload", "over bare steps", *_MEASURES, "turns of steps"]


def row_cells(row: dict[str, Any]) -> list[list[str]]:
    """The lines of a workload: median ratios, and the quartiles of each."""
    lines = []
    for arm, told in ((_BARE, "of the graph as it is"), (_GIVEN, "with noise at hand")):
        if arm in row["ratios"]:
            measures = zip(*row["ratios"][arm], strict=True)
            count = len(row["ratios"][arm])
            lines.append([row["workload"], told, *map(_told, measures), f"{count} of {row['steps']:,}"])
    return lines


def _told(ratios: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"
