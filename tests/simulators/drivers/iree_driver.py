"""What IREE makes of a graph: its linalg operations, whose multiply-accumulates are counted by their shapes."""

from __future__ import annotations

import importlib.metadata
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from answer import Answer, answer

LINALG = re.compile(
    r"linalg\.((?:batch_|quantized_)?matmul\w*|matvec|vecmat|dot|conv_\w+)\b.* ins\((.*?)\) outs\((.*?)\)"
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
    if kind.startswith("conv_"):
        # filters are [O, I, *kernel] in every form that the ONNX conversion gives
        return sizes[2] * math.prod(tensors[1][1:])
    # |A| |B| |C| = (M N K)^2, times the batch cubed
    return math.isqrt(math.prod(sizes) // (tensors[0][0] if kind.startswith("batch_") else 1))


def look(path: str) -> Answer:
    """Import a graph and lower it to linalg; no code is generated."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        imported, lowered = Path(folder) / "imported.mlir", Path(folder) / "lowered.mlir"
        phase = ["--compile-to=input", "--iree-hal-target-backends=llvm-cpu"]
        for command in (
            [tools / "iree-import-onnx", path, "-o", imported],
            [tools / "iree-compile", imported, *phase, "-o", lowered],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
                raise RuntimeError(" ".join(lines[:1]) or done.stderr[-500:])
        return {"macs": sum(macs(line) for line in lowered.read_text().splitlines())}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("iree-base-compiler")))
