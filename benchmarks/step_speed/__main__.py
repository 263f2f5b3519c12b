"""Measure the steps of our graphs against their frameworks, see :mod:`step_speed`.

    python benchmarks/step_speed                                   # everything: a night
    python benchmarks/step_speed --preset small --threads 1        # a part of it
    python benchmarks/step_speed --only memnet --mode training --contestant torch-fused onnxruntime-torch
    python benchmarks/step_speed --suite 2026 --preset small --threads 1 --mode training --export   # keep graphs
    python benchmarks/step_speed --report                          # write docs/performance.md

Rows go to build/step-speed.jsonl, one for a case and a contestant; those that are there already are kept (``--again``
measures them once more). Nothing else should run on the machine meanwhile. Graphs are exported for each case, or, with
``--export``, before everything is measured: they are kept in build/step-speed and used as they lie there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.graph import load
from fathom_onnx.runtime.ceilings.measured import measure_ceilings
from fathom_onnx.runtime.environment import cpu_cores, cpu_model
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads import BUILT_IN, SUITES, USUAL_SUITE, suite_of, workload
from fathom_onnx.workloads.contract import MODES
from step_speed.contestants import CONTESTANTS, Case, contestants_of
from step_speed.figures import summary
from step_speed.report import write_report
from step_speed.rounds import Plan, run_case

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ROOT / "build" / "step-speed.jsonl"
KEPT = ROOT / "build" / "step-speed"
"""Graphs that were exported before they are measured."""
PROFILED_STEPS = 3


def python(*arguments: object) -> str:
    """What a Python process prints."""
    done = subprocess.run([sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def export(case: Case, framework: str, purpose: str, folder: Path) -> Path:
    """The file of a graph, exported in a process of its own, or before."""
    kept = KEPT / case.preset / case.mode / purpose / framework / case.workload
    if any(kept.glob("**/*.onnx")):
        (path,) = kept.glob("**/*.onnx")
        return path
    out = kept if folder == KEPT else folder / purpose / framework
    options = ["--preset", case.preset, "--mode", case.mode, "--framework", framework, "--for", purpose]
    python("-m", "fathom_onnx", "export", case.workload, *options, "-o", out)
    (path,) = out.glob("**/*.onnx")
    return path


def flops(path: Path) -> int:
    """Arithmetic operations of a graph's step, by definition."""
    return sum(cost.flops or 0 for cost in graph_costs(load(path)))


def measured(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Case, str], dict[str, Any]]:
    """Case and contestant to the last row of them."""
    return {(Case(r["workload"], r["mode"], r["preset"], r["threads"]), r["contestant"]): dict(r) for r in rows}


