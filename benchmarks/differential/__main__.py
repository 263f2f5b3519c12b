"""Differential testing, see :mod:`differential`.

python benchmarks/differential --seconds 600                  # the next graphs; counts add up in build/differential
python benchmarks/differential --kinds chains --first 500     # from another batch on: for a second machine
python benchmarks/differential --again chains-1234            # a graph of before, by its name
"""

from __future__ import annotations

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
    from batches import Kind, arguments, work

    from differential import graphs

    given = arguments(__doc__, graphs.KINDS, graphs.KINDS)
    warnings.simplefilter("ignore")
    if given.again is not None:
        kind, _, number = given.again.rpartition("-")
        with tempfile.TemporaryDirectory() as place:
            print(graphs.judge(kind, int(number), Path(place), print))
        return
    kinds = [
        Kind(
            name=name,
            size=BATCH,
            judge=lambda number, place, tell, name=name: graphs.judge(name, number, place, tell),  # type: ignore[misc]
            died=graphs.died,
            keep=lambda number, path, name=name: graphs.keep(name, number, path),  # type: ignore[misc]
            last=graphs.last(name),
        )
        for name in given.kinds
    ]
    graphs.composer()
    work(given, kinds, FOLDER)


sys.path.insert(0, str(ROOT / "benchmarks"))
if __name__ == "__main__":
    main()
