"""Lines of text for people, on stdout or stderr.

What is printed holds names from graphs, which come from anywhere: a name cannot move the cursor, ring the bell, end a
line, turn the direction of the text or fill the screen. Characters that could are shown as escapes.
"""

from __future__ import annotations

import click

from fathom_onnx.errors import visible

__all__ = ["LONGEST_CELL", "LONGEST_LINE", "printable", "tell"]

LONGEST_CELL = 200
"""Characters of a cell of a table; a longer one loses its middle."""
LONGEST_LINE = 4000
"""Characters of a line."""


def printable(text: str, longest: int = LONGEST_CELL) -> str:
    """A text on one line that shows what is in it, of at most ``longest`` characters; see the module."""
    if len(text) > longest:
        text = f"{text[: longest // 3]}...{text[len(text) - (longest - longest // 3 - 3) :]}"
    return visible(text)


def tell(text: str = "", *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr; empty lines may stand before it."""
    line = text.lstrip("\n")
    click.echo("\n" * (len(text) - len(line)) + printable(line, LONGEST_LINE), err=err)
