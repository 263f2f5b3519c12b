"""Results of finished jobs, stored under a hash of everything that could change them.

One file a result, ``<folder>/<slug>/<stage>-<key>.json``, written whole or not at all, so that an interrupted study or
sweep resumes where it stopped. The file holds in words what the key was made from. A job that failed leaves its error
in ``<stage>-<key>.error.json``, until it succeeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fathom_onnx.graph.files import write_text

__all__ = ["Store", "key", "sha256"]

SCHEMA = "fathom-onnx/study-cell/1"
"""Name and version of the JSON schema."""


class Store:
    """Stored results below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, slug: str, stage: str, digest: str) -> Path:
        """The file of a result."""
        return self.folder / slug / f"{stage}-{digest}.json"

    def get(self, slug: str, stage: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The stored result for these inputs, or None where there is none that can be read."""
        result = _read(self.path(slug, stage, key(inputs)), "result")
        return result if isinstance(result, dict) else None

    def put(self, slug: str, stage: str, inputs: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Store a result.

        Raises:
            OutputError: It cannot be written.
        """
        _write(self.path(slug, stage, key(inputs)), {"stage": stage, "inputs": inputs, "result": result})
        self._error_path(slug, stage, inputs).unlink(missing_ok=True)

    def error(self, slug: str, stage: str, inputs: Mapping[str, Any]) -> str:
        """The error that this job failed with the last time, or an empty string."""
        error = _read(self._error_path(slug, stage, inputs), "error")
        return error if isinstance(error, str) else ""

    def put_error(self, slug: str, stage: str, inputs: Mapping[str, Any], error: str) -> None:
        """Store the error that a job failed with.

        Raises:
            OutputError: It cannot be written.
        """
        _write(self._error_path(slug, stage, inputs), {"stage": stage, "inputs": inputs, "error": error})

    def _error_path(self, slug: str, stage: str, inputs: Mapping[str, Any]) -> Path:
        return self.path(slug, stage, key(inputs)).with_suffix(".error.json")


def _write(path: Path, entries: Mapping[str, Any]) -> None:
    write_text(path, json.dumps({"schema": SCHEMA, **entries}, indent=1, sort_keys=True) + "\n")


def _read(path: Path, name: str) -> Any:
    """One entry of a stored file, or None where there is none that can be read."""
    try:
        entries = json.loads(path.read_text("utf-8"))
        return entries[name] if entries["schema"] == SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def key(inputs: Mapping[str, Any]) -> str:
    """A short hash of some inputs, independent of their order."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file, or an empty string where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
