"""``fathom-onnx report``."""

from __future__ import annotations

from pathlib import Path

import click

from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError

__all__ = ["command", "say_what_is_kept"]


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="File to write; report.html in the folder of a single run, or here for several, by default.",
)
@click.option("--ceilings", type=click.Path(path_type=Path), metavar="FILE", help="Ceilings from 'ceilings --json'.")
@click.option("--no-roofline", is_flag=True, help="Measure no ceilings; the report then has no roofline.")
def command(runs: tuple[Path, ...], output: Path | None, ceilings: Path | None, no_roofline: bool) -> None:
    """Write one offline HTML page on RUN..., folders that profile -o wrote, of any graph and any runtime.

    Of one run it shows where the time goes, by phase, class, op and layer, its roofline, memory and timeline. Of
    several it shows what is slower and what is faster than in the first, and a page on each. Without --ceilings they
    are measured, with the settings of the runs, if the runs are of this machine.
    """
    if ceilings is not None and no_roofline:
        raise UsageError("ceilings are for the roofline", "give --ceilings or --no-roofline")
    usual = runs[0] / "report.html" if len(runs) == 1 else Path("report.html")
    write_report(runs, output or usual, ceilings, no_roofline)


def write_report(
    runs: tuple[Path, ...],
    path: Path,
    ceilings: Path | None = None,
    no_roofline: bool = False,
    err: bool = False,
) -> None:
    """Write the report of run folders and say where it is, on standard error where ``err`` is set."""
    from fathom_onnx.cli.render import progress
    from fathom_onnx.reporting import report

    with progress() as (say, _):
        report(runs, path, ceilings=ceilings, measure=not no_roofline, progress=say)
    tell(f"report: {path}", err=err)


def say_what_is_kept(folder: Path | None, html: bool) -> None:
    """After a profile: say where its run folder is, with its report where one is wanted."""
    tell(f"run folder: {folder}" if folder else "nothing kept; give -o FOLDER to keep the run", err=True)
    if html and folder is not None:
        write_report((folder,), folder / "report.html", err=True)
