"""Tables as files, in the formats that other programs read."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from fathom_onnx.csv_files import write_csv
from fathom_onnx.graph.files import write_bytes

__all__ = ["write_table"]


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table as CSV and, where pyarrow is installed, as Parquet.

    Raises:
        OutputError: A file cannot be written.
    """
    write_csv(folder / f"{name}.csv", table)
    parquet = folder / f"{name}.parquet"
    if find_spec("pyarrow") is None:
        parquet.unlink(missing_ok=True)  # an older one would say something else than the CSV
    else:
        write_bytes(parquet, table.to_parquet(None, index=False))
