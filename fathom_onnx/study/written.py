"""The files of a study, written anew only where they would say something else: drawing takes longer than reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fathom_onnx.study.engine.store import key, sha256, source_hash, version_of

from .result import CellResult, StudyResult, write

if TYPE_CHECKING:
    from fathom_onnx.study.engine.store import Store

__all__ = ["write_if_changed"]

_SLUG = "report"
_WRITERS = ("jinja2", "matplotlib", "numpy", "orjson", "pandas", "pyarrow", "scikit-learn", "scipy")
"""Packages that the files are made with."""


def write_if_changed(store: Store, result: StudyResult, commands: Sequence[str]) -> bool:
    """Write what :func:`~.result.write` writes, unless it is there and says the same.

    Args:
        store: Where it is noted what the files were written from.
        result: The study.
        commands: The commands that make it again.

    Returns:
        Whether the files were written.

    Raises:
        OutputError: A file cannot be written.
    """
    inputs = _inputs(result, commands)
    held = store.get(_SLUG, _SLUG, inputs)
    if held is not None and held["files"] and held["files"] == _files(result, held["files"]):
        return False
    write(result, commands)
    names = [p.name for pattern in ("*.html", "*.json", "*.csv", "*.parquet") for p in result.folder.glob(pattern)]
    store.put(_SLUG, _SLUG, inputs, {"files": _files(result, sorted(names))})
    return True


def _files(result: StudyResult, names: Sequence[str]) -> dict[str, str]:
    """Name to hash."""
    return {name: sha256(result.folder / name) for name in names}


def _inputs(result: StudyResult, commands: Sequence[str]) -> dict[str, Any]:
    """All that the files say, as one hash, and what they are made with."""
    said = {
        "options": asdict(result.options),
        "commands": list(commands),
        "cells": [_cell(c) for c in (*result.everywhere, *result.fewer, *result.natives)],
        "checks": list(result.checks),
        "verified": result.verified,
        "failures": [asdict(failure) for failure in result.failures],
        "left_out": dict(result.left_out),
        "ceilings": [found.as_json() for found in result.ceilings.values()],
    }
    return {
        "said": key(said),
        "sources": source_hash(),
        "packages": {name: version_of(name) for name in _WRITERS},
    }


def _cell(cell: CellResult) -> dict[str, Any]:
    job = cell.job
    parts = {name: getattr(cell, name) for name in ("export", "structure", "profile", "summary", "manifest", "error")}
    return {"cell": asdict(job.cell), "options": asdict(job.options), "note": job.note, **parts}
