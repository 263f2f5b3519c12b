"""Files of killed processes are taken away; a sealed folder is what was written, or it is refused by a file's name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fathom_onnx.errors import DataError
from fathom_onnx.graph import files
from fathom_onnx.graph.files import check_sealed, seal, write_aside, write_text


def folder_of(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("name,us\nx,1\ny,2\n")
    (tmp_path / "b.json").write_text("{}")
    seal(tmp_path, ["a.csv", "b.json"])
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="locks of files are those of POSIX")
def test_what_a_killed_process_left_is_taken_away_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    target = tmp_path / "a[1].txt"
    import fcntl

    names = ("dead", "held", "young", "ahead")
    dead, held, young, ahead = (tmp_path / f".a[1].txt.{name}.part" for name in names)
    other = tmp_path / ".b.txt.dead.part"
    for path in (dead, held, young, ahead, other):
        path.write_text("half")
        if path != young:
            # that of a clock which was set since
            os.utime(path, (2**32, 2**32) if path == ahead else (0, 0))
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(target, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([target, held, young, other])
    write_text(target, "again")
    assert sorted(tmp_path.iterdir()) == sorted([target, young, other])


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ABANDONED_S", -1.0)  # whatever nobody holds is taken away at once
    target = tmp_path / "a.txt"
    with write_aside(target) as file:
        file.write(b"first to begin")
        write_text(target, "first to end")
        assert target.read_text() == "first to end"
    assert target.read_text() == "first to begin"
    assert list(tmp_path.iterdir()) == [target]


def test_a_sealed_folder_is_taken(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "notes.txt").write_text("a file of the user's own")
    check_sealed(folder, "make it again")
    assert json.loads((folder / "files.json").read_text())["b.json"] == {
        "bytes": 2,
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "a.csv").write_text("name,us\nx,1\n"), "'{}/a.csv' has 12 bytes, not the 16 that were written"),
        (lambda f: (f / "a.csv").write_text("name,us\nx,9\ny,2\n"), "'{}/a.csv' was changed after it was written"),
        (lambda f: (f / "b.json").unlink(), "folder '{}' has no 'b.json'"),
        (lambda f: (f / "files.json").unlink(), "folder '{}' was not written to its end"),
        (lambda f: (f / "files.json").write_text("[1]"), "'{}/files.json' cannot be read"),
        (lambda f: (f / "files.json").write_text('{"../x": {"bytes": 1, "sha256": ""}}'), "folder '{}' has no '../x'"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused(tmp_path: Path, harm: Callable[[Path], object], said: str) -> None:
    folder = folder_of(tmp_path)
    harm(folder)
    with pytest.raises(DataError) as error:
        check_sealed(folder, "make it again")
    assert str(error.value).startswith(said.format(folder))
    assert error.value.fix == "make it again"
