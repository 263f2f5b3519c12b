"""Click logs of Criteo (the Kaggle challenge of 2014, the terabyte of 2015): lines of tab-separated text, for dlrm.

A line is an impression: whether it was clicked (0 or 1), 13 counts, and 26 categories of up to eight hexadecimal
digits. A count or a category may be empty. As in the release of Naumov et al. (2019, data_utils.py), what is empty is
0, a count below 0 is 0, and the network gets ``log(count + 1)``; a category's index is its number modulo the rows of
its table, as there where tables are bounded. In a table that has as many rows as the column has different values, some
of them share a row all the same: the release numbers them, which takes a pass over the whole log.

Logs are read on and on, never whole: batches are drawn in random order from :data:`WINDOW` lines at a time.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, Split, generator
from fathom_onnx.data.records.clicks import ClickRequest, click_request
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

from .division import HELD_OUT_ONE_IN, in_part
from .files import folder_entries, require_file, what_is
from .lines import lines_of

__all__ = ["CATEGORIES", "COUNTS", "WINDOW", "open_criteo", "record_of"]

COUNTS = 13
"""Counts of an impression, I1 to I13."""

CATEGORIES = 26
"""Categories of an impression, C1 to C26."""

WINDOW = 1 << 16
"""Impressions among which the next one is drawn."""

_FIELDS = 1 + COUNTS + CATEGORIES
_EXPECTED = (
    f"a log of Criteo: lines of a click (0 or 1), {COUNTS} counts and {CATEGORIES} categories, with tabs between"
)
_KINDS = (
    (1, re.compile("[01]"), "0 or 1, whether there was a click"),
    (COUNTS, re.compile("(?:-?[0-9]{1,10})?"), "a whole number or nothing"),
    (CATEGORIES, re.compile("(?:[0-9A-Fa-f]{1,8})?"), "up to eight hexadecimal digits or nothing"),
)
_LINE = re.compile("\t".join(f"(?:{kind.pattern})" for count, kind, _ in _KINDS for _ in range(count)))
_DAY = re.compile(r"day_(\d+)(?:\.gz)?")
_LOGS = ("train.txt", "train.txt.gz")

Record = tuple[int, ...]
"""The click, the counts and the categories of a line, as numbers."""


def record_of(text: str, number: int, path: Path) -> Record:
    """The record of a line.

    Raises:
        DataError: It is none; the field is named.
    """
    fields = text.split("\t")
    if _LINE.fullmatch(text) is None:
        raise _wrong(fields, f"'{path}', line {number}")
    numbers = [int(field or "0") for field in fields[: 1 + COUNTS]]
    return (*numbers, *(int(field or "0", 16) for field in fields[1 + COUNTS :]))


def _wrong(fields: list[str], where: str) -> DataError:
    """What is wrong with a line."""
    if len(fields) != _FIELDS:
        hint = ", as in a test.txt, which does not say what was clicked" if len(fields) == _FIELDS - 1 else ""
        return DataError(f"{where} has {len(fields)} fields{hint}", f"expected {_FIELDS}: {_EXPECTED}")
    kinds = [(kind, expected) for count, kind, expected in _KINDS for _ in range(count)]
    number, field, expected = next(
        (number, field, expected)
        for number, (field, (kind, expected)) in enumerate(zip(fields, kinds, strict=True), 1)
        if kind.fullmatch(field) is None
    )
    return DataError(f"{where} has '{field[:20]}' in field {number}", f"expected {expected}")


@dataclass(frozen=True)
class _Part:
    """The lines of a part: those of some files, or those of them that a hash chooses."""

    files: tuple[Path, ...]
    split: Split

    def records(self) -> Iterator[Record]:
        """Its records, once."""
        for path in self.files:
            for number, text in lines_of(path, _EXPECTED):
                record = record_of(text, number, path)
                if in_part(text.encode(), self.split):
                    yield record


def _days(folder: Path) -> list[Path]:
    """The files of days, in their order.

    Raises:
        DataError: A day comes twice.
    """
    found: dict[int, Path] = {}
    for entry in folder_entries(folder):
        day = _DAY.fullmatch(entry.name)
        if day is not None:
            other = found.setdefault(int(day[1]), entry)
            if other != entry:
                raise DataError(f"folder '{folder}' has '{other.name}' and '{entry.name}'", "expected a day once")
    return [found[day] for day in sorted(found)]


def _part(path: Path, split: Split) -> _Part:
    """The part requested of what a path stands for.

    Raises:
        DataError: It stands for no log.
    """
    if what_is(path) != "folder":
        return _Part((require_file(path, _EXPECTED),), split)
    days = _days(path)
    if len(days) > 1:
        chosen = {"training": days[:-1], "held-out": days[-1:]}.get(split, days)
        return _Part(tuple(chosen), "all")
    logs = [path / name for name in _LOGS if what_is(path / name) == "file"]
    if not days and not logs:
        raise DataError(f"folder '{path}' has no file 'train.txt' or 'day_0'", f"expected {_EXPECTED}")
    return _Part(tuple(days or logs[:1]), split)


def _fit(asked: ClickRequest, request: BatchRequest) -> None:
    """Check that columns fill what is asked for, and say which are left out.

    Raises:
        DataError: They do not.
    """
    source = asked.source
    wide = next((spec for spec, _ in asked.columns if spec.shape[1] != 1), None)
    if wide is not None:
        raise DataError(
            f"data source '{source}' cannot fill '{wide.name}' of shape {list(wide.shape)}: a category has one value",
            "give the graph one lookup a table (--set lookups=1)",
        )
    if asked.counts > COUNTS or len(asked.columns) > CATEGORIES:
        raise DataError(
            f"data source '{source}' has {COUNTS} counts and {CATEGORIES} categories, and the graph {asked.counts} and "
            f"{len(asked.columns)}",
            f"give it no more (--set dense={COUNTS})",
        )
    if asked.counts < COUNTS or len(asked.columns) < CATEGORIES:
        request.remark(
            f"of '{source}' the graph takes the first {asked.counts} of {COUNTS} counts and the first "
            f"{len(asked.columns)} of {CATEGORIES} categories"
        )


def open_criteo(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``dense`` [batch, counts], ``categories.N`` [batch, 1] and ``clicks`` [batch, 1].

    Every impression comes once, in random order among some, before any is repeated. A graph with fewer columns gets the
    first ones.

    Args:
        request: The request.
        path: A log, plain or gzip; or a folder with ``train.txt``, or with ``day_0`` and on, of which the last day is
            held out. Of one log, one line in ten is held out, by a hash of it.

    Raises:
        DataError: A file is not what it should be (raised where it comes), the part has no impression, or the request
            cannot be filled.
    """
    asked = click_request(request, f"criteo:{path}")
    _fit(asked, request)
    part = _part(Path(path), request.split)
    return _batches(asked, part, generator(request.seed, "criteo"))


