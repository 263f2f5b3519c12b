"""Differential testing, see :mod:`differential`.

python benchmarks/differential --seconds 600                  # the next graphs; counts add up
python benchmarks/differential --kinds chains --first 500     # from another batch on: for a second machine
python benchmarks/differential --again chains-1234            # a graph of before, by its name
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "differential"
BATCH = 100
"""Graphs of a batch."""


def main() -> None:
    """The command line."""
    from differential.graphs import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["chains"])
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--first", type=int, default=0, help="the first number of a batch")
    parser.add_argument("--again", metavar="NAME", help="a graph of a finding, by the name of its file")
    given = parser.parse_args()
    from batches import Kind, Record, run, versions

    from differential import graphs

    warnings.simplefilter("ignore")
    if given.again is not None:
        kind, _, number = given.again.rpartition("-")
        with tempfile.TemporaryDirectory() as place:
            print(graphs.judge(kind, int(number), Path(place), print))
        return
    record = Record(FOLDER / "record.jsonl")
    before = record.findings()
    kinds = [
        Kind(
            name=name,
            size=BATCH,
            judge=lambda number, place, tell, name=name: graphs.judge(name, number, place, tell),  # type: ignore[misc]
            died=lambda _, told, how: graphs.died(told, how),
            keep=lambda number, path, name=name: graphs.keep(name, number, path),  # type: ignore[misc]
        )
        for name in given.kinds
    ]
    graphs.composer()
    run(kinds, record, given.seconds, given.processes, FOLDER, first=given.first, about=versions())
    for name in given.kinds:
        print(record.told(name))
    found = record.findings() - before
    for finding, count in found.most_common():
        print(f"{count} x {finding}")
    print(f"{len(found)} different findings{f', graphs in {FOLDER}' if found else ''}")
    sys.exit(bool(found))


sys.path.insert(0, str(ROOT / "benchmarks"))
if __name__ == "__main__":
    main()
