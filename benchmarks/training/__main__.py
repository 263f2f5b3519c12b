"""Training runs of the workloads in onnxruntime: what they learn, what the loop costs, and what kills lose.

    python benchmarks/training learn --only autoenc memnet    # rows go to build/training.jsonl
    python benchmarks/training loop                           # the loop against bare steps, small preset
    python benchmarks/training values                         # op times before and after training, small preset
    python benchmarks/training values --flush-subnormals --only alexnet
    python benchmarks/training kills --count 100              # kills at random moments, and the run's end after them
    python benchmarks/training digits                         # the picture of what autoenc learned
    python benchmarks/training report                         # write the tables of docs/results/training.md

Rows that are there already are kept. ``learn`` trains the graphs of both frameworks from the same weights on the same
batches with one thread.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import loop_cost
import over_time
from digits import draw_digits
from documents import put, table
from killing import KILLED, killed
from lessons import LESSONS, train_lesson

from fathom_onnx.analysis.report.drawing import LINE_COLOURS, drawing
from fathom_onnx.exporting import usual_frameworks
from fathom_onnx.workloads import names

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ROOT / "build" / "training.jsonl"
DOCUMENT = ROOT / "docs" / "results" / "training.md"
FIGURE = DOCUMENT.parent / "figures" / "learned.svg"
DIGITS = DOCUMENT.parent / "figures" / "learned-digits.png"
START, END = "<!-- measured: {} -->", "<!-- end of measured: {} -->"
Row = dict[str, Any]


def kept() -> list[Row]:
    """The rows that are there."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.is_file() else []


def keep(row: Row) -> None:
    """Add a row."""
    ROWS.parent.mkdir(exist_ok=True)
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def learn(only: list[str], again: bool) -> None:
    """Train each workload's graphs from both frameworks."""
    known = {(row["workload"], row["framework"]) for row in kept() if row["section"] == "learn"}
    for name, framework in itertools.product(only or [n for n in LESSONS if n in names()], usual_frameworks()):
        if (name, framework) in known and not again:
            continue
        row = train_lesson(name, framework)
        keep(row)
        last = {n: round(v, 4) for s, n, v in row["metrics"] if s == row["steps"]}
        print(f"{name} {framework}: {row['steps']} steps in {row['seconds']:.0f} s, {last}", flush=True)


