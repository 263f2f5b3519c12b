"""What benchmarks write into documents: a Markdown table, and text between a section's marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fathom_onnx.graph.files import write_text

__all__ = ["head", "line", "put", "table"]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table (:func:`head`, :func:`line`)."""
    return "\n".join([head(columns), *map(line, rows)]) + "\n"


def head(columns: Sequence[str]) -> str:
    """The first two lines of a Markdown table; a column whose name ends in a colon holds numbers."""
    rule = "|" + "|".join("---:" if c.endswith(":") else "---" for c in columns) + "|"
    return f"{line([c.rstrip(':') for c in columns])}\n{rule}"


def line(cells: Iterable[object]) -> str:
    """A line of a Markdown table; bars in cells are escaped."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def put(document: Path, marks: tuple[str, str], text: str) -> None:
    """Replace what is between two marks in a document.

    Raises:
        SystemExit: It has not these marks.
    """
    start, end = marks
    pattern = re.escape(start) + ".*?" + re.escape(end)
    old = document.read_text("utf-8")
    if not re.search(pattern, old, re.DOTALL):
        raise SystemExit(f"{document} has no part '{start.strip()}'")
    new = f"{start.strip()}\n\n{text.strip()}\n\n{end}"
    write_text(document, re.sub(pattern, lambda _: new, old, flags=re.DOTALL))
