"""The files of a run folder: JSON, CSV tables and a compressed array of samples, written and read back."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.csv_files import read_csv, write_csv
from fathom_onnx.errors import DataError, one_line
from fathom_onnx.graph.files import check_sealed, seal, write_bytes, write_text
from fathom_onnx.runtime.traces.steps import Microseconds

from .costs.executed_costs import COST_COLUMNS
from .kernels import KERNEL_COLUMNS, WHOLE_OR_EMPTY
from .tables import ATTRIBUTION_COLUMNS, NODE_COLUMNS, ORIGINAL_COLUMNS, STEP_COLUMNS

__all__ = ["SCHEMA", "read_run", "write_run"]

SCHEMA = "fathom-onnx/run/3"
"""Name and version of the JSON schema."""

_SAMPLES = "samples.npz"

_TABLES = {
    "nodes": NODE_COLUMNS,
    "attribution": ATTRIBUTION_COLUMNS,
    "steps": STEP_COLUMNS,
    "originals": ORIGINAL_COLUMNS,
}
"""Table to its columns; the file is ``<table>.csv``."""

_KERNELS = "kernels.csv"
"""Only in runs with recorded device times."""

_REQUIRED = ("manifest.json", *(f"{name}.csv" for name in _TABLES), _SAMPLES)

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
        "compute_type",
        "cost_reason",
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
    nodes_for_csv = nodes.assign(originals=nodes["originals"].map(lambda names: json.dumps(list(names))))
    for name, table in {**tables, "nodes": nodes_for_csv}.items():
        write_csv(folder / f"{name}.csv", table)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, self_us=samples)
    write_bytes(folder / _SAMPLES, buffer.getvalue())
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    seal(folder, ["manifest.json", *(f"{name}.csv" for name in tables), _SAMPLES, "summary.json"])


def read_run(folder: Path) -> dict[str, Any]:
    """The contents of a run folder: ``manifest``, the tables by name (``kernels`` may be None), and ``samples``.

    Raises:
        DataError: It is not a run folder, has another schema, or a file in it is not as it was written.
    """
    manifest = _manifest(folder)
    for name in _REQUIRED:
        if not (folder / name).is_file():
            raise DataError(f"'{folder}' is not a run folder: it has no {name}", "give a folder that profile wrote")
    check_sealed(folder, "profile again")
    try:
        tables = {
            name: read_csv(folder / f"{name}.csv", columns, _TEXT, COST_COLUMNS if name == "nodes" else ())
            for name, columns in _TABLES.items()
        }
        tables["nodes"]["originals"] = tables["nodes"]["originals"].map(lambda text: tuple(json.loads(text)))
        samples = np.load(folder / _SAMPLES, allow_pickle=False)["self_us"]
        shape = (len(tables["steps"]), len(tables["nodes"]))
        dtype = np.int64 if manifest.get("device_time") is None else np.float64
        if samples.shape != shape or samples.dtype != dtype:
            raise ValueError(f"{_SAMPLES} holds {samples.dtype} {samples.shape}, not {np.dtype(dtype)} {shape}")
        kernels = _kernels(folder / _KERNELS) if manifest.get("device_time") is not None else None
    except (ValueError, KeyError, OSError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"run folder '{folder}' is malformed ({one_line(error)})", "profile again") from error
    return {"manifest": manifest, **tables, "samples": samples, "kernels": kernels}


def _kernels(path: Path) -> pd.DataFrame:
    return read_csv(path, KERNEL_COLUMNS, _TEXT).astype(
        dict.fromkeys(WHOLE_OR_EMPTY, "Int64") | {"size_bytes": "float64"}
    )


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest, read first because its schema decides whether the rest can be read."""
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
    return manifest
