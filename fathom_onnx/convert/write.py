"""The files of conversions: where they lie, and that all of one conversion appear together or none."""

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
"""What follows the main file's name in the name of the statement beside it."""

_Row = dict[str, str | int]


@dataclass(frozen=True)
class ConversionJob:
    """One graph to convert.

    Attributes:
        source: The graph file.
        folder: Where the result's files go.
        stem: What their names begin with.
        suffix: Suffix of the main file, where the name wanted has another than the converter's own.
    """

    source: Path
    folder: Path
    stem: str
    suffix: str


def _found(source: Path) -> list[tuple[Path, Path]]:
    """(file, where it lies below the folder given) of the graphs that an argument stands for."""
    if not source.is_dir():
        return [(source, Path())]
    found = sorted(source.rglob("*.onnx"))
    if not found:
        raise GraphError(f"folder '{source}' has no .onnx file", "give a folder of graphs")
    return [(path, path.relative_to(source).parent) for path in found]


def plan(sources: Sequence[Path], output: Path, converter: Converter) -> list[ConversionJob]:
    """Where each graph's conversion goes.

    A path that ends with the format's suffix is the main file's; any other is a folder, in which files are named by
    their graph, and in folders as the graphs are.

    Raises:
        GraphError: A folder without graphs.
        UsageError: Two graphs for one name, or a result in the place of a graph.
    """
    found = [entry for source in sources for entry in _found(source)]
    last = "." + converter.suffix.rpartition(".")[2]
    if len(found) == 1 and not sources[0].is_dir() and output.suffix == last and not output.is_dir():
        suffix = converter.suffix if output.name.endswith(converter.suffix) else last
        jobs = [ConversionJob(found[0][0], output.parent, output.name.removesuffix(suffix), suffix)]
    else:
        jobs = [ConversionJob(path, output / below, path.stem, converter.suffix) for path, below in found]
    given = {path.resolve() for path, _ in found}
    taken: dict[Path, Path] = {}
    for job in jobs:
        result = job.folder / (job.stem + job.suffix)
        if result.resolve() in given:
            raise UsageError(f"'{result}' would take the place of a graph to be converted", "choose another with -o")
        if result in taken:
            raise UsageError(
                f"'{taken[result]}' and '{job.source}' would both become '{result}'", "convert them one by one"
            )
        taken[result] = job.source
    return jobs


def _put(content: Content, path: Path) -> int:
    """Write one file; its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _write(files: Mapping[str, Content], said: dict[str, Any], statement_name: str, folder: Path) -> list[_Row]:
    """Write files (name to content) and the statement about them: aside first, renamed when all are there."""
    ensure_folder(folder)
    for name in [*files, statement_name]:
        if (folder / name).is_dir():
            raise OutputError(f"'{folder / name}' is a folder", "choose another with -o")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".convert-") as aside:
            rows: list[_Row] = [
                {"name": name, "size_bytes": _put(content, Path(aside, name))} for name, content in files.items()
            ]
            whole = orjson.dumps({**said, "files": rows}, option=orjson.OPT_INDENT_2) + b"\n"
            _put(whole, Path(aside, statement_name))
            for name in [*files, statement_name]:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Path(aside, name).replace(folder / name)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise OutputError(
            f"cannot write into '{folder}' ({reason})", "free some space or choose another with -o"
        ) from error
    return rows


def convert_file(
    job: ConversionJob, converter: Converter, options: Mapping[str, Value], dimensions: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Convert one graph file; its files appear together, when all were written, or not at all.

    Returns:
        The conversion's statement with ``files`` (name, path, size in bytes with the holes of a sparse file).

    Raises:
        GraphError: The file is not a graph, or cannot be converted to this format.
        UsageError: An option that the format does not take.
        OutputError: A file cannot be written.
    """
    request = converter.request(job.stem, options)
    graph = load(job.source, dimensions)
    conversion = converter.convert(graph, request)
    said = {
        **statement(graph, converter.name, request, conversion),
        "consumer": converter.consumer,
        "fathom_onnx": package_version("fathom-onnx"),
    }
    main = job.stem + job.suffix
    files = {main if k == converter.suffix else job.stem + k: content for k, content in conversion.files.items()}
    rows = _write(files, said, main + STATEMENT_SUFFIX, job.folder)
    return {**said, "files": [{**row, "path": str(job.folder / str(row["name"]))} for row in rows]}
