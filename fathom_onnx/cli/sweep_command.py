"""``fathom-onnx sweep``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import json_option, output_option, pairs

if TYPE_CHECKING:
    from ..study import SweepResult

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])


def _texts(text: str) -> tuple[str, ...]:
    """``a,b`` as its parts; one that is given twice counts once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise click.BadParameter(f"'{text}' has an empty value; write it as A,B,...")
    return tuple(dict.fromkeys(parts))


def _counts(text: str) -> tuple[int, ...]:
    """``1,2`` as whole numbers above zero."""
    parts = _texts(text)
    for part in parts:
        if not part.isdecimal() or int(part) < 1:
            raise click.BadParameter(f"'{part}' is not a whole number above zero")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _list_option(flag: str, kind: Callable[[str], tuple[Any, ...]], default: str | None, text: str) -> Callable[[F], F]:
    return click.option(
        flag, type=kind, metavar="A,B,...", default=default, show_default=default is not None, help=text
    )


@click.command("sweep")
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@_list_option("--framework", _texts, "torch", "Frameworks, or all.")
@_list_option("--mode", _texts, "training", "inference, training, or all.")
@_list_option("--ep", _texts, "cpu", "Execution providers: cpu, cuda.")
@_list_option("--threads", _counts, None, "Threads inside an operator; all cores by default.")
@_list_option("--batch", _counts, None, "Batch sizes; the preset's own by default.")
@_list_option("--optimization", _texts, "all", "Graph optimization levels: all, extended, basic, none.")
@click.option("--preset", default="small", show_default=True, help="paper, small or tiny.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Change a field in every cell; may repeat."
)
@click.option("--lowering", default="plain", show_default=True, help="How gradients are written.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Counted steps of each run.")
@click.option("--warmup", type=click.IntRange(min=0), default=3, show_default=True, help="Steps before them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and batches.")
@click.option("--retry", is_flag=True, help="Try cells again that failed before.")
@click.option("--no-wait", is_flag=True, help="Refuse, and do not wait, while another measurement runs here.")
@output_option("sweep", "Folder of the sweep.")
@json_option
def command(
    workloads: tuple[str, ...],
    framework: Sequence[str],
    mode: Sequence[str],
    ep: Sequence[str],
    threads: Sequence[int] | None,
    batch: Sequence[int] | None,
    optimization: Sequence[str],
    preset: str,
    changes: tuple[str, ...],
    lowering: str,
    steps: int,
    warmup: int,
    seed: int,
    retry: bool,
    no_wait: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Profile workloads, all of them where none is named, over every combination of the lists given.

    Each run is measured in a process of its own, one at a time. What was already done with the same inputs is not done
    again, so an interrupted sweep goes on where it was. A cell that fails is recorded and the others go on; the exit
    code is then 1.
    """
    from ..study import Axes, run_sweep
    from .live import watching
    from .render import print_json

    axes = Axes(
        workloads=workloads or None,
        frameworks=_all(framework),
        modes=_all(mode),
        providers=ep,
        threads=threads or (),
        batches=batch or (),
        optimizations=optimization,  # type: ignore[arg-type]  # checked when the plan is made
        preset=preset,
        changes=pairs(changes, "FIELD=VALUE"),
    )
    with watching() as told:
        result = run_sweep(
            output,
            axes,
            warmup=warmup,
            steps=steps,
            seed=seed,
            lowering=lowering,
            retry=retry,
            wait=not no_wait,
            on_event=told,
            on_wait=lambda text: click.echo(text, err=True),
        )
    if as_json:
        print_json(result.json())
    else:
        _print(result)
    if not (result.folder / "cells.parquet").is_file():
        click.echo("no cells.parquet: pyarrow is not installed; pip install 'fathom-onnx[parquet]'", err=True)
    if not result.ok:
        click.echo("failed cells are tried again with --retry", err=True)
        click.get_current_context().exit(1)


def _all(names: Sequence[str]) -> Sequence[str] | None:
    """None, which is all, where ``all`` is among the names."""
    return None if "all" in names else names


def _print(result: SweepResult) -> None:
    from .render import table, time_us

    columns = ("workload", "framework", "mode", "batch", "changes", "provider", "threads", "optimization")
    rows = [
        (
            *("" if row[name] is None else str(row[name]) for name in columns),
            time_us(row["control_us"]) if row["state"] == "done" else "failed",
            time_us(row["node_time_us"]) if row["state"] == "done" else "",
        )
        for row in result.rows
    ]
    numbers = ("batch", "threads", "step", "in nodes")
    heads = (*columns, "step", "in nodes")
    table("", heads, rows, text=[name for name in heads if name not in numbers])
    tested = [e for e in result.ledger or () if e.ours]
    if tested:
        click.echo("\nThe paper's claims that this sweep can test")
    for entry in tested:
        click.echo(entry)
    done = sum(row["state"] == "done" for row in result.rows)
    click.echo(f"\n{done} of {len(result.rows)} cells done; tables: {result.folder / 'cells.csv'}")
    for failure in result.failures:
        click.echo(f"failed: {failure.what} ({failure.stage}): {failure.error}")
