"""``fathom-onnx convert``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.convert import CONVERTERS, find_converter
from fathom_onnx.convert.converter import Option
from fathom_onnx.errors import FathomError

__all__ = ["command"]


def _format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each that a format takes."""
    takers: dict[str, tuple[Option, list[str]]] = {}
    for converter in CONVERTERS.values():
        for option in converter.options:
            takers.setdefault(option.name, (option, []))[1].append(converter.name)
    for name, (option, formats) in reversed(takers.items()):
        default = "" if option.default is None else f" [default: {option.default}]"
        what = f"{', '.join(formats)}: {option.meaning}{default}."
        command = click.option(f"--{name}", name.replace("-", "_"), type=type(option.example), help=what)(command)
    return command


@click.command("convert")
@click.argument("graphs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="GRAPH.onnx|FOLDER...")
@click.option("--to", "format_name", required=True, help=f"{', '.join(CONVERTERS)}.")
@_format_options
@options.dimension_option("dims")
@options.output_option(None, "Folder for the files, or the file of a single graph. [default: converted/FORMAT]")
@options.json_option
def command(
    graphs: tuple[Path, ...],
    format_name: str,
    dims: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert graphs, of ours or any others, to the forms that simulators read.

    A folder stands for every graph in it. Beside each result lies a .conversion.json: what was kept and what was left
    out. Where one graph fails the others are still converted; the exit code is then that of the first failure.
    """
    from fathom_onnx.cli.render import print_json, progress
    from fathom_onnx.convert.write import convert_file, plan

    converter = find_converter(format_name)
    format_options = {name.replace("_", "-"): value for name, value in given.items()}
    converter.request("", format_options)  # what is wrong with the options is wrong for every graph
    dimensions = options.dimension_sizes(dims)
    jobs = plan(graphs, output or Path("converted", format_name), converter)
    done: list[dict[str, Any]] = []
    failed: list[FathomError] = []
    with progress(len(jobs)) as (say, advance):
        for job in jobs:
            say(str(job.source))
            try:
                made = convert_file(job, converter, format_options, dimensions)
            except FathomError as error:
                failed.append(error)
                tell(f"error: {error}", err=True)
            else:
                done.append(made)
                if not as_json:
                    _print(made)
            advance()
    if as_json:
        print_json({"schema": "fathom-onnx/convert/1", "conversions": done})
    if failed:
        click.get_current_context().exit(failed[0].exit_code)


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _kept(what: str, made: dict[str, Any], key: str, share_key: str) -> str:
    kept, total, share = made["kept"][key], made["total"][key], made[share_key]
    part = f"{share:.1%}" if share is not None else "none to keep" if total == 0 else "share unknown"
    return f"{what} {_number(kept)} of {_number(total)} ({part})"


def _print(made: dict[str, Any]) -> None:
    from fathom_onnx.cli.render import size, table

    for row in made["files"]:
        tell(f"{row['path']}  {size(row['size_bytes'])}")
    said = (
        f"nodes {made['kept']['nodes']:,} of {made['total']['nodes']:,}",
        _kept("MACs", made, "macs", "macs_kept"),
        _kept("bytes", made, "bytes_moved", "bytes_kept"),
    )
    tell(f"kept: {'; '.join(said)}")
    for note in made["notes"]:
        tell(f"note: {note}")
    if made["left_out"]:
        rows = [
            (r["op"], _number(r["nodes"]), _number(r["macs"]), _number(r["bytes_moved"]), r["reason"])
            for r in made["left_out"]
        ]
        table("Left out", ("op", "nodes", "MACs", "bytes", "reason"), rows, text=("op", "reason"))
    tell()
