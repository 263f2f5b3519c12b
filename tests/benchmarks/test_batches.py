"""Batches of inputs by processes: what they find, what dies, and that counts add up."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from batches import Judged, Kind, Record, pool, run


def judge(number: int, place: Path, tell) -> Judged:
    """Of ten inputs one is wrong, one dies and one dies after it has said what it does."""
    if number == 3:
        return Judged(("odd",), "wrong: by three")
    if number == 5:
        tell("alone")
    if number in (5, 6):
        os._exit(7)
    return Judged(("odd" if number % 2 else "even",))


def kind() -> Kind:
    return Kind(
        "numbers",
        5,
        judge,
        lambda told, how: Judged(("died", told or "silent"), f"ended: {how}"),
        lambda number, path: Path(f"{path}.txt").write_text(str(number)) and None,
    )


def two(record: Record) -> Iterator[int]:
    return itertools.islice(record.missing("numbers"), 2)


def done(folder: Path, seconds: float, first: int = 0) -> Record:
    run([kind()], Record(folder / "record.jsonl"), seconds, 1, folder, first=first, about={})
    return Record(folder / "record.jsonl")


def test_each_input_counts_once_and_runs_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # two batches, whatever the clock says
    monkeypatch.setattr(pool, "_jobs", lambda kinds, record, *_: ((kinds[0], n) for n in two(record)))
    record = done(tmp_path, 1)
    assert record.total("numbers") == {"inputs": 10, "even": 4, "odd": 4, "died": 2, "alone": 1, "silent": 1}
    assert record.findings() == {"wrong": 1, "ended": 2}
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == [f"numbers-{n}.txt" for n in (3, 5, 6)]
    again = done(tmp_path, 1)
    assert again.total("numbers")["inputs"] == 20
    assert again.told("numbers").startswith("numbers: batches 0-3: inputs 20, ")


def test_no_batch_begins_after_the_time(tmp_path: Path) -> None:
    assert not done(tmp_path, -1).total("numbers")
