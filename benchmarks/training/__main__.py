"""Training runs of the workloads in onnxruntime: what they learn, what the loop costs, and what kills lose.

    python benchmarks/training learn --only autoenc memnet    # rows go to build/training.jsonl
    python benchmarks/training loop                           # the loop against bare steps, small preset
    python benchmarks/training values                         # op times before and after training, small preset
    python benchmarks/training kills --count 100              # kills at random moments, and the run's end after them
    python benchmarks/training report                         # write the tables of docs/results/training.md

Rows that are there already are kept. ``learn`` trains the graphs of both frameworks from the same weights on the same
batches with one thread.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import over_time

from fathom_onnx.data import batches_for
from fathom_onnx.exporting import ExportRequest, export_graph, usual_frameworks
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import CheckpointFolder, EvaluationPlan, HeldOutLoss, InferenceMetrics, open_training, train
from fathom_onnx.training.metrics import METRICS
from fathom_onnx.training.noise import take_noise_out
from fathom_onnx.workloads import names, workload

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ROOT / "build" / "training.jsonl"
DOCUMENT = ROOT / "docs" / "results" / "training.md"
START, END = "<!-- measured: {} -->", "<!-- end of measured: {} -->"
Row = dict[str, Any]


@dataclass(frozen=True)
class Lesson:
    """What a workload is trained on here.

    Attributes:
        preset: Its preset.
        steps: Steps.
        changes: Changes of its configuration.
        held_out: Batches of an evaluation.
    """

    preset: str
    steps: int
    changes: tuple[tuple[str, Any], ...] = ()
    held_out: int = 25


LESSONS: dict[str, Lesson] = {
    "seq2seq": Lesson("tiny", 60_000, (("learning_rate", 0.5),)),
    "memnet": Lesson("tiny", 20_000),
    "speech": Lesson("tiny", 12_000),
    "autoenc": Lesson("small", 3000),
    "residual": Lesson("tiny", 1000),
    "vgg": Lesson("tiny", 1500),
    "alexnet": Lesson("tiny", 1500),
    "vit": Lesson("tiny", 1500),
}


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
        lesson = LESSONS[name]
        spec = workload(name, lesson.preset, dict(lesson.changes))
        graph = export_graph(framework, ExportRequest(spec, "training", purpose="onnxruntime"))
        held_out = list(itertools.islice(_batches(name, lesson, "held-out"), lesson.held_out))
        settings = SessionSettings(threads=1)
        evaluations: list[Any] = [HeldOutLoss(held_out)]
        if name in METRICS:
            inference = export_graph(framework, ExportRequest(spec, "inference", purpose="onnxruntime"))
            evaluations.append(InferenceMetrics(inference, held_out, settings))
        run = train(
            graph,
            _batches(name, lesson, "training"),
            lesson.steps,
            settings,
            evaluated=EvaluationPlan(evaluations, max(1, lesson.steps // 10)),
        )
        row = {
            "section": "learn",
            "workload": name,
            "framework": framework,
            "preset": lesson.preset,
            "changes": dict(lesson.changes),
            "steps": lesson.steps,
            "seconds": run.seconds,
            "waited_s": run.waited_s,
            "losses": [run.losses[0], run.losses[-1]],
            "first_losses": run.losses[:50],
            "metrics": run.metrics,
        }
        keep(row)
        last = {n: round(v, 4) for s, n, v in run.metrics if s == lesson.steps}
        print(f"{name} {framework}: {lesson.steps} steps in {run.seconds:.0f} s, {last}", flush=True)


def _batches(name: str, lesson: Lesson, split: str) -> Iterator[Any]:
    spec = workload(name, lesson.preset, dict(lesson.changes))
    return batches_for(spec, "training", 0, split=split)  # type: ignore[arg-type]


def loop(only: list[str], rounds: int) -> None:
    """The loop over bare steps of another session on the same batches, in turns within one process."""
    for name in only or names("2016"):
        graph = export_graph("torch", ExportRequest(workload(name, "small"), "training", purpose="onnxruntime"))
        settings = SessionSettings(threads=1)
        fed, noise, _ = take_noise_out(graph)
        few = list(itertools.islice(batches_for(workload(name, "small"), "training", 0), 4))
        drawn = [{**b, **{n.name: n.sampler(0)(k) for n in noise}} for k, b in enumerate(few)]
        bare = open_training(fed, settings)
        bare.step(drawn[0])
        started = time.perf_counter()
        bare.step(drawn[1])
        count = max(5, int(3.0 / (time.perf_counter() - started)))
        ratios = []
        for _ in range(rounds):
            started = time.perf_counter()
            for batch in itertools.islice(itertools.cycle(drawn), count):
                bare.step(batch)
                bare.results()
            alone = time.perf_counter() - started
            ratios.append(_timed(graph, few, count, settings) / alone)
        row = {"section": "loop", "workload": name, "steps": count, "ratios": ratios}
        keep(row)
        print(
            f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), {count} steps",
            flush=True,
        )


def _timed(graph: Graph, batches: list[Any], count: int, settings: SessionSettings) -> float:
    """Seconds of ``count`` steps of a run after its first, which is slower than the others in a new session."""
    ends: list[float] = []
    train(graph, batches, count + 1, settings, on_step=lambda *_: ends.append(time.perf_counter()))
    return ends[-1] - ends[0]


def kills(count: int) -> None:
    """Kill a run at random moments; each time it must go on, and in the end be bit for bit what it is without kills."""
    chosen = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        graph = Path(place) / "autoenc-train.onnx"
        graph.write_bytes(
            export_graph("torch", ExportRequest(workload("autoenc", "tiny"), "training")).model.SerializeToString()
        )
        steps = 3500 * count  # more than it comes to between two kills
        command = [sys.executable, "-m", "fathom_onnx", "train", str(graph), "--steps", str(steps), "--threads", "1"]
        command += ["--checkpoint-every", "250", "--resume", "--json", "--checkpoint"]
        started = time.perf_counter()
        subprocess.run([*command, str(Path(place) / "first"), "--steps", "1"], capture_output=True, check=True)
        begun = time.perf_counter() - started
        folder, done, faults, hit = Path(place) / "run", 0, 0, 0
        for number in range(count):
            process = subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(begun * chosen.uniform(0.2, 2.0))
            hit += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
            found, damaged = CheckpointFolder(folder).latest() if folder.is_dir() else (None, [])
            step = found.step if found else 0
            faults += bool(damaged) or step < done
            done = step
            print(f"kill {number + 1}: step {step}", flush=True)
        ended = [_ended(command, place) for place in (folder, Path(place) / "alone")]
        same = ended[0] == ended[1]
        keep({"section": "kills", "count": hit, "reached": done, "faults": faults, "same": same, "steps": steps})
        print(f"{hit} kills: {faults} faults; at the end {'the same' if same else 'NOT the same'}")


def _ended(command: list[str], folder: Path) -> tuple[list[float], dict[str, bytes]]:
    """Losses and state of a run at its end."""
    told = subprocess.run([*command, str(folder)], capture_output=True, check=True).stdout
    found, _ = CheckpointFolder(folder).latest()
    assert found is not None
    return json.loads(told)["losses"], {name: value.tobytes() for name, value in found.values.items()}


def _rows(columns: list[str], rows: list[list[str]], texts: int) -> str:
    """A table in Markdown, its first columns of text."""
    rule = ["---"] * texts + ["---:"] * (len(columns) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def _learned(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        first, last = ({n: v for s, n, v in row["metrics"] if s == step} for step in (0, row["steps"]))
        told = "; ".join(f"{n} {first[n]:.3g} to {v:.3g}" for n, v in last.items())
        preset = row["preset"] + "".join(f", {k} {v}" for k, v in row["changes"].items())
        losses = f"{row['losses'][0]:.3g} to {row['losses'][1]:.3g}"
        lines.append(
            [row["workload"], preset, row["framework"], told, losses, f"{row['steps']:,}", f"{row['seconds']:.0f}"]
        )
    columns = ["workload", "preset", "graph from", "on held-out data, before and after", "loss", "steps", "s"]
    return _rows(columns, lines, 4) + "\n\n" + _pairs(rows)


def _looped(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        r = row["ratios"]
        lines.append(
            [row["workload"], f"{statistics.median(r):.3f}", f"{min(r):.3f} to {max(r):.3f}", str(row["steps"])]
        )
    return _rows(["workload", "loop over bare steps", "spread", "steps a round"], lines, 1)


def _killed(rows: list[Row]) -> str:
    return "\n".join(
        f"{row['count']} kills: {row['faults']} lost a checkpoint or left a damaged one; the run then ended "
        f"{'bit for bit as' if row['same'] else 'UNLIKE'} one that was let alone ({row['steps']:,} steps)."
        for row in rows
    )


def _pairs(rows: list[Row]) -> str:
    """How far the losses of the two frameworks' graphs are apart over the first steps."""
    lines = []
    for name in dict.fromkeys(row["workload"] for row in rows):
        several = [row["first_losses"] for row in rows if row["workload"] == name]
        if len(several) == 2:
            apart = max(abs(a - b) / abs(a) for a, b in zip(*several, strict=True))
            lines.append([name, f"{apart:.1e}"])
    return _rows(["workload", "largest relative difference of both graphs' losses in 50 steps"], lines, 1)


