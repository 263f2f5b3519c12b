"""Differential testing, see :mod:`differential`.

python benchmarks/differential --count 20000      # onnx's node tests, and graphs put together from them
python benchmarks/differential --only test_gemm   # the node tests whose names begin so
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "differential"
BATCH = 250
"""Graphs of one process: one that dies takes its own with it."""


def _told(case: Any, place: Path) -> dict[str, Any]:
    """The row of a case, from a process of its own: onnxruntime crashes on some graphs."""
    answer, straight_mark = place / "row.json", place / "straight"
    for path in (answer, straight_mark):
        path.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            answer.write_text(json.dumps(_row(case, place, straight_mark)))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if answer.is_file():
        row: dict[str, Any] = json.loads(answer.read_text())
        return row
    if not straight_mark.is_file():
        return {"outcome": "onnxruntime crashes"}
    how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "an error"
    return _found(case, [f"ended by {how}: by our way alone"])


def _found(case: Any, found: list[str]) -> dict[str, Any]:
    return {"outcome": "differs", "name": case.name, "found": found, "model": case.model.SerializeToString().hex()}


def _row(case: Any, place: Path, straight_mark: Path) -> dict[str, Any]:
    from differential.judging import differences, runs_straight

    straight = runs_straight(case)
    straight_mark.touch()
    if straight is None:
        return {"outcome": "onnxruntime refuses"}
    found = list(differences(case, straight, place))
    return _found(case, found) if found else {"outcome": "same"}


def work(seed: int, count: int, only: str | None) -> None:
    """One process: a line of JSON for each graph."""
    from differential.cases import node_cases
    from differential.compositions import Composer
    from differential.judging import runs_straight

    chosen = random.Random(f"differential:{seed}")
    with tempfile.TemporaryDirectory() as held:
        place = Path(held)
        if only is not None:
            several = [case for case in node_cases() if case.name.startswith(only)][seed * BATCH : (seed + 1) * BATCH]
            for case in several:
                print(json.dumps(_told(case, place)), flush=True)
            return
        composer = Composer([case for case in node_cases() if runs_straight(case) is not None])
        for _ in range(count):
            try:
                case = composer.draw(chosen)
            except Exception as error:  # onnx's composer refuses some pairs: of two IRs, of two uses of a name
                print(json.dumps({"outcome": f"not composed: {type(error).__name__}"}), flush=True)
                continue
            print(json.dumps(_told(case, place)), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="graphs that are put together")
    parser.add_argument("--only", help="node tests alone, of such names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker, given.count, given.only)
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    totals: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    started = time.monotonic()
    jobs = [(n, given.only or "") for n in range(8)] if given.only is not None else [(n, "test_") for n in range(8)]
    commands = [["--worker", str(n), "--only", name] for n, name in jobs]
    if given.only is None:
        batches = range(given.seed * 10**6, given.seed * 10**6 + -(-given.count // BATCH))
        commands += [["--worker", str(n), "--count", str(BATCH)] for n in batches]
    for command in commands:
        done = subprocess.run([sys.executable, str(Path(__file__).parent), *command], capture_output=True, text=True)
        if done.returncode:
            kinds[f"a process ended with {done.returncode} ({' '.join(command)})"] += 1
            print(done.stderr[-2000:], file=sys.stderr)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            totals[row["outcome"]] += 1
            for found in row.get("found", ()):
                kind = found.split(":")[0]
                kinds[kind] += 1
                if kinds[kind] <= 40:
                    path = FOLDER / f"{kind.replace(' ', '-')}-{kinds[kind]}.onnx"
                    path.write_bytes(bytes.fromhex(row["model"]))
                    print(f"{row['name']}: {found} [{path.name}]", flush=True)
        print(f"{time.monotonic() - started:.0f} s: {dict(totals)} {dict(kinds)}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "benchmarks"))
    main()
