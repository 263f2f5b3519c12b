"""Fuzz every reader, see :mod:`fuzz`.

python benchmarks/fuzz --seconds 600                 # the next inputs; counts add up in build/fuzz/record.jsonl
python benchmarks/fuzz --kinds bytes --first 1000    # from another batch on: for a second machine
python benchmarks/fuzz --again structure-1234        # an input of before, by its name
"""

from __future__ import annotations

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
    from batches import Kind, arguments, work

    given = arguments(__doc__, list(SIZES), list(SIZES))
    warnings.simplefilter("ignore")
    if given.again is not None:
        again(given.again)
        return

    from fuzz import inputs

    kinds = [
        Kind(
            name=name,
            size=SIZES[name],
            judge=lambda number, place, _, name=name: inputs.judge(name, number, place),  # type: ignore[misc]
            died=lambda _, how: inputs.died(how),
            keep=lambda number, path, name=name: inputs.keep(name, number, path),  # type: ignore[misc]
            prepare=inputs.prepare,
        )
        for name in given.kinds
    ]
    with tempfile.TemporaryDirectory() as place:
        inputs.warm(Path(place))
    work(given, kinds, FOLDER)


sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]
if __name__ == "__main__":
    main()
