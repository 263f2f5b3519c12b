"""Multiply-accumulates of the suite of 2026: our graphs', by closed formulas, and by PyTorch's own FLOP counter.

python benchmarks/macs                    # the small preset, exported from both frameworks
python benchmarks/macs --preset paper     # the graphs' are those of graphs/2026.json; no graph is made
python benchmarks/macs --preset paper --write    # puts the table into docs/guide/simulators.md

The counter watches the untouched module run without memory. Of the gradient of a grouped convolution's filter it counts
every pair of channels, also of different groups, which never meet: those are a column of their own. Prints a table in
Markdown; the exit code is 1 where columns differ by anything else, or a graph has no entry.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from documents import put, table
from graph_index import HASHES, macs

from fathom_onnx.exporting import ExportRequest, find_exporter, graph_path
from fathom_onnx.graph import from_model
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode
from support.closed_macs import MODERN, closed_macs
from support.flop_counter import counted_macs

FRAMEWORKS = ("torch", "tensorflow")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "guide" / "simulators.md"
MARKS = ("<!-- macs, paper -->", "<!-- end of macs, paper -->")
COLUMNS = (
    "graph",
    "from PyTorch:",
    "from TensorFlow:",
    "closed formulas:",
    "FLOP counter:",
    "of it between groups:",
)


def indexed() -> dict[str, int]:
    """MACs by definition of the graphs at published sizes, by path."""
    return {row["path"]: row["macs_by_definition"] for row in json.loads(HASHES.read_text())["graphs"]}


def exported(name: str, framework: str, mode: Mode, preset: str) -> int:
    """MACs by definition of a graph that is made for it."""
    made = find_exporter(framework).export(ExportRequest(workload(name, preset), mode))
    return macs(from_model(made, name))[1]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=MODERN, metavar="WORKLOAD")
    parser.add_argument("--preset", default="small", choices=["paper", "small", "tiny"])
    parser.add_argument("--write", action="store_true", help="put the table of the paper preset into its document")
    given = parser.parse_args()
    if given.write and (given.preset != "paper" or given.workloads is not MODERN):
        parser.error("the document has the paper preset of all workloads")
    held = indexed() if given.preset == "paper" else {}
    rows: list[list[str]] = []
    different = 0
    for name in given.workloads:
        made = workload(name, given.preset)
        for mode in made.modes:
            paths = [graph_path(Path(), name, framework, mode).as_posix() for framework in FRAMEWORKS]
            ours = (
                [held.get(path) for path in paths]
                if given.preset == "paper"
                else [exported(name, framework, mode, given.preset) for framework in FRAMEWORKS]
            )
            closed, counted = closed_macs(made, mode).total(), counted_macs(made, mode)
            numbers = [*ours, closed, counted.macs, counted.between_groups]
            cells = ["" if number is None else f"{number:,}" for number in numbers]
            rows.append([Path(paths[0]).stem, *cells])
            print(*rows[-1], file=sys.stderr, flush=True)
            different += {*ours, counted.macs - counted.between_groups} != {closed}
    text = table(COLUMNS, rows)
    if given.write:
        put(DOCUMENT, MARKS, text)
    else:
        print(text, end="")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
