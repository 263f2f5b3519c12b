"""Processes that fork, a batch of inputs each; one that dies takes one input with it."""

from __future__ import annotations

import gc
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .record import Record

__all__ = ["Judged", "Kind", "run"]

LONGEST_S = 120
"""After this time without a result a process is killed: what takes long says so itself, save in a library's code."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Judged:
    """What came of an input.

    Attributes:
        outcomes: What is counted of it.
        finding: What is wrong, if anything; findings are told apart by the text before the first colon.
    """

    outcomes: tuple[str, ...]
    finding: str | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of inputs.

    Attributes:
        name: What it is called.
        size: Inputs of a batch.
        judge: Takes the number of an input, a folder and a function, and judges the input. What it tells the function
            is known if its process dies.
        died: What came of an input whose process died, from what was told last and how it died.
        keep: Writes the input of a number for one who wants to see it, as files whose paths begin so.
        prepare: What a process does first.
        last: The number of the last input; None where there is no end.
    """

    name: str
    size: int
    judge: Callable[[int, Path, Tell], Judged]
    died: Callable[[str, str], Judged]
    keep: Callable[[int, Path], None]
    prepare: Callable[[], None] = lambda: None
    last: int | None = None


def _end(kind: Kind, batch: int) -> int:
    """The number after the last input of a batch."""
    end = (batch + 1) * kind.size
    return end if kind.last is None else min(end, kind.last + 1)


@dataclass
class _Process:
    """A process at work on a batch."""

    kind: Kind
    batch: int
    pid: int
    pipe: int
    next: int
    place: Path
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    told: str = ""
    rest: bytes = b""
    heard: float = field(default_factory=time.monotonic)
    cpu_s: float = 0.0

    @property
    def end(self) -> int:
        return _end(self.kind, self.batch)


def _work(kind: Kind, first: int, end: int, pipe: int, place: Path) -> None:
    """The life of a process: a line of JSON for each input."""

    def send(row: Mapping[str, Any]) -> None:
        os.write(pipe, json.dumps(row).encode() + b"\n")

    kind.prepare()
    for number in range(first, end):
        judged = kind.judge(number, place, lambda text: send({"told": text}))
        send({"outcomes": judged.outcomes, "finding": judged.finding})


def _start(kind: Kind, batch: int, first: int, scratch: Path) -> _Process:
    reading, writing = os.pipe()
    place = Path(tempfile.mkdtemp(dir=scratch))
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(reading)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os.chdir(place)
            tempfile.tempdir = str(place)
            _work(kind, first, _end(kind, batch), writing, place)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    return _Process(kind, batch, pid, reading, first, place)


def _count(process: _Process, judged: Judged, kept: Path, known: Counter[str]) -> None:
    """Count an input; of each finding, the first inputs are kept."""
    process.counts["inputs"] += 1
    process.counts.update(judged.outcomes)
    if judged.finding is not None:
        what = judged.finding.split(":")[0]
        process.findings.append(what)
        known[what] += 1
        print(f"{process.kind.name} {process.next}: {judged.finding}", flush=True)
        if known[what] <= 10:
            kept.mkdir(parents=True, exist_ok=True)
            process.kind.keep(process.next, kept / f"{process.kind.name}-{process.next}")
    process.next += 1
    process.told = ""


def _hear(process: _Process, data: bytes, kept: Path, known: Counter[str]) -> None:
    """Take in what a process has written."""
    process.heard = time.monotonic()
    *lines, process.rest = (process.rest + data).split(b"\n")
    for line in lines:
        row = json.loads(line)
        if "told" in row:
            process.told = row["told"]
        else:
            _count(process, Judged(tuple(row["outcomes"]), row["finding"]), kept, known)


def _jobs(kinds: Iterable[Kind], record: Record, first: int, end: float) -> Iterator[tuple[Kind, int]]:
    """Batches that are not done, of each kind in turn, until the time is over."""
    missing = {kind: record.missing(kind.name, first) for kind in kinds}
    while missing:
        for kind, numbers in list(missing.items()):
            if time.monotonic() > end:
                return
            batch = next(numbers)
            if _end(kind, batch) > batch * kind.size:
                yield kind, batch
            else:
                del missing[kind]


def run(
    kinds: Iterable[Kind],
    record: Record,
    seconds: float,
    processes: int,
    kept: Path,
    *,
    first: int = 0,
    about: Mapping[str, Any],
) -> None:
    """Judge batches that are not on record until the time is over; those that were begun are finished.

    Args:
        kinds: The kinds, which take turns.
        record: Where finished batches go.
        seconds: No batch is begun after that.
        processes: How many work at the same time.
        kept: Folder for the inputs of findings.
        first: The first number of a batch.
        about: What the record says of every batch: versions.
    """
    gc.collect()
    gc.freeze()  # what is loaded stays: no process looks through it, or copies its pages
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    known = record.findings()
    jobs = _jobs(kinds, record, first, time.monotonic() + seconds)
    running: dict[int, _Process] = {}
    selector = selectors.DefaultSelector()

    def start(kind: Kind, batch: int, number: int, before: _Process | None = None) -> None:
        process = _start(kind, batch, number, scratch)
        if before is not None:
            process.counts, process.findings, process.cpu_s = before.counts, before.findings, before.cpu_s
        running[process.pipe] = process
        selector.register(process.pipe, selectors.EVENT_READ)

    def end(process: _Process) -> None:
        selector.unregister(process.pipe)
        os.close(process.pipe)
        del running[process.pipe]
        _, status, used = os.wait4(process.pid, 0)
        process.cpu_s += used.ru_utime + used.ru_stime
        shutil.rmtree(process.place, ignore_errors=True)
        if process.next < process.end:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {status >> 8}"
            _count(process, process.kind.died(process.told, how), kept, known)
        if process.next < process.end:
            start(process.kind, process.batch, process.next, process)
            return
        row = {"kind": process.kind.name, "batch": process.batch, "size": process.kind.size, "counts": process.counts}
        record.add({**row, "findings": process.findings, "cpu_s": round(process.cpu_s, 1), **about})

    try:
        while True:
            while len(running) < processes and (job := next(jobs, None)) is not None:
                start(*job, job[1] * job[0].size)
            if not running:
                break
            for key, _ in selector.select(timeout=5):
                process = running[key.fd]
                data = os.read(process.pipe, 1 << 16)
                if data:
                    _hear(process, data, kept, known)
                else:
                    end(process)
            for process in running.values():
                if time.monotonic() - process.heard > LONGEST_S:
                    os.kill(process.pid, signal.SIGKILL)
    finally:
        for process in running.values():
            os.kill(process.pid, signal.SIGKILL)
        shutil.rmtree(scratch, ignore_errors=True)
