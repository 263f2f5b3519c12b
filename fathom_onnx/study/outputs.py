"""The files of a study, rewritten only when what they are made from has changed: drawing takes longer than reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import orjson

from fathom_onnx.analysis.report.report import DrawAll
from fathom_onnx.graph.files import write_text
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.engine.engine import Engine
from fathom_onnx.study.engine.sources import source_hash
from fathom_onnx.study.engine.store import key, sha256
from fathom_onnx.study.sections.tables import study_tables
from fathom_onnx.versions import package_version

from .report import study_report
from .result import StudyResult
from .table_files import write_table

__all__ = ["write_if_changed"]

_SLUG = "report"
_WRITERS = ("jinja2", "matplotlib", "numpy", "orjson", "pandas", "pyarrow", "scikit-learn", "scipy")
"""Packages that compute and write the files."""


def write_if_changed(engine: Engine, result: StudyResult, commands: Sequence[str]) -> bool:
    """Write ``report.html``, ``study.json`` and the tables, unless they are there and say the same.

    Args:
        engine: Keeps a note of what the files were written from; its processes make the drawings.
        result: The study.
        commands: The commands that repeat it.

    Returns:
        Whether the files were written.

    Raises:
        OutputError: A file cannot be written.
    """
    inputs = _inputs(result, commands)
    stored = engine.store.get(_SLUG, _SLUG, inputs)
    if stored is not None and stored["files"] and stored["files"] == _hashes(result, stored["files"]):
        return False
    _write(result, commands, partial(_draw_all, engine))
    names = [p.name for pattern in ("*.html", "*.json", "*.csv", "*.parquet") for p in result.folder.glob(pattern)]
    engine.store.put(_SLUG, _SLUG, inputs, {"files": _hashes(result, sorted(names))})
    return True


def _write(result: StudyResult, commands: Sequence[str], draw: DrawAll) -> None:
    for name, table in study_tables(result).items():
        write_table(result.folder, name, table)
    write_text(result.folder / "study.json", orjson.dumps(result.json(), option=orjson.OPT_INDENT_2).decode() + "\n")
    write_text(result.report, study_report(result, commands, draw))


def _draw_all(engine: Engine, drawings: Sequence[Callable[[], str]]) -> list[str]:
    outcomes = engine.both("read", _draw, drawings)
    # one that failed there says why here
    return [
        draw() if outcome.result is None else outcome.result["svg"]
        for draw, outcome in zip(drawings, outcomes, strict=True)
    ]


def _draw(drawing: Callable[[], str]) -> dict[str, Any]:
    return {"svg": drawing()}


def _hashes(result: StudyResult, names: Sequence[str]) -> dict[str, str]:
    """File name to the hash of its content."""
    return {name: sha256(result.folder / name) for name in names}


def _inputs(result: StudyResult, commands: Sequence[str]) -> dict[str, Any]:
    """All that the files say, as one hash, and the code and packages that write them."""
    content = {
        "options": result.options.json(),
        "commands": list(commands),
        "cells": [_cell(run) for run in result.runs],
        "checks": list(result.checks),
        "verified": result.verified,
        "failures": [asdict(failure) for failure in result.failures],
        "left_out": dict(result.left_out),
        "ceilings": [ceilings.as_json() for ceilings in result.ceilings.values()],
    }
    return {
        "content": key(content),
        "sources": source_hash(),
        "packages": {name: package_version(name) for name in _WRITERS},
    }


def _cell(cell: CellResult) -> dict[str, Any]:
    job = cell.job
    parts = {name: getattr(cell, name) for name in ("export", "structure", "profile", "summary", "manifest", "error")}
    return {"cell": asdict(job.cell), "options": job.options.json(), "role": job.role, **parts}
