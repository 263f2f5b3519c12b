"""Tables on stdout, progress on stderr, JSON as one object."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from .lines import printable

__all__ = ["print_json", "progress", "size", "table", "time_us"]


def print_json(value: Any) -> None:
    """One JSON object on stdout, in ASCII."""
    plain = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=str)
    click.echo(json.dumps(orjson.loads(plain), indent=2))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], text: Collection[str]) -> None:
    """A table on stdout; the columns named in ``text`` are text, the rest numbers."""
    made = Table(header_style="dim", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="left" if column in text else "right", overflow="fold")
    for row in rows:
        made.add_row(*(printable(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    # a pipe has no width of its own: wide enough that no name is broken
    console.width = console.width if console.is_terminal else 160
    if title:
        console.print(f"\n{printable(title)}", style="bold")
    console.print(made)


def time_us(us: float) -> str:
    """Microseconds for people."""
    return f"{us / 1e6:.2f} s" if us >= 1e6 else f"{us / 1e3:.2f} ms" if us >= 1e3 else f"{us:.1f} us"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


@contextlib.contextmanager
def progress(total: int | None = None) -> Iterator[tuple[Callable[[str], None], Callable[..., None]]]:
    """A progress bar on stderr, shown only on a terminal: (say what runs, one more or a number of them is done)."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)

        def say(text: str) -> None:
            bar.update(task, description=printable(text).replace("[", r"\["))

        def advance(count: int = 1) -> None:
            bar.advance(task, count)

        yield say, advance
