"""Kill commands at random moments, and look at what they left.

    python benchmarks/kills                         # kills of export, profile, sweep and study
    python benchmarks/kills --only sweep --count 20
    python benchmarks/kills report                  # write the table of docs/results/kills.md

Every second kill waits for the moment when a file is being written, the others come at any. After a kill all processes
of the command have to end by themselves, every file has to be the old one or the new one, and what was finished has to
be there as it was. The next call goes on from there, and in the end a call that is let alone has to succeed. A call is
a copy of a process that has imported everything, so that it is killed at its work and seldom before. Rows go to
build/kills.jsonl. Runs of ``train`` are killed by benchmarks/training.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calls import call, started
from documents import put, table
from subjects import SUBJECTS, Subject

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ROOT / "build" / "kills.jsonl"
DOCUMENT = ROOT / "docs" / "results" / "kills.md"
START, END = "<!-- measured: kills -->", "<!-- end of measured: kills -->"
MARK = "FATHOM_ONNX_KILLS"
KILLS_A_TURN = 6
"""Kills in a row of a sweep or a study before it may finish."""
LONGEST_S = 60.0
"""Seconds that a command's processes may live on."""


def killed(subject: Subject, count: int, chosen: random.Random) -> dict[str, Any]:
    """Kill a command some times.

    Args:
        subject: The command.
        count: Kills.
        chosen: Draws the moments.
    """
    scratch = subject.place / "tmp"
    scratch.mkdir()
    mark = uuid.uuid4().hex
    environment = {MARK: mark, "TMPDIR": str(scratch)}
    begun = time.perf_counter()
    _finish(subject, 0, environment)
    usual_s = time.perf_counter() - begun
    found: dict[str, Any] = {"kills": 0, "while writing": 0, "slowest end of processes, s": 0.0}
    faults: list[str] = subject.check()
    turn, in_turn = 1, 0
    while found["kills"] < count:
        begun = time.perf_counter()
        process = started(subject.command(turn), environment)
        # a call that goes on from where the last was killed is shorter than the first, and its last moments count
        delay = chosen.uniform(0.1, 1.1) * usual_s
        writing = found["kills"] % 2 == 0 and _wait_for_writing(subject.place, process, delay, chosen)
        while not writing and process.exitcode is None and time.perf_counter() - begun < delay:
            time.sleep(0.002)
        hit = process.exitcode is None
        process.kill()
        process.join()
        lived = _end_of_processes(mark)
        found["slowest end of processes, s"] = max(found["slowest end of processes, s"], lived)
        faults += [*(["a process lives on"] if lived >= LONGEST_S else []), *subject.check()]
        if hit:
            found["kills"] += 1
            found["while writing"] += writing
            in_turn += 1
        else:
            usual_s = time.perf_counter() - begun
            faults += [f"exit code {process.exitcode}"] * (process.exitcode != 0)
        if subject.shortest or not hit:
            turn, in_turn = turn + 1, 0
        elif in_turn >= KILLS_A_TURN:
            faults += _finish(subject, turn, environment)
            turn, in_turn = turn + 1, 0
    faults += _finish(subject, turn, environment)
    found["left in the temporary folder"] = sum(not p.name.endswith(".lock") for p in scratch.iterdir())
    found["left beside results"] = sum(p.name.startswith(".") for p in subject.place.rglob("*"))
    return {**found, "turns": turn, "faults": faults}


def _finish(subject: Subject, turn: int, environment: dict[str, str]) -> list[str]:
    """Let a turn end: what is wrong after it."""
    try:
        call(subject.command(turn), environment)
    except RuntimeError as error:
        return [str(error), *subject.check()]
    return subject.check()


def _wait_for_writing(place: Path, process: ForkProcess, after_s: float, chosen: random.Random) -> bool:
    """Wait until a file or a folder is being written that was not there before, at least for a while."""
    before = _aside(place)
    deadline = time.perf_counter() + 60
    begun = time.perf_counter()
    while process.exitcode is None and time.perf_counter() < deadline:
        # with a part of the time gone, the later files have their turn too
        if time.perf_counter() - begun > 0.7 * after_s and _aside(place) - before:
            time.sleep(chosen.uniform(0.0, 0.02))
            return process.exitcode is None
        time.sleep(0.0005)
    return False


def _aside(place: Path) -> set[str]:
    """Names of what is being written beside its target, below a folder."""
    return {name for _, folders, files in os.walk(place) for name in (*folders, *files) if name.startswith(".")}


def _end_of_processes(mark: str) -> float:
    """Wait for all processes that a killed command started: seconds that it took, at most :data:`LONGEST_S`."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < LONGEST_S and any(_is_of(path, mark) for path in Path("/proc").glob("[0-9]*")):
        time.sleep(0.02)
    return time.perf_counter() - begun


def _is_of(process: Path, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def report() -> None:
    """Put the table into the document: the sums of all rows."""
    sums: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    for row in map(json.loads, ROWS.read_text().splitlines()):
        of = sums[row["command"]]
        for name in ("kills", "while writing", "turns"):
            of[name] += int(row[name])
        of["faults"] += len(row["faults"])
        of["slowest"] = max(of["slowest"], row["slowest end of processes, s"])
    columns = ["command", "kills:", "while it wrote:", "turns:", "faults:", "last process gone after, s:"]
    rows = [
        [name, *(f"{of[n]:.0f}" for n in ("kills", "while writing", "turns", "faults")), f"{of['slowest']:.1f}"]
        for name, of in sums.items()
    ]
    put(DOCUMENT, (START, END), table(columns, rows))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["kill", "report"], default="kill")
    parser.add_argument("--only", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--count", type=int, default=60, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    if given.what == "report":
        report()
        return
    ROWS.parent.mkdir(exist_ok=True)
    for name in given.only:
        with tempfile.TemporaryDirectory(prefix="kills-") as place:
            row = killed(SUBJECTS[name](Path(place)), given.count, random.Random(given.seed))
        with ROWS.open("a") as file:
            file.write(json.dumps({"command": name, "seed": given.seed, **row}) + "\n")
        print(f"{name}: {row}", flush=True)


if __name__ == "__main__":
    main()
