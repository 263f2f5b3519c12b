"""Fuzz every reader, see :mod:`fuzz`.

python benchmarks/fuzz --seconds 600                 # the next inputs; counts add up in build/fuzz/record.jsonl
python benchmarks/fuzz --kinds bytes --first 1000    # from another batch on: for a second machine
python benchmarks/fuzz --again structure-1234        # an input of before, by its name
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "fuzz"
SIZES = {"structure": 500, "bytes": 5000}
"""Kind to the inputs of a batch."""


def again(name: str) -> None:
    """Make an input by its name, keep it, and give it to its reader; errors are not caught."""
    from fuzz.inputs import made, readable

    kind, _, number = name.rpartition("-")
    of, data = made(kind, int(number))
    reader, path = readable(of, data, FOLDER / "again")
    print(path)
    reader(path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kinds", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--first", type=int, default=0, help="the first number of a batch")
    parser.add_argument("--again", metavar="NAME", help="an input of a finding, by the name of its file")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.again is not None:
        again(given.again)
        return
    from batches import Kind, Record, run, versions

    from fuzz import inputs

    record = Record(FOLDER / "record.jsonl")
    before = record.findings()
    kinds = [
        Kind(
            name=name,
            size=SIZES[name],
            judge=lambda number, place, _, name=name: inputs.judge(name, number, place),  # type: ignore[misc]
            died=lambda number, _, how: inputs.died(how),
            keep=lambda number, path, name=name: inputs.keep(name, number, path),  # type: ignore[misc]
            prepare=inputs.prepare,
        )
        for name in given.kinds
    ]
    with tempfile.TemporaryDirectory() as place:
        inputs.warm(Path(place))
    run(kinds, record, given.seconds, given.processes, FOLDER, first=given.first, about=versions())
    for name in given.kinds:
        print(record.told(name))
    found = record.findings() - before
    for finding, count in found.most_common():
        print(f"{count} x {finding}")
    print(f"{len(found)} different findings{f', inputs in {FOLDER}' if found else ''}")
    sys.exit(bool(found))


sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]
if __name__ == "__main__":
    main()
