"""A process that holds one contestant's step and runs it when its standard input says so.

Each line that comes in is a request, each line that goes out its answer, both JSON: ``{"seconds": s}`` asks for steps
for about that long, at least one, and is answered with the seconds of each; the first answer comes unasked, when the
step is ready, or says ``error``. Frameworks print to standard output, which therefore leads to standard error here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from .contestants import Case

__all__ = ["main", "make_step"]


class Step(Protocol):
    """A step that is ready to run."""

    def run(self) -> float:
        """Seconds of one step."""

    def optimizer_s(self) -> list[float]:
        """Seconds of the optimizer in the steps since the last call; none where they cannot be told."""


def make_step(case: Case, contestant: str, graph: Path | None) -> Step:
    """The step of a contestant; ``graph`` is the file of one of ours."""
    if graph is not None:
        from .onnxruntime_steps import OnnxruntimeStep

        return OnnxruntimeStep(case, graph)
    if contestant.startswith("tensorflow"):
        from .tensorflow_steps import TensorFlowStep, set_threads

        set_threads(case.threads)
        return TensorFlowStep(case, contestant)
    import torch

    from .torch_steps import TorchStep

    torch.set_num_threads(case.threads)
    return TorchStep(case, contestant)


def main(arguments: list[str]) -> None:
    """Serve: a case as JSON, the contestant, and the file of its graph or nothing."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    case, contestant = Case(**json.loads(arguments[0])), arguments[1]
    started = time.perf_counter()
    try:
        step = make_step(case, contestant, Path(arguments[2]) if arguments[2] else None)
        warm = [step.run(), step.run()]
    except Exception as error:
        say({"error": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"})
        raise
    step.optimizer_s()
    say({"ready_s": time.perf_counter() - started, "first_s": warm[0], "step_s": warm[1]})
    for line in sys.stdin:
        limit = json.loads(line)["seconds"]
        times = [step.run()]  # the caches belonged to another process until now
        if times[0] < limit:
            times, end = [], time.perf_counter() + limit
            while not times or time.perf_counter() < end:
                times.append(step.run())
        seconds = {"times_s": times, "optimizer_s": step.optimizer_s()[-len(times) :]}
        say({name: [round(s, 7) for s in listed] for name, listed in seconds.items()})
