"""Writing conversions: the paths of their files, and that all files of one conversion appear together or none does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from fathom_onnx.errors import GraphError, OutputError, UsageError, one_line
from fathom_onnx.graph import load
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.versions import package_version

from .account import statement
from .converter import Content, Converter, Value

__all__ = ["STATEMENT_SUFFIX", "ConversionJob", "convert_file", "plan"]

STATEMENT_SUFFIX = ".conversion.json"
"""Suffix of the statement: its name is the main file's name followed by this."""

_Row = dict[str, str | int]


@dataclass(frozen=True)
class ConversionJob:
    """One graph to convert.

    Attributes:
        source: The graph file.
        folder: Folder of the result's files.
        stem: Beginning of their names.
        suffix: Suffix of the main file; the converter's own unless the requested name has another.
    """

    source: Path
    folder: Path
    stem: str
    suffix: str


def _graph_files(source: Path) -> list[tuple[Path, Path]]:
    """The graph files of an argument, as (file, its folder relative to the argument)."""
    if not source.is_dir():
        return [(source, Path())]
    paths = sorted(source.rglob("*.onnx"))
    if not paths:
        raise GraphError(f"folder '{source}' has no .onnx file", "give a folder of graphs")
    return [(path, path.relative_to(source).parent) for path in paths]


def plan(sources: Sequence[Path], output: Path, converter: Converter) -> list[ConversionJob]:
    """The conversions of some graphs, with the paths of their results.

    For a single graph, an ``output`` with the suffix of the format is the main file. Any other ``output`` is a folder,
    in which results are named after their graphs and have the same folder structure.

    Raises:
        GraphError: A folder has no graphs.
        UsageError: Two graphs have the same result path, or a result would overwrite a graph.
    """
    graphs = [entry for source in sources for entry in _graph_files(source)]
    last = "." + converter.suffix.rpartition(".")[2]
    if len(graphs) == 1 and not sources[0].is_dir() and output.suffix == last and not output.is_dir():
        suffix = converter.suffix if output.name.endswith(converter.suffix) else last
        jobs = [ConversionJob(graphs[0][0], output.parent, output.name.removesuffix(suffix), suffix)]
    else:
        jobs = [ConversionJob(path, output / below, path.stem, converter.suffix) for path, below in graphs]
    inputs = {path.resolve() for path, _ in graphs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        result = job.folder / (job.stem + job.suffix)
        if result.resolve() in inputs:
            raise UsageError(f"'{result}' would take the place of a graph to be converted", "choose another with -o")
        if result in taken:
            raise UsageError(
                f"'{taken[result]}' and '{job.source}' would both become '{result}'", "convert them one by one"
            )
        taken[result] = job.source
    return jobs


def _write_file(content: Content, path: Path) -> int:
    """Write one file and return its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _write(files: Mapping[str, Content], about: dict[str, Any], statement_name: str, folder: Path) -> list[_Row]:
    """Write files (name to content) and the statement about them into a temporary folder, then move all of them.

    Returns:
        Name and size in bytes of each file.
    """
    ensure_folder(folder)
    for name in [*files, statement_name]:
        if (folder / name).is_dir():
            raise OutputError(f"'{folder / name}' is a folder", "choose another with -o")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".convert-") as temporary:
            rows: list[_Row] = [
                {"name": name, "size_bytes": _write_file(content, Path(temporary, name))}
                for name, content in files.items()
            ]
            text = orjson.dumps({**about, "files": rows}, option=orjson.OPT_INDENT_2) + b"\n"
            _write_file(text, Path(temporary, statement_name))
            for name in [*files, statement_name]:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Path(temporary, name).replace(folder / name)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise OutputError(
            f"cannot write into '{folder}' ({reason})", "free some space or choose another with -o"
        ) from error
    return rows


def convert_file(
    job: ConversionJob, converter: Converter, options: Mapping[str, Value], dimensions: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Convert one graph file; the files of the result appear together, when all are written, or not at all.

    Returns:
        The conversion's statement with ``files`` (name, path, size in bytes including the holes of a sparse file).

    Raises:
        GraphError: The file is not a graph, or cannot be converted to this format.
        UsageError: The format does not take one of the options.
        OutputError: A file cannot be written.
    """
    request = converter.request(job.stem, options)
    graph = load(job.source, dimensions)
    conversion = converter.convert(graph, request)
    about = {
        **statement(graph, converter.name, request, conversion),
        "consumer": converter.consumer,
        "fathom_onnx": package_version("fathom-onnx"),
    }
    main = job.stem + job.suffix
    files = {main if k == converter.suffix else job.stem + k: content for k, content in conversion.files.items()}
    rows = _write(files, about, main + STATEMENT_SUFFIX, job.folder)
    return {**about, "files": [{**row, "path": str(job.folder / str(row["name"]))} for row in rows]}
