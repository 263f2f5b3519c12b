"""The tools that read graphs, each in an environment of its own under ``.simulators/``, made by ``make simulators``."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "TOOLS", "Tool", "ask"]

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Tool:
    """A tool that can be installed from the package index.

    Attributes:
        name: Name of its environment and of its row in :data:`fathom_onnx.compat.CONSUMERS`.
        reads: What its driver takes: ``onnx``, or a format of ``fathom-onnx convert``.
        quick: Whether it is small and fast enough for ``make test``.
    """

    name: str
    reads: str = "onnx"
    quick: bool = False

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ROOT / ".simulators" / self.name / "bin" / "python"

    @property
    def missing(self) -> str:
        """Why it cannot be asked; empty where it can."""
        if (self.python.parent.parent / "ready").exists():
            return ""
        return f"{self.name} is not installed in .simulators/{self.name}: run make simulators"


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("zigzag", quick=True),
        Tool("stream"),
        Tool("scalesim", reads="scalesim", quick=True),
        Tool("accelforge", reads="accelforge"),
        Tool("openvino", quick=True),
        Tool("tvm"),
        Tool("iree"),
        Tool("onnx-tool", quick=True),
    )
}
"""Every tool with a driver, by name."""


def ask(tool: Tool, paths: Sequence[Path | str], timeout_s: float = 120, memory_gb: float = 5) -> list[dict[str, Any]]:
    """What a tool says of each file: the answers of its driver, in order.

    A file that the tool crashes on, or that takes too long, has an answer that says so; the files after it are asked
    again. The address space is limited, so that no graph takes the machine down.
    """
    driver = _HERE / "drivers" / f"{tool.name.replace('-', '_')}_driver.py"
    answers: list[dict[str, Any]] = []
    while len(answers) < len(paths):
        left = [str(path) for path in paths[len(answers) :]]
        limited = f'ulimit -v {int(memory_gb * 1e6)}; exec "$@"'
        command = ["bash", "-c", limited, "bash", str(tool.python), str(driver), *left]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s * len(left), check=False, env=environment
            )
            lines, end = done.stdout.splitlines(), f"stopped with exit code {done.returncode}"
        except subprocess.TimeoutExpired as error:
            printed = error.stdout or b""
            text = printed.decode() if isinstance(printed, bytes) else printed
            lines, end = text.splitlines(), f"not done after {timeout_s:.0f} s"
        answers += [json.loads(line) for line in lines]
        if len(lines) < len(left):
            answers.append({"accepted": False, "version": "", "macs": None, "error": end})
    return answers
