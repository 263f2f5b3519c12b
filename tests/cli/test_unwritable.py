"""Folders that cannot be written: every command that writes says so in one line, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from support.graphs.small_models import cnn
from support.runs.sealing import reseal
from support.runs.small_runs import Executed, hand_run


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "cnn.onnx"
    onnx.save(cnn().model, path)
    return path


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that exists and takes no file, from root neither."""
    if os.geteuid() == 0:
        yield Path("/sys")
        return
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


COMMANDS = {
    "profile": ["profile", "GRAPH", "--threads", "1", "--steps", "1", "--warmup", "0", "-o"],
    "convert": ["convert", "GRAPH", "--to", "scalesim", "-o"],
    "sweep": ["sweep", "GRAPH", "--threads", "1", "--steps", "1", "-o"],
    "study": ["study", "autoenc", "--preset", "tiny", "-o"],
    "report": ["report", "RUN", "--no-roofline", "-o"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("where", ["in it", "below a file"])
def test_it_is_one_line_and_exit_code_5(command: str, where: str, graph: Path, closed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    hand_run([Executed("k0", [9, 9], {"forward/conv1/Conv2D": 1.0})], [1, 1]).save(run)
    reseal(run)
    before = {path: sorted(path.iterdir()) for path in (tmp_path, closed)}
    output = closed / "out" if where == "in it" else graph / "out"
    places = {"GRAPH": str(graph), "RUN": str(run)}
    result = CliRunner().invoke(main, [places.get(part, part) for part in COMMANDS[command]] + [str(output)])
    assert result.exit_code == 5, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: cannot ")
    assert {path: sorted(path.iterdir()) for path in before} == before
