"""The worked example of docs/guide/simulators.md: a network's inference and training step on simulated accelerators.

ZigZag's cycles and energy on the TPU-like accelerator that comes with it, and SCALE-Sim's cycles on a 32 x 32
weight-stationary array, from ``fathom-onnx convert --to scalesim``; layers that are alike are simulated once. Prints a
table and draws it. ``make simulators`` installs the tools.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from documents import head, line

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.convert import CONVERTERS
from fathom_onnx.graph import load
from support.simulator_tools import TOOLS, ask


@dataclass(frozen=True)
class Outcome:
    """What a simulator says of a graph: multiply-accumulates seen and of all, cycles, and energy where it has one."""

    graph: str
    tool: str
    macs: int
    total_macs: int
    cycles: float
    energy_mj: float | None


def macs(path: Path) -> int:
    """Our count."""
    return sum(cost.macs or 0 for cost in graph_costs(load(path)))


def zigzag(path: Path, limit_s: float) -> Outcome:
    """ZigZag on the graph as it is."""
    (said,) = ask(TOOLS["zigzag"], [path], timeout_s=limit_s, driver="zigzag_run")
    if not said["accepted"]:
        raise SystemExit(f"{path}: {said['error']}")
    return Outcome(path.stem, "ZigZag", said["macs"], macs(path), said["cycles"], said["energy_pj"] / 1e9)


def scalesim(path: Path, limit_s: float) -> Outcome:
    """SCALE-Sim on the graph's matrix products, one of each kind."""
    converter, graph = CONVERTERS["scalesim"], load(path)
    content = converter.convert(graph, converter.request(path.stem, {"layout": "gemm"})).files[converter.suffix]
    assert isinstance(content, bytes)
    header, *rows = content.decode().splitlines()
    kinds = Counter(tuple(int(n) for n in row.split(",")[1:4]) for row in rows if row.strip())
    with tempfile.TemporaryDirectory() as folder:
        topology = Path(folder) / "kinds.csv"
        lines = [f"kind{number},{m},{n},{k}," for number, (m, n, k) in enumerate(kinds)]
        topology.write_text("\n".join([header, *lines]) + "\n")
        (said,) = ask(TOOLS["scalesim"], [topology], timeout_s=limit_s, options=("--run",))
    if not said["accepted"]:
        raise SystemExit(f"{path}: {said['error']}")
    cycles = sum(times * row["Total Cycles"] for times, row in zip(kinds.values(), said["cycles"], strict=True))
    seen = sum(times * m * n * k for (m, n, k), times in kinds.items())
    return Outcome(path.stem, "SCALE-Sim", seen, macs(path), cycles, None)


def draw(outcomes: list[Outcome], path: Path) -> None:
    """Bars of cycles, on a logarithmic axis."""
    mpl.use("svg")
    import matplotlib.pyplot as plt

    graphs, tools = list(dict.fromkeys(o.graph for o in outcomes)), list(dict.fromkeys(o.tool for o in outcomes))
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.5 * len(graphs)), layout="constrained")
    height = 0.8 / len(tools)
    for number, tool in enumerate(tools):
        found = {o.graph: o.cycles for o in outcomes if o.tool == tool}
        places = [row + number * height for row, graph in enumerate(graphs) if graph in found]
        axes.barh(places, [found[g] for g in graphs if g in found], height, label=tool)
    axes.set_yticks([row + height * (len(tools) - 1) / 2 for row in range(len(graphs))], graphs)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("cycles")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graphs", nargs="+", type=Path)
    parser.add_argument("--tool", action="append", choices=["zigzag", "scalesim"], help="only this one; may repeat")
    parser.add_argument("--limit", type=float, default=900, help="seconds for a graph and a tool")
    parser.add_argument("--plot", type=Path, help="an .svg file")
    parser.add_argument("--json", type=Path, help="what was found, for a later look")
    given = parser.parse_args()
    found: list[Outcome] = []
    print(head(["graph", "tool", "MACs seen:", "cycles:", "MACs a cycle:", "energy, mJ:"]))
    for graph in given.graphs:
        for name, run in (("zigzag", zigzag), ("scalesim", scalesim)):
            if given.tool and name not in given.tool:
                continue
            one = run(graph, given.limit)
            found.append(one)
            energy = "" if one.energy_mj is None else f"{one.energy_mj:,.2f}"
            share = f"{int(10_000 * one.macs / one.total_macs) / 100:g} %"
            cells = (one.graph, one.tool, share, f"{one.cycles:,.0f}", f"{one.macs / one.cycles:,.0f}", energy)
            print(line(cells), flush=True)
    if given.json:
        given.json.write_text(json.dumps([vars(one) for one in found], indent=1) + "\n")
    if given.plot:
        draw(found, given.plot)
