"""The rounds of a case: every contestant has a process, and in each round they run one after the other.

All of them sit idle but one. Where their memory does not suffice for all, one that has had its turn ends and is started
anew for its next. The order is another one in each round. The control loop runs before and after each turn; a turn in
which the machine changed speed is taken again, and marked if it never was quiet.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .contestants import Case
from .machine import control_s, disturbed, free_gb

__all__ = ["Failed", "Plan", "Turn", "Worker", "run_case"]

FOLDER = Path(__file__).resolve().parent.parent


REST_S = 0.2
"""Between a turn and the control loop: onnxruntime's threads spin for up to 50 ms after a step on several threads, and
the loop beside them takes up to twice as long."""


class Failed(Exception):  # noqa: N818
    """A contestant that cannot run a case: why."""


@dataclass(frozen=True)
class Plan:
    """How a case is run.

    Attributes:
        rounds: Turns of each contestant.
        seconds: Length of a turn, which has at least one step.
        again: How often a disturbed turn is taken again.
        limit_s: Seconds that a contestant may take to be ready, compilation included, and for a turn.
        spare_gb: Memory that stays free: processes end after their turn where there is less.
    """

    rounds: int = 7
    seconds: float = 1.0
    again: int = 2
    limit_s: float = 900.0
    spare_gb: float = 6.0


@dataclass
class Turn:
    """A contestant's turn in a round.

    Attributes:
        times_s: Seconds of each step.
        optimizer_s: Seconds of the optimizer in each, where they can be told.
        controls_s: The control loop's seconds before and after.
        disturbed: Whether the machine changed speed in it.
    """

    times_s: list[float]
    optimizer_s: list[float]
    controls_s: tuple[float, float]
    disturbed: bool = False


class Worker:
    """The process of a contestant, started when it is needed."""

    def __init__(self, case: Case, contestant: str, graph: Path | None, limit_s: float, log: Path) -> None:
        self._arguments = [json.dumps(asdict(case)), contestant, str(graph or "")]
        self._threads, self._limit_s, self._log = case.threads, limit_s, log
        self._process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    def start(self) -> None:
        """Start the process and wait until its step is ready, if it does not run.

        Raises:
            Failed: It ends, or is not ready in time.
        """
        if self._process is not None:
            return
        code = "import sys; from step_speed.worker import main; main(sys.argv[1:])"
        paths = os.pathsep.join(part for part in (str(FOLDER), os.environ.get("PYTHONPATH", "")) if part)
        threads = str(self._threads)
        environment = {
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_NUM_INTEROP_THREADS": threads,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        self.ready = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = b""
        if select.select([self._process.stdout], [], [], self._limit_s)[0]:
            line = self._process.stdout.readline()
            why = "ended"
        else:
            why = f"took more than {self._limit_s:.0f} s"
        if not line:
            self.stop()
            said = [text for text in self._log.read_text(errors="replace").splitlines() if text.strip()]
            raise Failed(f"it {why}: {said[-1][:200]}" if said and why == "ended" else f"it {why}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.stop()
            raise Failed(answer["error"])
        return answer

    def steps(self, seconds: float) -> tuple[list[float], list[float]]:
        """Seconds of each step, and of the optimizer in it, of steps for about ``seconds``.

        Raises:
            Failed: The process ends, or takes too long.
        """
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"seconds": seconds}).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["times_s"], answer["optimizer_s"]

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@dataclass
class Results:
    """What a case gave: the turns of each contestant, and why others have none."""

    turns: dict[str, list[Turn]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ready: dict[str, dict[str, Any]] = field(default_factory=dict)


def _turn(worker: Worker, case: Case, plan: Plan, fastest: list[float]) -> Turn:
    """A turn that was quiet, or the last of those that were not."""
    for attempt in range(plan.again + 1):
        worker.start()
        before = control_s(case.threads)
        times, optimizer = worker.steps(plan.seconds)
        time.sleep(REST_S)
        after = control_s(case.threads)
        fastest[0] = min(fastest[0], before, after)
        turn = Turn(times, optimizer, (before, after), disturbed(before, after, fastest[0]))
        if not turn.disturbed or attempt == plan.again:
            break
    return turn


def run_case(case: Case, contestants: Mapping[str, Path | None], plan: Plan, logs: Path) -> Results:
    """Run the rounds of a case.

    Args:
        case: The case.
        contestants: Name of a contestant to its graph's file, None for one that has none.
        plan: How it is run.
        logs: Folder for what the processes say.
    """
    results = Results(turns={name: [] for name in contestants})
    workers = {
        name: Worker(case, name, graph, plan.limit_s, logs / f"{name}.log") for name, graph in contestants.items()
    }
    fastest = [min(control_s(case.threads) for _ in range(5))]
    order = random.Random(0)
    try:
        for number in range(plan.rounds):
            for name in _shuffled(list(workers), order):
                worker = workers[name]
                try:
                    turn = _turn(worker, case, plan, fastest)
                except Failed as error:
                    results.failed[name] = str(error)
                    results.turns.pop(name)
                    del workers[name]
                    print(f"  {name}: {error}", file=sys.stderr, flush=True)
                    continue
                results.ready.setdefault(name, worker.ready)
                results.turns[name].append(turn)
                mark = " (disturbed)" if turn.disturbed else ""
                print(
                    f"  {time.strftime('%H:%M:%S')} round {number + 1}, {name}: {min(turn.times_s) * 1e3:.2f} ms{mark}",
                    file=sys.stderr,
                    flush=True,
                )
                if free_gb() < plan.spare_gb:
                    worker.stop()
    finally:
        for worker in workers.values():
            worker.stop()
    return results


def _shuffled(names: Sequence[str], order: random.Random) -> Iterator[str]:
    return iter(order.sample(names, len(names)))