def _over_time(rows: list[Row]) -> str:
    columns, cells = over_time.table(rows)
    return _rows(columns, cells, 1)


TABLES = {"learn": _learned, "loop": _looped, "values": _over_time, "kills": _killed}
"""Section to what writes its rows."""


def report() -> None:
    """Put the tables into the document."""
    text = DOCUMENT.read_text()
    for section, write in TABLES.items():
        newest = {(row.get("workload"), row.get("framework")): row for row in kept() if row["section"] == section}
        table = write(list(newest.values()))
        before, _, rest = text.partition(START.format(section))
        _, _, after = rest.partition(END.format(section))
        text = f"{before}{START.format(section)}\n\n{table}\n\n{END.format(section)}{after}"
    DOCUMENT.write_text(text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=["learn", "loop", "values", "kills", "report"])
    parser.add_argument("--only", nargs="+", default=[], help="workloads")
    parser.add_argument("--count", type=int, default=100, help="kills")
    parser.add_argument("--rounds", type=int, default=5, help="of the loop, and of op times")
    parser.add_argument("--again", action="store_true", help="measure what has a row already")
    given = parser.parse_args()
    if given.section == "learn":
        learn(given.only, given.again)
    elif given.section == "loop":
        loop(given.only, given.rounds)
    elif given.section == "values":
        for name in given.only or names("2016"):
            row = over_time.measure(name, given.rounds)
            keep(row)
            print(name, row, flush=True)
    elif given.section == "kills":
        kills(given.count)
    else:
        report()


if __name__ == "__main__":
    main()
