"""Try what Keras has one by one: every layer, activation, loss and optimizer, and ways to build models.

    python benchmarks/models/keras_singly.py                # all, in one process; rows go to build/keras-singly.jsonl
    python benchmarks/models/keras_singly.py --kinds layers --only LSTM
    python benchmarks/models/keras_singly.py --report       # write the table of docs/results/any-model.md

Each model's training step is exported, verified in float64 and, without random draws, run once and compared with an
eager step of Keras' own in float32, in which nothing of the project has a part.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
DOCUMENT = ROOT / "docs" / "results" / "any-model.md"
STEPS = 2
"""Steps that are verified."""

KINDS = ("layers", "activations", "losses", "optimizers", "ways")

Row = dict[str, Any]


def build(kind: str, name: str) -> tuple[Any, Any, Any, Any]:
    """A recipe's parts, the same at each call."""
    import keras

    from models.keras_parts.singly import KINDS as MAKERS

    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model, inputs, targets, loss, *more = MAKERS[kind][name]()
    optimizer, weights = [*more, None, None][:2]
    if optimizer is None and not getattr(model, "compiled", False):
        optimizer = keras.optimizers.SGD(0.01, momentum=0.5)
    batch = (inputs, targets) if weights is None else (inputs, targets, weights)
    return model, batch, loss, optimizer


def tried(kind: str, name: str) -> Row:
    """What becomes of one model."""
    import fathom_onnx
    from fathom_onnx.exporting import ExportRequest, export_graph, read_recipe
    from fathom_onnx.recipes import Recipe
    from fathom_onnx.verification import verify

    row: Row = {"kind": kind, "name": name}
    stage = "build"
    started = time.perf_counter()
    try:
        parts = build(kind, name)
        stage, started = "export", time.perf_counter()
        workload = read_recipe(Recipe(*parts))
        graph = export_graph(workload.framework, ExportRequest(workload, "training", "input", "simulators"))
        row.update(
            seconds=round(time.perf_counter() - started, 2),
            nodes=len(graph.model.graph.node),
            transposes=sum(n.op_type == "Transpose" for n in graph.model.graph.node),
        )
        stage = "verify"
        row.update(verify(workload, workload.framework, "training", steps=STEPS, graph=graph).json())
        stage = "run"
        if not workload.noise.get("training"):
            row.update(_against_eager(graph, workload, *parts))
    except Exception as error:
        refused = isinstance(error, fathom_onnx.FathomError)
        text = " ".join(str(error).split())[:600]
        row["refused" if refused else "failed"] = f"{stage}: {text if refused else type(error).__name__ + ': ' + text}"
        if not refused:
            row["trace"] = traceback.format_exc()[-3000:]
    row["wall"] = round(time.perf_counter() - started, 2)
    return row


def _against_eager(graph: Any, workload: Any, model: Any, batch: Any, loss: Any, optimizer: Any) -> Row:
    """The largest difference of loss and parameters from an eager step of Keras' own; the model is trained by it."""
    import numpy as np

    import fathom_onnx

    if not hasattr(model, "compile"):
        return {}
    got = fathom_onnx.run_step(graph, batch)
    try:
        if not model.compiled:
            model.compile(optimizer, loss, run_eagerly=True)
        value = model.train_on_batch(*batch)
    except Exception as error:
        return {"eager_fails": f"{type(error).__name__}: {error}"[:200]}
    expected = float(np.asarray(value[0] if isinstance(value, list | tuple) else value))
    worst = abs(float(got["loss"]) - expected) / max(abs(expected), 1e-3)
    by_shape: dict[tuple[int, ...], list[Any]] = {}
    for parameter in workload.parameters:
        by_shape.setdefault(parameter.shape, []).append(got[parameter.next.name])
    for variable in model.trainable_variables:
        new = np.asarray(variable)
        rows = by_shape.get(new.shape)
        if rows:  # the nearest of those of its shape: names are the exporter's
            apart = [float(np.abs(row - new).max()) for row in rows]
            worst = max(worst, min(apart) / max(float(np.abs(new).max()), 1e-3))
            rows.pop(int(np.argmin(apart)))
    return {"eager": worst}


