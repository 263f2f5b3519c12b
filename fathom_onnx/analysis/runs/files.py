"""The files of a run folder, written and read back: JSON, CSV, and the samples as a compressed array."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.errors import DataError, one_line
from fathom_onnx.graph.files import write_bytes, write_text
from fathom_onnx.graph.metadata import purpose_named
from fathom_onnx.runtime.traces.trace import Microseconds

from .kernels import KERNEL_COLUMNS, WHOLE_OR_EMPTY
from .tables import ATTRIBUTION_COLUMNS, NODE_COLUMNS, ORIGINAL_COLUMNS, STEP_COLUMNS

__all__ = ["SCHEMA", "read_run", "write_run"]

SCHEMA = "fathom-onnx/run/2"

_SAMPLES = "samples.npz"

_TABLES = {
    "nodes": NODE_COLUMNS,
    "attribution": ATTRIBUTION_COLUMNS,
    "steps": STEP_COLUMNS,
    "originals": ORIGINAL_COLUMNS,
}
"""Table to its columns; its file is ``<table>.csv``."""

_KERNELS = "kernels.csv"
"""There only where a device was recorded."""

_NEEDED = ("manifest.json", *(f"{name}.csv" for name in _TABLES), _SAMPLES)

_TEXT = frozenset(
    (
        "name",
        "op_type",
        "provider",
        "kind",
        "originals",
        "original",
        "phase",
        "layer",
        "op",
        "op_class",
        "reason",
        "state",
        "node",
        "kernel",
        "grid",
        "block",
    )
)


def write_run(
    folder: Path,
    manifest: dict[str, Any],
    tables: dict[str, pd.DataFrame],
    samples: Microseconds,
    summary: dict[str, Any],
) -> None:
    """Write a run's files into a folder.

    Raises:
        OutputError: The folder cannot be written to.
    """
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    nodes = tables["nodes"]
    listed = nodes.assign(originals=nodes["originals"].map(lambda names: json.dumps(list(names))))
    for name, table in {**tables, "nodes": listed}.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    packed = io.BytesIO()
    np.savez_compressed(packed, self_us=samples)
    write_bytes(folder / _SAMPLES, packed.getvalue())
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


def read_run(folder: Path) -> dict[str, Any]:
    """What a run folder holds: ``manifest``, the tables by name (``kernels`` may be None), and ``samples``.

    Raises:
        DataError: It is not a run folder, of another schema, or a file in it is malformed.
    """
    manifest = _manifest(folder)
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise DataError(f"'{folder}' is not a run folder: it has no {name}", "give a folder that profile wrote")
    try:
        tables = {name: _read(folder / f"{name}.csv", columns) for name, columns in _TABLES.items()}
        tables["nodes"]["originals"] = tables["nodes"]["originals"].map(lambda text: tuple(json.loads(text)))
        samples = np.load(folder / _SAMPLES, allow_pickle=False)["self_us"]
        wanted = (len(tables["steps"]), len(tables["nodes"]))
        kind = np.int64 if manifest.get("device_time") is None else np.float64
        if samples.shape != wanted or samples.dtype != kind:
            raise ValueError(f"{_SAMPLES} holds {samples.dtype} {samples.shape}, not {np.dtype(kind)} {wanted}")
        kernels = _kernels(folder / _KERNELS) if manifest.get("device_time") is not None else None
    except (ValueError, KeyError, OSError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"run folder '{folder}' is malformed ({one_line(error)})", "profile again") from error
    return {"manifest": manifest, **tables, "samples": samples, "kernels": kernels}


def _kernels(path: Path) -> pd.DataFrame:
    return _read(path, KERNEL_COLUMNS).astype(dict.fromkeys(WHOLE_OR_EMPTY, "Int64") | {"size_bytes": "float64"})


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest, which says what else there is to read."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(f"'{folder}' is not a run folder: it has no {path.name}", "give a folder that profile wrote")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        schema = manifest.get("schema")
    except (ValueError, OSError, AttributeError) as error:
        raise DataError(f"run folder '{folder}' is malformed ({one_line(error)})", "profile again") from error
    if schema != SCHEMA:
        raise DataError(f"run '{folder}' has schema '{schema}', not '{SCHEMA}'", "profile again with this version")
    if "lowering" in manifest:
        manifest["lowering"] = purpose_named(manifest["lowering"])
    return manifest


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    # a layer or node may be called "NA" or "12": what is text stays text, and only an empty cell is empty
    kinds = {name: str for name in columns if name in _TEXT}
    unknown = {name: [""] for name in columns if name not in _TEXT}
    table = pd.read_csv(path, keep_default_na=False, na_values=unknown, float_precision="round_trip", dtype=kinds)
    if tuple(table.columns) != columns:
        raise ValueError(f"{path.name} has columns {', '.join(map(str, table.columns))}, not {', '.join(columns)}")
    return table
