"""Fuzz every reader for some time, see :mod:`fuzz`."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "fuzz"
LONGEST_S = 10
MOST_BYTES = 10**9
KINDS = ("structure", "bytes")


class Slow(BaseException):
    """An input took too long."""


def _where(error: BaseException) -> str:
    """What tells findings apart: the kind of error, and the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "fathom_onnx" in f.filename] or frames
    last = ours[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.name}"


def _choice(kind: str, chosen: random.Random) -> tuple[str, bytes]:
    """A kind of file and an input of it."""
    from fuzz import bytes as of_bytes
    from fuzz import seeds, twists

    if kind == "structure":
        first, second = chosen.choice(seeds.graphs()), chosen.choice(seeds.graphs())
        return "graph", twists.twisted(first, second, chosen)
    name = chosen.choice(("graph", "graph", *seeds.others()))
    several = seeds.graphs() if name == "graph" else seeds.others()[name]
    return name, of_bytes.damaged(chosen.choice(several), chosen.choice(several), chosen)


def work(number: int, kind: str, seconds: float) -> None:
    """One process: inputs until the time is over; counts and findings as lines of JSON on stdout."""
    from fathom_onnx.errors import FathomError
    from fuzz.readers import READERS

    def too_slow(*_: Any) -> None:
        raise Slow

    place = FOLDER / f"worker-{os.getpid()}"
    place.mkdir(parents=True, exist_ok=True)
    os.chdir(place)
    chosen, counts = random.Random(f"{number}:{kind}:{time.time_ns()}"), Counter[str]()
    _choice(kind, chosen)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES + 2**29, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, too_slow)
    end, told = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < end:
        name, data = _choice(kind, chosen)
        suffix, reader = READERS[name]
        path = place / f"input{suffix}"
        path.write_bytes(data)
        signal.alarm(LONGEST_S)
        try:
            reader(path)
            outcome = "read"
        except FathomError as error:
            outcome = "refused" if "\n" not in str(error) else "finding: a refusal of several lines"
        except (Exception, Slow) as error:  # whatever it is, it is what is looked for
            outcome = f"finding: {_where(error)}"
        finally:
            signal.alarm(0)
        counts[outcome.split(":")[0]] += 1
        if outcome.startswith("finding"):
            print(json.dumps({"finding": outcome, "kind": name, "data": data.hex()}), flush=True)
        if time.monotonic() - told > 2:
            told = time.monotonic()
            print(json.dumps({"counts": counts}), flush=True)
    print(json.dumps({"counts": counts}), flush=True)


def fuzz(seconds: float, kinds: list[str], processes: int) -> int:
    """Run processes until the time is over; one that dies is a finding, and another takes its place."""
    from fuzz.readers import READERS

    FOLDER.mkdir(parents=True, exist_ok=True)
    totals: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    findings: Counter[str] = Counter()
    end, number = time.monotonic() + seconds, 0
    running: list[tuple[str, subprocess.Popen[str]]] = []
    while True:
        while len(running) < processes and end - time.monotonic() > 5:
            kind, number = kinds[number % len(kinds)], number + 1
            left = min(60.0, end - time.monotonic())
            command = [sys.executable, str(Path(__file__).parent), "--worker", str(number), "--kinds", kind]
            command += ["--seconds", str(left)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            running.append((kind, process))
        if not running:
            break
        kind, process = running.pop(0)
        told, _ = process.communicate()
        last: Counter[str] = Counter()
        for line in told.splitlines():
            row = json.loads(line)
            if "counts" in row:
                last = Counter(row["counts"])
                continue
            findings[row["finding"]] += 1
            if findings[row["finding"]] <= 3:
                suffix = READERS[row["kind"]][0]
                mark = f"{abs(hash(row['finding'])) % 10**8}-{findings[row['finding']]}"
                (FOLDER / f"{mark}{suffix}").write_bytes(bytes.fromhex(row["data"]))
                (FOLDER / f"{mark}.txt").write_text(row["finding"] + "\n")
        totals[kind] += last
        if process.returncode:
            findings[f"finding: a process ended with {process.returncode}"] += 1
            for left_over in (FOLDER / f"worker-{process.pid}").glob("input*"):
                left_over.rename(FOLDER / f"died-{process.pid}{left_over.suffix}")
        for left_over in (FOLDER / f"worker-{process.pid}").glob("*"):
            left_over.unlink()
        (FOLDER / f"worker-{process.pid}").rmdir()
    for kind, counts in totals.items():
        print(f"{kind}: {counts.total():,} inputs, {counts['read']:,} read, {counts['refused']:,} refused")
    for finding, count in findings.most_common():
        print(f"{count} x {finding}")
    print(f"{len(findings)} different findings{f', inputs in {FOLDER}' if findings else ''}")
    return bool(findings)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker, given.kinds[0], given.seconds)
    else:
        sys.exit(fuzz(given.seconds, given.kinds, given.processes))


sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]
if __name__ == "__main__":
    main()