def verdict(row: Row) -> str:
    """Right, refused, or what is wrong."""
    if "refused" in row:
        advised = " (" in row["refused"] or ";" in row["refused"] or ": " in row["refused"]
        return f"refused: {row['refused']}" if advised else f"refused without a rewrite: {row['refused']}"
    if "failed" in row:
        return f"fails: {row['failed']}"
    if not row.get("passed", True):
        return f"differs: {'; '.join(row['faults'])}"
    if row.get("eager", 0) > 1e-3:
        return f"differs from the eager step by {row['eager']:.1e}"
    return "right"


def error_of(row: Row) -> float | None:
    """The largest error in float64."""
    if "single" not in row:
        return None
    return max(row["loss"], *(row[kind]["error"] for kind in ("gradient", "update", "state")))


def report(rows: Sequence[Row]) -> None:
    """Write the table into the document, between its marks."""
    lines = [
        "| what | tried | right | refused | wrong | worst in float64 | slowest, s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    refusals: list[str] = []
    for kind in KINDS:
        chosen = [row for row in rows if row["kind"] == kind]
        if not chosen:
            continue
        counts = Counter(verdict(row).partition(" ")[0].strip(":") for row in chosen)
        right, refused = counts["right"], counts["refused"]
        worst = max((error_of(row) or 0.0 for row in chosen), default=0.0)
        slowest = max((row.get("seconds", 0.0) for row in chosen), default=0.0)
        cells = [kind, len(chosen), right, refused, len(chosen) - right - refused, f"{worst:.1e}", f"{slowest:.1f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        refusals += [f"| {row['name']} | {verdict(row)} |" for row in chosen if verdict(row) != "right"]
    table = "\n".join(lines) + "\n\n| not exported | why, as a user reads it |\n|---|---|\n" + "\n".join(refusals)
    text = DOCUMENT.read_text("utf-8")
    marks = "<!-- singly -->\n", "<!-- end of singly -->"
    text, count = re.subn(f"{marks[0]}.*?{marks[1]}", lambda _: f"{marks[0]}{table}\n{marks[1]}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{DOCUMENT} has no place for what is tried singly")
    DOCUMENT.write_text(text, "utf-8")


def main(arguments: Sequence[str]) -> int:
    """Try or report; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--only", nargs="*", default=[], help="names that hold one of these")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "keras-singly.jsonl")
    parser.add_argument("--wrong", action="store_true", help="only what is not right in the results")
    parser.add_argument("--report", action="store_true", help="only write the document")
    given = parser.parse_args(arguments)
    known = {}
    if given.results.exists():
        rows = [json.loads(line) for line in given.results.read_text("utf-8").splitlines()]
        known = {(row["kind"], row["name"]): row for row in rows}
    if given.report:
        report(list(known.values()))
        return int(any(verdict(row).partition(":")[0] not in ("right", "refused") for row in known.values()))
    logging.disable(logging.WARNING)
    from models.keras_parts.singly import KINDS as MAKERS

    gc.freeze()  # what was imported need not be looked through again
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with given.results.open("a", encoding="utf-8") as file:
        for kind in given.kinds:
            for name in MAKERS[kind]:
                if given.only and not any(part in name for part in given.only):
                    continue
                if given.wrong and (kind, name) in known and verdict(known[kind, name]) == "right":
                    continue
                row = tried(kind, name)
                file.write(json.dumps(row) + "\n")
                file.flush()
                error = error_of(row)
                figures = f"{row['wall']} s" + (f", {error:.0e}" if error is not None else "")
                print(f"{kind} {name}: {verdict(row)} ({figures})", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