def _shuffled(part: _Part, rng: np.random.Generator) -> Iterator[Array]:
    """The records of a part, int64 [1 + counts + categories] each, without end.

    Raises:
        DataError: It has none.
    """
    while True:
        records = part.records()
        count = 0
        while window := list(itertools.islice(records, WINDOW)):
            rows = np.array(window, np.int64)
            yield from rows[rng.permutation(len(rows))]
            count += len(rows)
        if not count:
            names = ", ".join(f"'{file}'" for file in part.files)
            raise DataError(
                f"{names} has no impression in the {part.split} part",
                f"expected {_EXPECTED}; one line in {HELD_OUT_ONE_IN} is held out, chosen by its content",
            )


def _batches(asked: ClickRequest, part: _Part, rng: np.random.Generator) -> Iterator[Batch]:
    records = _shuffled(part, rng)
    while True:
        rows = np.stack(list(itertools.islice(records, asked.batch)))
        counts = rows[:, 1 : 1 + asked.counts]
        columns = rows[:, 1 + COUNTS :].T[: len(asked.columns)]
        indices = [column % size for column, (_, size) in zip(columns, asked.columns, strict=True)]
        yield asked.filled(np.log1p(np.maximum(counts, 0)), [index[:, np.newaxis] for index in indices], rows[:, 0])
