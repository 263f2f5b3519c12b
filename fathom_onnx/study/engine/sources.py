"""The code that the result of each stage depends on, as a hash: this package's source and the exporters'.

A change of code that is not listed here leaves stored results valid. The lists name whole rooms of the package, so that
a module that is moved within its room or split stays covered; what they leave out presents results or orders the work.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points, requires
from pathlib import Path
from typing import Any

from fathom_onnx.exporting import ENTRY_POINT_GROUP
from fathom_onnx.versions import package_version

__all__ = ["PACKAGE", "SOURCES", "WHOLE_PACKAGE", "Sources", "exporter_facts", "source_hash"]

PACKAGE = Path(__file__).parents[2]
"""This package's folder."""


@dataclass(frozen=True)
class Sources:
    """Files and folders of this package that a result depends on.

    Attributes:
        parts: Paths below the package's folder.
        without: Paths below these that make no difference to the result.
    """

    parts: tuple[str, ...]
    without: tuple[str, ...] = ()

    def covers(self, path: Path) -> bool:
        """Whether a file of the package is among them."""
        return _is_below(path, self.parts) and not _is_below(path, self.without)


def _is_below(path: Path, parts: Iterable[str]) -> bool:
    return any(path.is_relative_to(PACKAGE / part) for part in parts)


WHOLE_PACKAGE = Sources((".",))
"""All code of the package."""

_COMMON = (
    "csv_files.py",
    "errors.py",
    "plugins.py",
    "refusals.py",
    "versions.py",
    "vocabulary.py",
    "workloads",
    "recipes",
    "graph",
)
_MEASURED = ("data", "runtime", "analysis/attribution", "analysis/cost", "analysis/runs")
_NO_PART_OF_A_RUN = ("runtime/ceilings", "runtime/usable.py")

SOURCES: dict[str, Sources] = {
    "export": Sources((*_COMMON, "exporting")),
    "verify": Sources((*_COMMON, "exporting", "data", "runtime", "verification"), _NO_PART_OF_A_RUN),
    "structure": Sources((*_COMMON, *_MEASURED, "analysis/similarity", "native.py"), _NO_PART_OF_A_RUN),
    "profile": Sources((*_COMMON, *_MEASURED, "profiling", "dynamic_sizes.py", "native.py"), _NO_PART_OF_A_RUN),
    "native": Sources((*_COMMON, *_MEASURED, "native.py", "native_profiling.py", "exporting"), _NO_PART_OF_A_RUN),
    "ceilings": Sources((*_COMMON, "runtime"), ("runtime/usable.py",)),
    "pool": Sources((*_COMMON, *_MEASURED, "native.py"), _NO_PART_OF_A_RUN),
}
"""Stage to the code that its result depends on; the graphs themselves are among the inputs of what uses them."""


@cache
def source_hash(sources: Sources = WHOLE_PACKAGE) -> str:
    """A hash of the names and contents of some source files of this package."""
    return _digest(PACKAGE, [path for path in _source_files([PACKAGE]) if sources.covers(path)])


def _source_files(roots: Iterable[Path]) -> list[Path]:
    return sorted(path for root in roots for path in ([root] if root.is_file() else root.rglob("*.py")))


def _digest(base: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(base).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


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
    files = [p for p in _source_files(roots) if not any(p.is_relative_to(other) for other in others)]
    packages = _requirements(point.dist.name, framework) if point.dist else []
    return {
        "exporter": point.value,
        "exporter_sources": _digest(roots[0], files) if roots else "",
        "packages": {name: version for name in sorted(packages) if (version := package_version(name))},
    }


def _requirements(package: str, extra: str) -> list[str]:
    """Names of the packages that a package needs, with those of one extra."""
    names = []
    for line in requires(package) or ():
        marker = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if marker is None or marker.group(1) == extra:
            names.append(re.match(r"[\w.\-]+", line).group())  # type: ignore[union-attr]  # a requirement has a name
    return names


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
