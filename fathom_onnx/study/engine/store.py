"""Results of finished work, kept under a hash of everything that could change them.

One file a result, ``<folder>/<slug>/<stage>-<key>.json``, written whole or not at all, so that an interrupted study or
sweep goes on where it was. The file holds what went into the key, in words. Work that failed leaves its error in
``<stage>-<key>.error.json``, until it succeeds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points, requires
from pathlib import Path
from typing import Any

from fathom_onnx.exporting import ENTRY_POINT_GROUP
from fathom_onnx.graph.files import write_text
from fathom_onnx.versions import package_version

__all__ = ["Store", "exporter_facts", "key", "sha256", "source_hash"]

SCHEMA = "fathom-onnx/study-cell/1"

_PACKAGE = Path(__file__).parents[2]


class Store:
    """Stored results below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, slug: str, stage: str, digest: str) -> Path:
        """Where a result lies."""
        return self.folder / slug / f"{stage}-{digest}.json"

    def get(self, slug: str, stage: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The stored result for these inputs, or None where there is none that can be read."""
        result = _read(self.path(slug, stage, key(inputs)), "result")
        return result if isinstance(result, dict) else None

    def put(self, slug: str, stage: str, inputs: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Keep a result.

        Raises:
            OutputError: It cannot be written.
        """
        held = {"schema": SCHEMA, "stage": stage, "inputs": inputs, "result": result}
        write_text(self.path(slug, stage, key(inputs)), json.dumps(held, indent=1, sort_keys=True) + "\n")
        self._error_path(slug, stage, inputs).unlink(missing_ok=True)

    def _error_path(self, slug: str, stage: str, inputs: Mapping[str, Any]) -> Path:
        return self.path(slug, stage, key(inputs)).with_suffix(".error.json")

    def error(self, slug: str, stage: str, inputs: Mapping[str, Any]) -> str:
        """The error that this work failed with the last time, or nothing."""
        error = _read(self._error_path(slug, stage, inputs), "error")
        return error if isinstance(error, str) else ""

    def put_error(self, slug: str, stage: str, inputs: Mapping[str, Any], error: str) -> None:
        """Keep the error that work failed with.

        Raises:
            OutputError: It cannot be written.
        """
        held = {"schema": SCHEMA, "stage": stage, "inputs": inputs, "error": error}
        write_text(self._error_path(slug, stage, inputs), json.dumps(held, indent=1, sort_keys=True) + "\n")


def _read(path: Path, name: str) -> Any:
    """One entry of a stored file, or None where there is none that can be read."""
    try:
        held = json.loads(path.read_text("utf-8"))
        return held[name] if held["schema"] == SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def key(inputs: Mapping[str, Any]) -> str:
    """A short hash of some inputs, independent of their order."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file, or nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _sources(roots: Iterable[Path]) -> list[Path]:
    return sorted(p for root in roots for p in ([root] if root.is_file() else root.rglob("*.py")))


@cache
def source_hash(parts: tuple[str, ...] = (".",), without: tuple[str, ...] = ()) -> str:
    """A hash of this package's source files.

    Args:
        parts: Files and folders of the package to take.
        without: Files and folders below them to leave out.
    """
    left_out = [_PACKAGE / part for part in without]
    files = [p for p in _sources(_PACKAGE / part for part in parts) if not any(p.is_relative_to(o) for o in left_out)]
    return _digest(_PACKAGE, files)


def _digest(base: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(base).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _requirements(package: str, extra: str) -> list[str]:
    """Names of the packages that a package needs, with those of one extra."""
    found = []
    for line in requires(package) or ():
        marker = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if marker is None or marker.group(1) == extra:
            found.append(re.match(r"[\w.\-]+", line).group())  # type: ignore[union-attr]  # a requirement has a name
    return found


def _folder(point: EntryPoint) -> Path | None:
    """The folder (or file) of the module that an entry point names, without importing it."""
    try:
        spec = importlib.util.find_spec(point.module)
    except ImportError:
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


@cache
def exporter_facts(framework: str) -> dict[str, Any]:
    """What an exporter's graphs depend on besides the workload: its source and the packages it needs.

    The framework itself is not imported. The source is that of the exporter's whole top-level package, without the
    folders of the other frameworks' exporters.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    point = points[framework]
    others = [folder for name, p in points.items() if name != framework and (folder := _folder(p)) is not None]
    top = importlib.util.find_spec(point.module.partition(".")[0])
    roots = [Path(location) for location in (top.submodule_search_locations or ())] if top else []
    files = [p for p in _sources(roots) if not any(p.is_relative_to(other) for other in others)]
    needed = _requirements(point.dist.name, framework) if point.dist else []
    return {
        "exporter": point.value,
        "sources": _digest(roots[0], files) if roots else "",
        "packages": {name: found for name in sorted(needed) if (found := package_version(name))},
    }
