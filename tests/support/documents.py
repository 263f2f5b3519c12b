"""Code blocks of the documents, so that what they show is what is tested."""

from __future__ import annotations

import re

from support.paths import DOCS


def blocks(document: str, language: str) -> list[str]:
    """All code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)


def files(document: str) -> dict[str, str]:
    """Named files: a code block after a line with its path in backquotes."""
    return dict(re.findall(r"`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)```", (DOCS / document).read_text(), re.DOTALL))
