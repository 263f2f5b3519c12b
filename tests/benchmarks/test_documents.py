"""What benchmarks write into documents."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from documents import put, table


def test_a_table() -> None:
    assert table(["op", "ms:"], [["a|b", "1"], ["c", "20"]]) == "| op | ms |\n|---|---:|\n| a\\|b | 1 |\n| c | 20 |\n"


def test_a_text_takes_its_place_between_marks(tmp_path: Path) -> None:
    document, marks = tmp_path / "page.md", ("<!-- from -->\n", "<!-- to -->")
    document.write_text(f"before\n{marks[0]}old\n{marks[1]}\nafter\n")
    for _ in range(2):
        put(document, marks, "a\\1 b\n")
        assert document.read_text() == "before\n<!-- from -->\n\na\\1 b\n\n<!-- to -->\nafter\n"
    document.write_text("none")
    with pytest.raises(SystemExit, match="has no part '<!-- from -->'"):
        put(document, marks, "text")
