"""How fast a trace is read, and in how much memory, by its size.

    python benchmarks/traces.py

Traces are made in onnxruntime's format: its fields, in an order that changes from line to line, a thousand nodes a
step, ten Loops with a body among them; a few steps repeat. Each is read by a process of its own, whose peak memory is
what is reported. Speed is told by processor time too, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from documents import head, line

SIZES_MB = (50, 100, 200, 500)
NODES = 1000
_KINDS = ("Conv", "MatMul", "Add", "Mul", "Relu", "ReduceSum", "Transpose", "Reshape", "Gemm", "Cast")


def _arguments(index: int, kind: str, order: random.Random) -> str:
    rows, columns = 16 * (1 + index % 7), 8 * (1 + index % 11)
    size = 4 * rows * columns
    shape = f'[{{"float":[{rows},{columns},14,14]}}]'
    fields = {
        "op_name": kind,
        "provider": "CPUExecutionProvider",
        "node_index": str(index),
        "thread_scheduling_stats": "",
        "activation_size": str(2 * size),
        "parameter_size": str(size),
        "output_size": str(size),
        "mem_bytes_in_use": str(10_000_000 + size),
        "mem_bytes_requested_in_use": str(10_000_000 + size),
        "mem_in_use_delta": str(size),
        "mem_requested_in_use_delta": str(size),
        "mem_in_use_peak": "20000000",
        "mem_arena_held": "33554432",
        "mem_arena_held_delta": "0",
    }
    texts = [f'"{key}" : "{value}"' for key, value in fields.items()]
    texts += [f'"input_type_shape" : [{shape[1:-1]},{shape[1:-1]}]', f'"output_type_shape" : {shape}']
    order.shuffle(texts)
    return ",".join(texts)


def _line(category: str, name: str, start: int, duration: int, arguments: str = "") -> str:
    head = f'"cat" : "{category}","pid" :4242,"tid" :4242,"dur" :{duration},"ts" :{start},"ph" : "X"'
    return f'{{{head},"name" :"{name}","args" : {{{arguments}}}}}'


def _step(start: int, order: random.Random) -> tuple[list[str], int]:
    """The lines of a step that begins at ``start``, and its end."""
    lines, clock = [], start + 2
    for index in range(NODES):
        duration = order.randrange(1, 400)
        is_loop = index % 100 == 99
        kind = "Loop" if is_loop else _KINDS[index % len(_KINDS)]
        if is_loop:
            # its body, the node before it once more, ended first
            inner = _arguments(index - 1, "Add", order)
            lines.append(_line("Node", f"k{NODES + index}_kernel_time", clock, duration // 2, inner))
        lines.append(_line("Node", f"k{index}_kernel_time", clock, duration, _arguments(index, kind, order)))
        clock += duration + 3
    lines.append(_line("Session", "SequentialExecutor::Execute", start + 1, clock - start))
    lines.append(_line("Session", "model_run", start, clock + 2 - start))
    return lines, clock + 5


def make(path: Path, megabytes: int) -> int:
    """Write a trace of about that size (10^6 bytes); its events."""
    order = random.Random(0)
    steps = [_step(0, order)[0] for _ in range(8)]
    with path.open("w") as file:
        file.write("[\n" + _line("Session", "session_initialization", 0, 10))
        written, events, number = 0, 1, 0
        while written < megabytes * 1e6:
            text = ",\n" + ",\n".join(steps[number % len(steps)])
            file.write(text)
            written, events, number = written + len(text), events + text.count("\n"), number + 1
        file.write("\n]\n")
    return events


def read(path: Path) -> dict[str, float]:
    """Read a trace into times by step and node, in this process; seconds and peak memory."""
    from fathom_onnx.runtime.traces.runs import KnownNodes, read_session
    from fathom_onnx.runtime.traces.steps import step_times

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, used = time.perf_counter(), time.process_time()
    times = step_times(read_session(path, KnownNodes()))
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "cpu_seconds": used, "peak_kib": peak, "before_kib": before, "steps": len(times.run_us)}


def main() -> None:
    """Make the traces, read each in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", type=Path, help="only read this trace, and print what it took as JSON")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_MB, metavar="MB")
    given = parser.parse_args()
    if given.read:
        print(json.dumps(read(given.read)))
        return
    columns = ("trace, MB", "events", "steps", "seconds", "MB/s", "MB/s of processor time", "peak MB", "MB before")
    print(head([f"{column}:" for column in columns]))
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes:
            path = Path(folder) / "trace.json"
            events = make(path, size)
            megabytes = path.stat().st_size / 1e6
            command = [sys.executable, __file__, "--read", str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            memory = [found[key] * 1024 / 1e6 for key in ("peak_kib", "before_kib")]
            speed = [megabytes / found[key] for key in ("seconds", "cpu_seconds")]
            cells = [f"{megabytes:.0f}", f"{events:,}", str(found["steps"]), f"{found['seconds']:.2f}"]
            cells += [f"{value:.0f}" for value in (*speed, *memory)]
            print(line(cells), flush=True)


if __name__ == "__main__":
    main()
