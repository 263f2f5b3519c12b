"""The documents as the tests read them: code blocks, links, and names of files and of Python objects."""

from __future__ import annotations

import os
import re
from pathlib import Path

from support.paths import DOCS, ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "graphs/README.md")


def documents() -> list[Path]:
    """Every page, as a path below the repository's root: those of ``docs/`` and those beside it."""
    return [Path(page) for page in PAGES] + sorted(page.relative_to(ROOT) for page in DOCS.rglob("*.md"))


def text(document: Path | str) -> str:
    """A page's text."""
    return (ROOT / document).read_text()


def blocks(document: str, language: str) -> list[str]:
    """All code blocks of a language; the document is named by its path below ``docs/``."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)


def files(document: str) -> dict[str, str]:
    """Named files: a code block after a line with its path in backquotes."""
    return dict(re.findall(r"`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)```", (DOCS / document).read_text(), re.DOTALL))


def links(document: Path) -> list[tuple[Path, str]]:
    """A page's relative links: the linked file, below the repository's root, and its anchor (``""`` without)."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text(document))
    pairs = [target.partition("#")[::2] for target in targets if not re.match(r"[a-z]+:", target)]
    return [(Path(os.path.normpath(document.parent / path)) if path else document, anchor) for path, anchor in pairs]


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def repository_paths(document: Path) -> set[str]:
    """Paths of the repository's folders that a page mentions, without what is only an example of a file to be made."""
    roots = "docs|fathom_onnx|exporters|tests|benchmarks"
    return {path.rstrip(".") for path in re.findall(rf"(?<![\w/.-])((?:{roots})/[\w./-]+)", text(document))}


def python_names(document: Path) -> set[str]:
    """Dotted names of the two packages that a page mentions: a module, or an attribute of one."""
    return set(re.findall(r"(?<![\w/.])((?:fathom_onnx|fathom_exporters)(?:\.\w+)+)", text(document)))


def imports(document: Path) -> set[str]:
    """Dotted names that a page's Python samples import from the two packages."""
    samples = re.findall(r"```python\n(.*?)```", text(document), re.DOTALL)
    lines = re.findall(r"^from (fathom_\w+(?:\.\w+)*) import (.+)$", "\n".join(samples), re.MULTILINE)
    return {f"{module}.{name.strip()}" for module, names in lines for name in names.split(",")}


def command_lines(document: Path) -> list[list[str]]:
    """The words of each ``fathom-onnx`` command that a page shows in a block, without its comment."""
    lines = re.findall(r"^    fathom-onnx (.+)$", text(document), re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line).split() for line in lines]