def stored() -> list[dict[str, Any]]:
    """The rows that there are."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def share_of_optimizer(case: Case, path: Path) -> float:
    """The optimizer's part of the node time of a graph, in a process of its own."""
    code = "import sys; from pathlib import Path; from step_speed.onnxruntime_steps import optimizer_share as share; "
    code += f"print(share(Path(sys.argv[1]), {case.threads}, {PROFILED_STEPS}))"
    return float(python("-c", f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); {code}", path))


def keep_graphs(case: Case, names: tuple[str, ...]) -> None:
    """Export what :func:`measure` needs of a case, to be kept."""
    for contestant in contestants_of(case.mode, names):
        if contestant.ours:
            export(case, contestant.framework, "onnxruntime", KEPT)
    export(case, "torch", "simulators", KEPT)


def measure(case: Case, names: tuple[str, ...], plan: Plan, ceiling_gflops: float) -> list[dict[str, Any]]:
    """The rows of a case."""
    wanted = contestants_of(case.mode, names)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        graphs = {c.name: export(case, c.framework, "onnxruntime", folder) for c in wanted if c.ours}
        work = flops(export(case, "torch", "simulators", folder))
        results = run_case(case, {c.name: graphs.get(c.name) for c in wanted}, plan, folder)
        shares = {n: share_of_optimizer(case, p) for n, p in graphs.items() if case.mode == "training"}
    rows = []
    for c in wanted:
        row: dict[str, Any] = {
            **asdict(case),
            "contestant": c.name,
            "framework": c.framework,
            "ours": c.ours,
            "plan": asdict(plan),
            "when": time.strftime("%Y-%m-%d %H:%M"),
            "cpu": cpu_model(),
            "cpu_cores": cpu_cores(),
            "versions": {p: version(p) for p in ("torch", "tensorflow-cpu", "onnxruntime", "numpy")},
        }
        if c.name in results.failed:
            rows.append({**row, "failed": results.failed[c.name]})
            continue
        turns = [asdict(turn) for turn in results.turns[c.name]]
        row |= summary(turns) | results.ready[c.name]
        row["flops"], row["ceiling_gflops"] = work, ceiling_gflops
        row["gflops"] = work / row["median_ms"] / 1e6
        if c.name in shares:
            row["optimizer_share"] = shares[c.name]
        optimizer = sorted(s for turn in turns for s in turn["optimizer_s"])
        if optimizer:
            row["optimizer_ms"] = optimizer[len(optimizer) // 2] * 1e3
            row["optimizer_share"] = row["optimizer_ms"] / row["median_ms"]
        rows.append({**row, "rounds": turns})
    return rows


def machine(rows: list[dict[str, Any]]) -> str:
    """What the rows were measured on, in a sentence."""
    last = rows[-1]
    packages = ", ".join(f"{name} {number}" for name, number in last["versions"].items())
    ceilings = {r["threads"]: r["ceiling_gflops"] for r in rows if "ceiling_gflops" in r}
    spoken = ", ".join(f"{gflops:.0f} GFLOP/s with {n} thread{'s' * (n > 1)}" for n, gflops in sorted(ceilings.items()))
    return f"{last['cpu']}, {last['cpu_cores']} cores; {packages}. Ceiling: {spoken}."


def main() -> None:
    """Measure, or write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=list(SUITES), default=USUAL_SUITE)
    parser.add_argument("--only", nargs="+", choices=list(BUILT_IN), help="workloads, in place of a suite")
    parser.add_argument("--mode", nargs="+", choices=list(MODES), default=["training", "inference"])
    parser.add_argument("--preset", nargs="+", choices=["tiny", "small", "paper"], default=["small", "paper"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--contestant", nargs="+", choices=[c.name for c in CONTESTANTS], default=[])
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="length of a turn")
    parser.add_argument("--repeat", type=int, default=Plan.again, help="how often a disturbed turn is taken again")
    parser.add_argument("--limit", type=float, default=Plan.limit_s, help="seconds that a contestant may take")
    parser.add_argument("--again", action="store_true", help="measure what is there already once more")
    parser.add_argument("--export", action="store_true", help="export the graphs, to be kept, and measure nothing")
    parser.add_argument("--report", action="store_true", help="write the document and measure nothing")
    given = parser.parse_args()
    if given.report:
        rows = list(measured(stored()).values())
        if not rows:
            raise SystemExit(f"no rows in {ROWS}")
        for suite in SUITES:
            of_suite = [row for row in rows if suite_of(row["workload"]) == suite]
            if of_suite:
                write_report(of_suite, machine(of_suite), "python benchmarks/step_speed", suite)
        return
    plan = Plan(given.rounds, given.seconds, given.repeat, given.limit)
    ROWS.parent.mkdir(exist_ok=True)
    chosen = given.only or [definition.name for definition in SUITES[given.suite]]
    cases = [c for c in itertools.product(chosen, given.mode, given.preset) if c[1] in workload(c[0], c[2]).modes]
    if given.export:
        for name, mode, preset in cases:
            print(f"{name} {mode}, {preset}", file=sys.stderr, flush=True)
            keep_graphs(Case(name, mode, preset, 1), tuple(given.contestant))
        return
    for threads in given.threads:
        ceiling = measure_ceilings(SessionSettings("cpu", threads), types=(), cache_bytes=()).gflops
        for case in (Case(name, mode, preset, threads) for name, mode, preset in cases):
            names = tuple(c.name for c in contestants_of(case.mode, tuple(given.contestant)))
            if not given.again and all((case, name) in measured(stored()) for name in names):
                continue
            print(case.name, file=sys.stderr, flush=True)
            rows = measure(case, names, plan, ceiling)
            with ROWS.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
