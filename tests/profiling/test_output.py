"""The folder of a run: the old one or the new one, whatever happens, and nothing of killed processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fathom_onnx.graph.files import ABANDONED_S, hold
from fathom_onnx.profiling import output, run_output

FILES = ("run.txt",)


def write(folder: Path, text: str) -> None:
    with run_output(folder, FILES) as place:
        (place / "run.txt").write_text(text)


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(output, "_exchange", lambda one, other: False)
    for text in ("old", "new"):
        write(tmp_path / "run", text)
    assert (tmp_path / "run" / "run.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    if not output._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system of files cannot exchange two folders")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["a"]
    assert not output._exchange(tmp_path / "a", tmp_path / "absent")


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    left, new, held, mine = (tmp_path / name for name in (".run.left", ".run.new", ".run.held", ".runs.mine"))
    for folder in (left, new, held, mine):
        folder.mkdir()
        (folder / "trace").write_text("")
    long_ago = time.time() - 2 * ABANDONED_S
    for folder in (left, held, mine):
        os.utime(folder, (long_ago, long_ago))
    opened = os.open(held, os.O_RDONLY)
    try:
        hold(opened)
        write(tmp_path / "run", "new")
    finally:
        os.close(opened)
    assert {path.name for path in tmp_path.iterdir()} == {".run.new", ".run.held", ".runs.mine", "run"}
