"""Export, check, run and verify the training step of every model of the zoos, each in a process of its own.

    python benchmarks/any_model.py --zoo first further       # measure; rows go to build/any-model.jsonl
    python benchmarks/any_model.py --zoo keras --only mobile # models whose name holds one of these
    python benchmarks/any_model.py --large                   # models of real sizes, the largest without weights
    python benchmarks/any_model.py --report                  # write the tables of docs/results/any-model.md

Rows that are there already are kept (``--again`` measures them once more). The recipes are in ``models/``; they need
transformers beside the development packages. Compared are:

- gradients and updates with the framework's own step, in float64 (``fathom-onnx verify``);
- MACs of the graph's products with the formulas of PyTorch's FLOP counter over an eager forward and backward pass.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "results" / "any-model.md"
TITLES = {
    "first": "models that the exporter was developed with",
    "further": "further models",
    "keras": "Keras models and a `tf.Module`",
    "jax": "Functions of JAX with optax",
    "large": "models of real sizes",
}
LIMITS = {"bert-base": (20, 4096), "llama-8b": (300, 4096)}
"""Large models to the seconds and MB that their export may take."""

REWRITTEN = {
    "complex-rotation": "real-rotation",
    "wav2vec2-ctc": "wav2vec2-ctc-outside",
    "time-series": "time-series-normal",
    "nystromformer": "nystromformer-unmasked",
    "ibert": "ibert-started",
    "glow": "glow-triangular",
    "spectrogram": "spectrogram-products",
    "s4d-fourier": "s4d-convolution",
    "densenet-checkpoint-reentrant": "densenet-checkpoint",
    "yolos": "yolos-matched",
    "detr": "detr-matched",
    "maskformer": "maskformer-matched",
    "layer-drop": "layer-drop-tensor",
    "orthogonal": "orthogonal-iterated",
}
"""A model that is refused to the one, in a zoo too, that is the same with the rewrite that its refusal names."""

Row = dict[str, Any]


def key(row: Mapping[str, Any]) -> str:
    """What makes a measurement another one."""
    return json.dumps([row["zoo"], row["name"], row["purpose"], row.get("options", {})], sort_keys=True)


def names(zoo: str) -> list[str]:
    """The models of a zoo, asked of a process that may load its framework."""
    code = (
        "import importlib, sys; m = importlib.import_module(sys.argv[1]);"
        "print('\\n'.join(m.ZOO if hasattr(m, 'ZOO') else getattr(m, 'MODELS', None) or [*m.FIRST, *m.FURTHER]))"
    )
    from models.measuring import RECIPES

    told = subprocess.run(
        [sys.executable, "-c", code, RECIPES[zoo]], capture_output=True, text=True, check=True, env=_environment()
    )
    return told.stdout.split()


def _environment() -> dict[str, str]:
    paths = [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TRANSFORMERS_VERBOSITY": "error"}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def measured(job: Mapping[str, Any], limit: float) -> Row:
    """Measure one model in a process; a process that ends before its time has a row too."""
    command = [sys.executable, "-m", "models.measuring", json.dumps(job)]
    started = time.perf_counter()
    try:
        told = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
            env=_environment(),
            cwd=ROOT / "benchmarks",
        )
        out, why = told.stdout, f"ended with {told.returncode}: {told.stderr.strip()[-300:]}"
    except subprocess.TimeoutExpired as error:
        out, why = (error.stdout or b"").decode(), f"took more than {limit:.0f} s"
    lines = [line[4:] for line in out.splitlines() if line.startswith("ROW ")]
    row: Row = json.loads(lines[-1]) if lines else {**job, "stage": "build"}
    if row["stage"] != "done" and not row.keys() & {"refused", "failed"}:
        row["failed"] = why
    row["wall"] = round(time.perf_counter() - started, 1)
    return row


def with_rewrite(job: Mapping[str, Any], limit: float) -> Row:
    """Measure a model; where its refusal says that specialising helps, that too."""
    row = measured(job, limit)
    if "specialise" in row.get("refused", ""):
        row["rewritten"] = measured({**job, "specialise": True}, limit)
    return row


def verdict(row: Mapping[str, Any]) -> str:
    """What became of a model, in a word or a line."""
    if "refused" in row:
        told = f"refused: {row['refused']}"
        return f"{told}; specialised: {verdict(row['rewritten'])}" if "rewritten" in row else told
    if "failed" in row:
        return f"{row['stage']} fails: {row['failed']}"
    if not row.get("passed", True):
        return f"differs: {'; '.join(row['faults'])}"
    return "right"


def told(row: Mapping[str, Any], every: Mapping[str, Row]) -> str:
    """A row's verdict; of a model that is refused the one of its rewrite too."""
    other = REWRITTEN.get(row["name"], "")
    if "refused" in row and other in every:
        return f"{verdict(row)}; rewritten as {other}: {verdict(every[other])}"
    return verdict(row)


def difference(row: Mapping[str, Any]) -> str:
    """The graph's MACs beside the eager step's."""
    if "macs" not in row or "macs_eager" not in row:
        return ""
    expected = row["macs_eager"] + row["macs_left_out"]
    left_out = [name for name in row["not_counted"] if name not in ("mv", "addmv", "dot", "vdot")]
    told = "equal" if row["macs"] == expected else f"{row['macs'] / max(expected, 1) - 1:+.2%}"
    return f"{told}, without {', '.join(left_out)}" if left_out else told


