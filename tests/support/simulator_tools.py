"""The tools that read graphs, each in an environment of its own under ``.simulators/``, made by ``make simulators``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "TOOLS", "Tool", "ask"]

ROOT = Path(__file__).resolve().parents[2]
_HERE = ROOT / "tests" / "simulators"


@dataclass(frozen=True)
class Tool:
    """A tool that can be installed from the package index.

    Attributes:
        name: Name of its environment, its requirements and its driver.
        consumer: Its name in :data:`fathom_onnx.compat.CONSUMERS`.
        reads: What its driver takes: ``onnx``, or a format of ``fathom-onnx convert``.
        needs: The Python version that it needs, where that is later than ours.
        quick: Whether it is small and fast enough for ``make test``.
    """

    name: str
    consumer: str
    reads: str = "onnx"
    needs: str = ""
    quick: bool = False

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ROOT / ".simulators" / self.name / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """What is installed in it."""
        return _HERE / "requirements" / f"{self.name}.txt"

    @property
    def missing(self) -> str:
        """Why it cannot be asked; empty where it can."""
        if (self.python.parent.parent / "ready").exists():
            return ""
        return f"{self.name} is not installed in .simulators/{self.name}: run make simulators"


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("zigzag", "ZigZag", quick=True),
        Tool("stream", "Stream", needs="3.12"),
        Tool("scalesim", "SCALE-Sim", reads="scalesim", quick=True),
        Tool("accelforge", "AccelForge", reads="accelforge", needs="3.12"),
        Tool("openvino", "OpenVINO", quick=True),
        Tool("tvm", "TVM"),
        Tool("iree", "IREE"),
        Tool("onnx-tool", "onnx-tool", quick=True),
    )
}
"""Every tool with a driver, by name."""


def ask(
    tool: Tool,
    paths: Sequence[Path | str],
    timeout_s: float = 120,
    memory_gb: float = 5,
    options: Sequence[str] = (),
    driver: str = "",
) -> list[dict[str, Any]]:
    """What a tool says of each file: the answers of its driver, in order.

    A file that the tool crashes on, or that takes too long, has an answer that says so; the files after it are asked
    again. The address space is limited, so that no graph takes the machine down. ``driver`` is another one than the
    tool's own.
    """
    script = _HERE / "drivers" / f"{driver or tool.name.replace('-', '_')}_driver.py"
    answers: list[dict[str, Any]] = []
    while len(answers) < len(paths):
        left = [str(path) for path in paths[len(answers) :]]
        limited = f'ulimit -v {int(memory_gb * 1e6)}; exec "$@"'
        command = ["bash", "-c", limited, "bash", str(tool.python), str(script), *options, *left]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=timeout_s * len(left))
            end = f"stopped with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            # the tools that a driver starts end with it
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            end = f"not done after {timeout_s:.0f} s"
        lines = printed.splitlines()
        answers += [json.loads(line) for line in lines]
        if len(lines) < len(left):
            answers.append({"accepted": False, "version": "", "macs": None, "error": end})
    return answers
