"""``fathom-onnx compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell

if TYPE_CHECKING:
    from fathom_onnx.analysis.comparison import Comparison, Row
    from fathom_onnx.analysis.runs import Grouping

__all__ = ["command"]

_GROUPINGS = ("phase", "class", "op", "layer", "node")
_DEFAULT_GROUPINGS = ("phase", "class", "op", "layer")
_COLUMNS = ("A", "B", "B - A", "B / A", "95% interval", "p", "verdict")


@click.command("compare")
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option(
    "--by",
    "groupings",
    type=click.Choice(_GROUPINGS),
    multiple=True,
    default=_DEFAULT_GROUPINGS,
    show_default=True,
    help="Tables to make; may repeat.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, max=100, max_open=True),
    default=5.0,
    show_default=True,
    metavar="PCT",
    help="Smallest change that is called one, in percent.",
)
@click.option("--top", type=click.IntRange(min=1), default=12, show_default=True, help="Rows of the longer tables.")
@click.option(
    "--fail-if-slower",
    "limit",
    type=click.FloatRange(min=0),
    metavar="PCT",
    help="Exit with 1 where the unprofiled step of B is slower by more than this, or where that cannot be told.",
)
@options.json_option
def command(
    run_a: Path,
    run_b: Path,
    groupings: tuple[Grouping, ...],
    threshold: float,
    top: int,
    limit: float | None,
    as_json: bool,
) -> None:
    """Show what is slower and what is faster in RUN_B than in RUN_A, two run folders that profile wrote.

    What the runs differ in is said first. Rows are matched by name, so that runs of two versions, providers, thread
    counts or frameworks can be compared, and runs of different graphs as far as their layers and ops have the same
    names.
    """
    from fathom_onnx.analysis.comparison import compare, worse_than
    from fathom_onnx.analysis.runs import Run
    from fathom_onnx.cli.render import print_json

    comparison = compare(Run.load(run_a), Run.load(run_b), groupings, threshold / 100)
    slower, reason = worse_than(comparison, limit / 100) if limit is not None else (None, "")
    if as_json:
        answer = {"limit": limit / 100, "slower": slower, "reason": reason} if limit is not None else None
        print_json({**comparison.as_json(), "fail_if_slower": answer})
    else:
        _print(comparison, run_a, run_b, top)
    if slower in ("yes", "unknown"):
        failure = "slower than allowed" if slower == "yes" else "not known whether it is slower than allowed"
        tell(f"failed: {failure}: {reason}", err=True)
        click.get_current_context().exit(1)


def _print(comparison: Comparison, run_a: Path, run_b: Path, top: int) -> None:
    from fathom_onnx.analysis.comparison import ALPHA, TOTALS
    from fathom_onnx.cli.render import table
    from fathom_onnx.vocabulary import OpClass

    for letter, facts, folder in (("A", comparison.a, run_a), ("B", comparison.b, run_b)):
        graph = [str(facts[key]) for key in ("graph", "mode", "framework", "preset") if facts[key]]
        threads, version = (facts[key] or "unknown" for key in ("threads", "onnxruntime"))
        settings = f"{facts['provider']}, {threads} threads, onnxruntime {version}"
        tell(f"{letter}: {' '.join(graph)} on {settings} ({folder})")
    rows = [(d.kind, d.name, _short(d.a), _short(d.b)) for d in comparison.differences]
    if rows:
        table("The runs differ in", ("", "fact", "A", "B"), rows, text=("", "fact", "A", "B"))
    else:
        tell("\nThe runs differ in nothing that the manifests tell")
    if comparison.warnings:
        tell("")
    for warning in comparison.warnings:
        tell(f"warning: {warning}")
    tell(
        f"\nMedians of {comparison.steps[0]} steps of A and {comparison.steps[1]} of B. Slower and faster: by"
        f" {100 * comparison.threshold:g}% and more and by more than profiling costs,"
    )
    tell(f"significant at {ALPHA:.0%} (Mann-Whitney U, corrected for the rows of the table).")
    totals = [(TOTALS[key], row) for key, row in comparison.totals.items()]
    table("Time", ("", *_COLUMNS), [(name, *_cells(row)) for name, row in totals], text=("", "verdict"))
    titles = {c.value: f"{c.value} {c.label}" for c in OpClass}
    for grouping, all_rows in comparison.tables.items():
        shown = all_rows if grouping in ("phase", "class") else all_rows[:top]
        body = [(_name(row, titles if grouping == "class" else {}), *_cells(row)) for row in shown]
        if len(shown) < len(all_rows):
            body.append(_rest(all_rows[len(shown) :]))
        title = grouping if grouping != "node" or comparison.nodes_by_name else "phase/layer/op"
        table(f"By {title}", (title, *_COLUMNS), body, text=(title, "verdict"))


def _short(value: Any) -> str:
    """A manifest's value as a short text; a hash is cut to its first digits."""
    if value is None:
        return "unknown"
    text = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 60 else text[:57] + "..."


def _name(row: Row, titles: Mapping[str, str]) -> str:
    """The title of a row."""
    special = {"charged": "(charged movement)", "unattributed": "(unattributed)"}
    return special.get(row.kind) or titles.get(row.name, row.name)


def _rest(rows: Sequence[Row]) -> tuple[str, ...]:
    """One row for all rows that are not shown, so that the column of differences still adds up."""
    from fathom_onnx.cli.render import time_us

    a, b = (sum(us or 0.0 for us in column) for column in zip(*((row.a_us, row.b_us) for row in rows), strict=True))
    return (f"{len(rows)} more", time_us(a), time_us(b), _signed(b - a), "", "", "", "")


def _signed(us: float) -> str:
    from fathom_onnx.cli.render import time_us

    return f"{'-' if us < 0 else '+'}{time_us(abs(us))}"


def _cells(row: Row) -> tuple[str, ...]:
    """The columns of :data:`_COLUMNS`."""
    from fathom_onnx.cli.render import time_us

    times = [time_us(us) if us is not None else "" for us in (row.a_us, row.b_us)]
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
    interval = f"{row.low:.2f} to {row.high:.2f}" if row.low is not None and row.high is not None else ""
    p = "" if row.p is None else f"{row.p:.2g}"
    verdict = f"{row.verdict} ({row.steps_needed} steps needed)" if row.steps_needed is not None else row.verdict
    return (*times, _signed(row.difference_us), ratio, interval, p, verdict)
