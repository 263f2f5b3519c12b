"""What IREE makes of a graph: its linalg operations, whose multiply-accumulates are counted by their shapes."""

from __future__ import annotations

import importlib.metadata
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from answer import Answer, answer

LINALG = re.compile(
    r"linalg\.((?:batch_|quantized_)?matmul\w*|matvec|vecmat|dot|(?:depthwise_)?conv_\w+)\b"
    r".* ins\((.*?)\) outs\((.*?)\)"
)
TENSOR = re.compile(r"tensor<((?:\d+x)*)\w+>")

LIMIT_S = 60
"""Some graphs keep the compiler busy for ever."""


def macs(line: str) -> int:
    """Multiply-accumulates of one line of linalg, 0 where it has none."""
    match = LINALG.search(line)
    if not match:
        return 0
    kind, *groups = match.groups()
    tensors = [[int(d) for d in t.split("x")[:-1]] for g in groups for t in TENSOR.findall(g)]
    sizes = [math.prod(t) for t in tensors]
    if "conv_" in kind:
        # filters are [O, I, *kernel] in the forms that the ONNX conversion gives, [G, O, I, *kernel] with groups
        # and [C, *kernel] where each channel has its own
        return sizes[2] * math.prod(tensors[1][2 if "_gf" in kind else 1 :])
    # |A| |B| |C| = (M N K)^2, times the batch cubed
    return math.isqrt(math.prod(sizes) // (tensors[0][0] if kind.startswith("batch_") else 1))


def run(command: list[str | Path]) -> None:
    """Run one of IREE's tools, which start others: all of them end when the time is over."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, errors = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        lines = [line for line in errors.splitlines() if "error" in line.lower()]
        raise RuntimeError(" ".join(lines[:1]) or errors[-500:])


def look(path: str) -> Answer:
    """Import a graph and lower it to linalg; no code is generated."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        imported, lowered = Path(folder) / "imported.mlir", Path(folder) / "lowered.mlir"
        phase = ["--compile-to=input", "--iree-hal-target-backends=llvm-cpu"]
        run([tools / "iree-import-onnx", path, "-o", imported])
        run([tools / "iree-compile", imported, *phase, "-o", lowered])
        return {"macs": sum(macs(line) for line in lowered.read_text().splitlines())}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("iree-base-compiler")))
