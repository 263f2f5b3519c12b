"""Tables as CSV files that a spreadsheet may open: no cell of text is taken for a formula.

Names come from graphs, which come from anywhere. A cell that begins like a formula gets an apostrophe before it, as
spreadsheets themselves mark text, and so does one that begins with an apostrophe; reading takes it away again.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from fathom_onnx.graph.files import write_text

__all__ = ["read_csv", "write_csv"]

_MARKED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""First characters of cells that get an apostrophe; see https://owasp.org/www-community/attacks/CSV_Injection."""


def _marked(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_MARKED) else cell


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, without its index.

    Raises:
        OutputError: The file cannot be written.
    """
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    plain = table.assign(**{name: table[name].map(_marked) for name in texts})
    # pandas quotes a line feed in a cell, and a carriage return only with all other text
    returns = any(table[name].astype(str).str.contains("\r").any() for name in texts)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    write_text(path, plain.to_csv(index=False, lineterminator="\n", quoting=quoting))


def read_csv(
    path: Path, columns: tuple[str, ...], text_columns: Collection[str], further: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Read a table.

    A layer or node may be called "NA" or "12": text columns are kept as text, and only an empty cell of another column
    is a missing value.

    Args:
        path: The file.
        columns: The columns that it must have, in order.
        text_columns: Those of text; others are ignored.
        further: Columns that may follow, all or none of them.

    Raises:
        ValueError: It has other columns.
    """
    texts = [name for name in (*columns, *further) if name in text_columns]
    missing = {name: [""] for name in (*columns, *further) if name not in text_columns}
    table = pd.read_csv(
        path, keep_default_na=False, na_values=missing, float_precision="round_trip", dtype=dict.fromkeys(texts, str)
    )
    if tuple(table.columns) not in (columns, columns + further):
        raise ValueError(f"{path.name} has columns {', '.join(map(str, table.columns))}, not {', '.join(columns)}")
    for name in texts:
        if name in table:
            table[name] = table[name].str.removeprefix("'")
    return table
