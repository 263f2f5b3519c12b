"""The command line of what works in batches."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .pool import Kind, run
from .record import Record, versions

__all__ = ["arguments", "work"]


def arguments(description: str | None, kinds: Sequence[str], usual: Sequence[str]) -> argparse.Namespace:
    """The arguments that were given.

    Args:
        description: What the command does.
        kinds: Names of the kinds of inputs.
        usual: Those of the kinds that are taken where none is named.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="no batch is begun after that")
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=list(usual))
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--first", type=int, default=0, help="the first number of a batch")
    parser.add_argument("--again", metavar="NAME", help="an input of a finding, by the name of its file")
    return parser.parse_args()


def work(given: argparse.Namespace, kinds: Sequence[Kind], folder: Path) -> None:
    """Work on the next batches and say what is on record; the exit code is 1 where something new was found.

    Args:
        given: What :func:`arguments` gives.
        kinds: The kinds asked for.
        folder: Folder of the record and of the inputs of findings.
    """
    record = Record(folder / "record.jsonl")
    before = record.findings()
    run(kinds, record, given.seconds, given.processes, folder, first=given.first, about=versions())
    for kind in kinds:
        print(record.told(kind.name))
    found = record.findings() - before
    for finding, count in found.most_common():
        print(f"{count} x {finding}")
    print(f"{len(found)} different findings{f', inputs in {folder}' if found else ''}")
    sys.exit(bool(found))