def kills(only: list[str], count: int) -> None:
    """Kill runs at random moments; each must go on, and in the end be bit for bit what it is without kills."""
    chosen = random.Random(len(kept()))  # other moments in every call
    for name, framework in KILLED:
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory() as place:
            row = killed(name, framework, Path(place), count // len(only or KILLED), chosen)
        keep({"section": "kills", "workload": name, "framework": framework, **row})
        print(f"{name} from {framework}: {row}", flush=True)


def _learned(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        first, last = ({n: v for s, n, v in row["metrics"] if s == step} for step in (0, row["steps"]))
        told = "; ".join(f"{n} {first[n]:.3g} to {v:.3g}" for n, v in last.items())
        preset = row["preset"] + "".join(f", {k} {v}" for k, v in row["changes"].items())
        preset += "".join(f", {row[key]}" for key in ("data", "schedule") if row.get(key))
        losses = f"{row['losses'][0]:.3g} to {row['losses'][1]:z.3g}"
        lines.append([row["workload"], preset, row["framework"], told, losses, f"{row['steps']:,}"])
    columns = ["workload", "preset", "graph from", "before and after, on held-out data or as named", "loss:", "steps:"]
    return table(columns, lines) + "\n" + _pairs(rows)


def _looped(rows: list[Row]) -> str:
    return table(loop_cost.columns(), map(loop_cost.row_cells, rows))


def _killed(rows: list[Row]) -> str:
    """A line for each workload and framework, of all calls."""
    columns = ["workload", "graph from", "end, by comparison", "kills:", "checkpoints lost or damaged:", "steps:"]
    cells = []
    for name, framework in dict.fromkeys((row["workload"], row["framework"]) for row in rows):
        of = [row for row in rows if (row["workload"], row["framework"]) == (name, framework)]
        end = "the same bit for bit" if all(row["same"] for row in of) else "NOT the same"
        sums = [f"{sum(row[key] for row in of):,}" for key in ("count", "faults", "steps")]
        cells.append([name, framework, end, *sums])
    return table(columns, cells)


def _pairs(rows: list[Row]) -> str:
    """How far the losses of the two frameworks' graphs are apart over the first steps."""
    lines = []
    for name in dict.fromkeys(row["workload"] for row in rows):
        several = [row["first_losses"] for row in rows if row["workload"] == name]
        if len(several) == 2:
            apart = max(abs(a - b) / abs(a) for a, b in zip(*several, strict=True))
            lines.append([name, f"{apart:.1e}"])
    return table(["workload", "largest relative difference of both graphs' losses in 50 steps:"], lines)


def _over_time(rows: list[Row]) -> str:
    return table(over_time.columns(), map(over_time.row_cells, rows))


MEASURED = {"loop": loop_cost.measure, "values": over_time.measure}
"""Section to what measures a workload in some rounds."""

TABLES = {"learn": _learned, "loop": _looped, "values": _over_time, "kills": _killed}
"""Section to what writes its rows."""


def report() -> None:
    """Put the tables into the document."""
    for section, write in TABLES.items():
        rows = _newest(section) if section != "kills" else [r for r in kept() if r["section"] == section]
        if rows:  # else what is there stays
            put(DOCUMENT, (START.format(section), END.format(section)), write(rows))
    if learned := _newest("learn"):
        FIGURE.write_text(_curves(learned))


def _newest(section: str) -> list[Row]:
    """The newest row of each workload, framework and way to run, in the order of the workloads."""
    found = {
        (row["workload"], row.get("framework"), row.get("flushed")): row for row in kept() if row["section"] == section
    }
    return sorted(found.values(), key=lambda row: names().index(row["workload"]))


def _curves(rows: list[Row]) -> str:
    """An SVG image with a panel a workload: its last metric over the steps, a line for the graph of each framework."""
    names = list(dict.fromkeys(row["workload"] for row in rows))
    with drawing("learned", "What the workloads learn, by framework", 2.3 * -(-len(names) // 3)) as canvas:
        panels = canvas.figure.subplots(-(-len(names) // 3), 3, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            newest = {row["framework"]: row for row in rows if row["workload"] == name}
            for (framework, row), colour, style in zip(newest.items(), LINE_COLOURS, ("-", "--"), strict=False):
                metric = row["metrics"][-1][1]
                points = [(step, value) for step, found, value in row["metrics"] if found == metric]
                axes.plot(*zip(*points, strict=True), style, label=framework, linewidth=1.2, color=colour)
                axes.set(title=f"{name}: {metric}", xlabel="step")
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].legend(frameon=False)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
    return canvas.svg


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=["learn", "digits", "loop", "values", "kills", "report"])
    parser.add_argument("--only", nargs="+", default=[], help="workloads")
    parser.add_argument("--count", type=int, default=100, help="kills")
    parser.add_argument("--rounds", type=int, default=5, help="of the loop, and of op times")
    parser.add_argument("--again", action="store_true", help="measure what has a row already")
    parser.add_argument(
        "--flush-subnormals", action="store_true", help="of op times: take numbers below the normal range for zero"
    )
    given = parser.parse_args()
    if given.section == "learn":
        learn(given.only, given.again)
    elif given.section == "digits":
        draw_digits(DIGITS)
    elif given.section in MEASURED:
        if given.flush_subnormals:
            over_time.flush_subnormals()
        for name in given.only or names("2016"):
            row = MEASURED[given.section](name, given.rounds) | ({"flushed": True} if given.flush_subnormals else {})
            keep(row)
            print(name, row, flush=True)
    elif given.section == "kills":
        kills(given.only, given.count)
    else:
        report()


if __name__ == "__main__":
    main()