def load(path: Path) -> dict[str, Row]:
    """The rows of a file, the last of each measurement."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    return {key(row): row for row in rows}


def jobs(given: argparse.Namespace) -> Iterator[Row]:
    """What is to be measured."""
    options = {
        k: v
        for k, v in (("attention", given.attention), ("dropout", given.dropout), ("optimizer", given.optimizer))
        if v
    }
    for zoo in ["large"] if given.large else given.zoo:
        for name in names(zoo):
            if given.only and not any(part in name for part in given.only):
                continue
            job: Row = {"zoo": zoo, "name": name, "purpose": given.purpose, "verify": zoo != "large"}
            job["run"] = name != "llama-8b"
            if options and zoo != "large":
                job["options"] = {k: v for k, v in options.items() if zoo not in ("keras", "jax") or k == "optimizer"}
            yield job


def measure(given: argparse.Namespace) -> None:
    """Measure what has no row yet; each row is written when it is known."""
    done = {} if given.again else load(given.results)
    waiting = [job for job in jobs(given) if key(job) not in done]
    given.results.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.jobs) as pool, given.results.open("a", encoding="utf-8") as file:
        for row in pool.map(lambda job: with_rewrite(job, given.limit), waiting):
            file.write(json.dumps(row) + "\n")
            file.flush()
            figures = " ".join(f"{k}={row[k]}" for k in ("seconds", "nodes", "export_mb") if k in row)
            macs = difference(row)
            print(f"{row['zoo']} {row['name']}: {verdict(row)} {figures} {macs}", file=sys.stderr, flush=True)


def summary(rows: Sequence[Row]) -> str:
    """The sums of a zoo in a sentence."""
    verdicts = [verdict(row).partition(":")[0] for row in rows]
    right, refused = verdicts.count("right"), verdicts.count("refused")
    timed = [row["seconds"] for row in rows if "seconds" in row]
    text = f"{len(rows)} models: {right} exported and verified, {refused} refused in one line"
    if len(rows) - right - refused:
        text += f", {len(rows) - right - refused} wrong"
    if timed:
        nodes = [row["nodes"] for row in rows if "nodes" in row]
        text += f"; median {statistics.median(timed):.1f} s and {statistics.median(nodes):.0f} nodes"
    compared = [difference(row) for row in rows if difference(row)]
    if compared:
        text += f"; MACs of {sum(c == 'equal' for c in compared)} of {len(compared)} equal"
    return text + "."


def _errors(row: Row) -> tuple[str, str]:
    """The largest error in float64, and the largest in float32 as a multiple of the framework's own."""
    if "single" not in row:
        return "", ""
    double = max(row["loss"], *(row[kind]["error"] for kind in ("gradient", "update", "state")))
    return f"{double:.1e}", f"{row['single']['error']:.1f}"


def table(rows: Iterable[Row], every: Mapping[str, Row]) -> str:
    """Rows in Markdown; ``every`` has those of rewritten models by name."""
    lines = [
        "| model | optimizer | s | nodes | kB | peak MB | float64 | float32 | MACs | against eager | verdict |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        cells = [
            row["name"],
            row.get("optimizer", ""),
            *(f"{row[k]:,}" if k in row else "" for k in ("seconds", "nodes", "kb", "export_mb")),
            *_errors(row),
            f"{row['macs']:,}" if "macs" in row else "",
            difference(row),
            told(row, every).replace("|", "/"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> None:
    """Write the tables into the document, each between its marks."""
    text = DOCUMENT.read_text("utf-8")
    rows = [row for row in rows if row["purpose"] == "simulators" and "options" not in row]
    every = {row["name"]: row for row in rows}
    for zoo in TITLES:
        chosen = [row for row in rows if row["zoo"] == zoo]
        if not chosen:
            continue
        marks = f"<!-- {zoo} -->\n", f"<!-- end of {zoo} -->"
        new = f"{marks[0]}{summary(chosen)}\n\n{table(chosen, every)}\n{marks[1]}"
        text, count = re.subn(f"{marks[0]}.*?{marks[1]}", lambda _, new=new: new, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{DOCUMENT} has no place for '{zoo}'")
    DOCUMENT.write_text(text, "utf-8")


def main(arguments: Sequence[str]) -> int:
    """Measure or report; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", nargs="*", default=["first", "further"], choices=("first", "further", "keras", "jax"))
    parser.add_argument("--large", action="store_true", help="the models of real sizes")
    parser.add_argument("--only", nargs="*", default=[], help="models whose name holds one of these")
    parser.add_argument("--jobs", type=int, default=1, help="models measured at once")
    parser.add_argument("--purpose", default="simulators", choices=("simulators", "onnxruntime", "cuda"))
    parser.add_argument("--attention", default="", choices=("eager", "sdpa"))
    parser.add_argument("--optimizer", default="", help="one for all models, in place of taking turns")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a model may take")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "any-model.jsonl")
    parser.add_argument("--again", action="store_true", help="measure what has a row already")
    parser.add_argument("--report", action="store_true", help="only write the document")
    given = parser.parse_args(arguments)
    if not given.report:
        measure(given)
        return 0
    rows = list(load(given.results).values())
    report(rows)
    return int(any(verdict(row).partition(":")[0] not in ("right", "refused") for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
