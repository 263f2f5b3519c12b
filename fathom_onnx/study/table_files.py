"""Tables as files, in the formats that other programs read."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from fathom_onnx.csv_files import write_csv
from fathom_onnx.graph.files import write_bytes

__all__ = ["write_parquet", "write_table"]


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table as CSV and, where pyarrow is installed, as Parquet.

    Raises:
        OutputError: A file cannot be written.
    """
    path = folder / f"{name}.csv"
    write_csv(path, table)
    write_parquet(path, table)


def write_parquet(csv: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet beside its CSV file, where pyarrow is installed.

    Raises:
        OutputError: The file cannot be written.
    """
    parquet = csv.with_suffix(".parquet")
    if find_spec("pyarrow") is None:
        parquet.unlink(missing_ok=True)  # an older one would say something else than the CSV
    else:
        write_bytes(parquet, table.to_parquet(None, index=False))
