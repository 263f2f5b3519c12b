"""``fathom-onnx gaps``."""

from __future__ import annotations

from dataclasses import asdict

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.cli.targets import build_recipe, recipe_options
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import Gap, find_gaps, recipe_name
from fathom_onnx.recipes.target import is_target
from fathom_onnx.workloads.contract import MODES, Mode

__all__ = ["command"]

_COLUMNS = ("operation", "phase", "layer", "times", "line", "lacks", "write instead")


@click.command("gaps")
@click.argument("target", metavar="FILE.py:build")
@click.option("--mode", type=click.Choice(MODES), default="training", show_default=True, help="Which graph.")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="An argument of the function; may repeat.")
@recipe_options
@options.json_option
def command(
    target: str, mode: Mode, changes: tuple[str, ...], accumulate: int | None, specialise: bool, as_json: bool
) -> None:
    """Show every operation that stands in the way of the graph of a model of your own, and what to write instead.

    FILE.py:build, or package.module:build, is a function that returns (model, batch, loss, optimizer). Exit code 1
    where there are gaps; 0 where the graph can be exported.
    """
    from fathom_onnx.cli.render import print_json, table

    if not is_target(target):
        raise UsageError(f"'{target}' is not a target", "write it as FILE.py:build or package.module:build")
    _, recipe = build_recipe(target, options.pairs(changes, "NAME=VALUE"))
    gaps = find_gaps(recipe, mode)
    if as_json:
        found = [asdict(gap) for gap in gaps]
        print_json({"schema": "fathom-onnx/gaps/1", "target": target, "mode": mode, "gaps": found})
    elif gaps:
        table("", _COLUMNS, [_row(gap) for gap in gaps], text=[name for name in _COLUMNS if name != "times"])
    else:
        tell(f"{recipe_name(recipe)} {mode}: no gaps")
    if gaps:
        click.get_current_context().exit(1)


def _row(gap: Gap) -> tuple[str, ...]:
    return (gap.operation, gap.phase, gap.layer, str(gap.count), gap.source, gap.lacks, gap.rewrite)
