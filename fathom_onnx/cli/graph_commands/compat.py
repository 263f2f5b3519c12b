"""``fathom-onnx compat``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom_onnx.cli import options
from fathom_onnx.errors import GraphError

if TYPE_CHECKING:
    from fathom_onnx.compat import Compatibility
    from fathom_onnx.graph import Graph

__all__ = ["command"]


@click.command("compat")
@click.argument("graphs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--consumer", "wanted", multiple=True, help="Only this one; may repeat.")
@options.dimension_option("dimensions")
@options.json_option
def command(graphs: tuple[Path, ...], wanted: tuple[str, ...], dimensions: tuple[str, ...], as_json: bool) -> None:
    """Say which simulators and compilers take GRAPHS, and how much of them each sees.

    GRAPHS are .onnx files, or folders of them. Nothing is run: the rules are data, measured on the versions shown. The
    share is that of the multiply-accumulates a consumer sees, in the form in which it takes the graph.
    """
    from fathom_onnx.cli.render import print_json, table
    from fathom_onnx.compat import CONSUMERS, Facts, judge_all

    consumers = _chosen(wanted, CONSUMERS)
    sizes = options.dimension_sizes(dimensions)
    results = []
    for path in _files(graphs):
        graph, facts = _read(path, sizes, Facts)
        results.append((path, graph, judge_all(facts, consumers)))
    if as_json:
        print_json({"schema": "fathom-onnx/compat/1", "graphs": [_row(*result) for result in results]})
        return
    for path, graph, judged in results:
        columns = ("consumer", "version", "takes it", "MACs seen", "why, and what to do")
        rows = [(c.consumer.name, c.consumer.version or "not run", _status(c), _share(c), _why(c)) for c in judged]
        table(f"{path} ({len(graph.model.graph.node):,} nodes)", columns, rows, (*columns[:3], columns[4]))


def _chosen(wanted: tuple[str, ...], consumers: Any) -> Any:
    from fathom_onnx.errors import UnknownNameError

    known = {c.name.lower(): c for c in consumers}
    for name in wanted:
        if name.lower() not in known:
            raise UnknownNameError("consumer", name, [c.name for c in consumers])
    return [known[name.lower()] for name in dict.fromkeys(wanted)] if wanted else consumers


def _files(paths: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.onnx")) if path.is_dir() else [path]
        if not inside:
            raise GraphError(f"no .onnx file in '{path}'", "give a file, or a folder that holds some")
        files += inside
    return list(dict.fromkeys(files))


def _read(path: Path, dimensions: dict[str, int], facts: Any) -> tuple[Graph, Any]:
    """A graph, and the facts of its file, which may have fewer shapes than were inferred.

    Where sizes are given, the file is the one that it would be with them, its shapes inferred.
    """
    import onnx

    from fathom_onnx.graph import load, load_structure

    graph = load(path, dimensions)
    stored = load_structure(path, dimensions).model if dimensions else onnx.load(path, load_external_data=False)
    return graph, facts(graph, stored)


def _status(row: Compatibility) -> str:
    return {"accepted": "yes", "converted": "after", "refused": "no", "unknown": "not tried"}[row.status]


def _share(row: Compatibility) -> str:
    if row.share is None:
        return "unknown" if row.macs is None or row.macs_seen is None else "none there"
    # rounded down: 100 % means all
    return f"{int(10_000 * row.share) / 100:g} %"


def _why(row: Compatibility) -> str:
    reasons = [f"{r.text}{f' ({r.nodes:,} nodes)' if r.nodes > 1 else ''}" for r in row.reasons[:3]]
    more = len(row.reasons) - len(reasons)
    text = "; ".join(reasons) + (f"; {more} more" if more else "")
    # for a graph that is taken: the commands that would let more of it be seen
    commands = row.commands or tuple(dict.fromkeys(r.fix for r in row.reasons if r.fix and row.status == "accepted"))
    return f"{text}: {', '.join(commands)}" if commands else text


def _row(path: Path, graph: Graph, judged: tuple[Compatibility, ...]) -> dict[str, Any]:
    return {
        "path": str(path),
        "sha256": graph.sha256,
        "nodes": len(graph.model.graph.node),
        "macs": judged[0].macs if judged else None,
        "consumers": [
            {
                "name": c.consumer.name,
                "version": c.consumer.version or None,
                "status": c.status,
                "way": list(c.commands),
                "macs_seen": c.macs_seen,
                "share": c.share,
                "reasons": [{"text": r.text, "nodes": r.nodes, "fix": r.fix} for r in c.reasons],
                "note": c.consumer.note,
            }
            for c in judged
        ],
    }
