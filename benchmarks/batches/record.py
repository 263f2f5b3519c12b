"""The record of finished batches: a file with a line of JSON for each."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Record", "versions"]


def versions() -> dict[str, str]:
    """The versions that inputs and what came of them depend on."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    packages = ("onnx", "onnxruntime", "numpy")
    return {"fathom_onnx": commit, **{name: importlib.metadata.version(name) for name in packages}}


class Record:
    """Finished batches, in a file that only grows.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            self._rows[row["kind"], row["batch"]] = row

    def missing(self, kind: str, first: int = 0) -> Iterator[int]:
        """Numbers of batches of a kind that are not done, from ``first`` on, without end."""
        return (number for number in itertools.count(first) if (kind, number) not in self._rows)

    def add(self, row: dict[str, Any]) -> None:
        """Add a batch: its ``kind``, its number ``batch``, its ``counts`` and whatever else is to be known of it."""
        self._rows[row["kind"], row["batch"]] = row
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def total(self, kind: str) -> Counter[str]:
        """The counts of all batches of a kind."""
        return sum((Counter(row["counts"]) for (of, _), row in self._rows.items() if of == kind), Counter())

    def findings(self) -> Counter[str]:
        """The findings of all batches."""
        return Counter(finding for row in self._rows.values() for finding in row["findings"])

    def told(self, kind: str) -> str:
        """A line on the batches of a kind: their numbers, what was counted, and the time it took."""
        numbers = sorted(number for of, number in self._rows if of == kind)
        seconds = sum(self._rows[kind, number]["cpu_s"] for number in numbers)
        counts = ", ".join(f"{name} {count:,}" for name, count in self.total(kind).most_common())
        return f"{kind}: batches {_ranges(numbers) or 'none'}: {counts or 'nothing'} ({seconds:,.0f} s of a core)"


def _ranges(numbers: list[int]) -> str:
    """Sorted numbers as ranges: ``0-4, 7``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in found)
