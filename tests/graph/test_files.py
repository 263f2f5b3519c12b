"""A sealed folder is what was written, or it is refused by the name of the file that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fathom_onnx.errors import DataError
from fathom_onnx.graph.files import check_sealed, seal


def folder_of(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("name,us\nx,1\ny,2\n")
    (tmp_path / "b.json").write_text("{}")
    seal(tmp_path, ["a.csv", "b.json"])
    return tmp_path


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
