"""Make an environment for each tool under ``.simulators/``; a tool that cannot be had is said, and fails nothing.

Run by ``make simulators`` (all) and, with ``--quick``, by ``make test`` (those that are small). Standard library only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.simulator_tools import TOOLS, Tool


def interpreter(tool: Tool) -> str | None:
    """A Python that the tool runs on: this one, or the one on the path of the version that it needs."""
    if not tool.needs or sys.version_info[:2] >= tuple(map(int, tool.needs.split("."))):
        return sys.executable
    for name in (f"python{tool.needs}", "python3.13"):
        found = shutil.which(name)
        if found and not subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
            return found
    return None


def install(tool: Tool, limit_s: float) -> str:
    """Install a tool where it is not; why it could not be, or empty."""
    folder, wanted = tool.python.parent.parent, tool.requirements.read_text()
    ready = folder / "ready"
    if ready.exists() and ready.read_text() == wanted:
        return ""
    python = interpreter(tool)
    if python is None:
        return f"needs Python {tool.needs}, which is not on the path"
    shutil.rmtree(folder, ignore_errors=True)
    pip = [tool.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"]
    try:
        subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True, text=True, timeout=limit_s)
        subprocess.run([*pip, "-r", tool.requirements], check=True, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return f"not installed after {limit_s:.0f} s"
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        return lines[-1] if lines else f"pip ended with exit code {error.returncode}"
    ready.write_text(wanted)
    return ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the tools that are tested everywhere")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each tool")
    given = parser.parse_args()
    for tool in TOOLS.values():
        if given.quick and not tool.quick:
            continue
        begin = time.monotonic()
        reason = install(tool, given.limit)
        print(f"{tool.name}: {reason or 'ready'} ({time.monotonic() - begin:.0f} s)", flush=True)
