"""Multiply-accumulates of the suite of 2026: our graphs', by closed formulas, and by PyTorch's own FLOP counter.

python benchmarks/macs                    # the small preset, exported from both frameworks
python benchmarks/macs --preset paper     # the graphs' are those of graphs/2026.json; no graph is made

The counter watches the untouched module run without memory. Of the gradient of a grouped convolution's filter it counts
every pair of channels, also of different groups, which never meet: those are a column of their own. Prints a table in
Markdown; the exit code is 1 where columns differ by anything else.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from graph_index import HASHES, macs

from fathom_onnx.exporting import ExportRequest, find_exporter, graph_path
from fathom_onnx.graph import from_model
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode
from support.closed_macs import MODERN, closed_macs
from support.flop_counter import counted_macs

FRAMEWORKS = ("torch", "tensorflow")


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
    given = parser.parse_args()
    held = indexed() if given.preset == "paper" else {}
    print("| graph | from PyTorch | from TensorFlow | closed formulas | FLOP counter | of it between groups |")
    print("|---|" + "---:|" * 5)
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
            print(f"| {Path(paths[0]).stem} | " + " | ".join(cells) + " |", flush=True)
            agree = {number for number in ours if number is not None} | {counted.macs - counted.between_groups}
            different += agree != {closed}
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
