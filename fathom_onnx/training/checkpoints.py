"""Checkpoints: the whole state of a run after a step, in one safetensors file each, written whole or not at all.

A file holds the state inputs of the training graph by name (parameters, running statistics, optimizer state), so that
any tool that reads safetensors finds the weights under their own names. Its header has the manifest: which graph, which
step, seed, data and settings, and a hash of the values.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fathom_onnx.errors import DataError, OutputError, one_line
from fathom_onnx.graph.files import ensure_folder, write_bytes
from fathom_onnx.workloads.contract import Array

__all__ = ["SCHEMA", "Checkpoint", "CheckpointFolder", "CheckpointPlan", "read_checkpoint"]

SCHEMA = "fathom-onnx/checkpoint/1"
"""Name and version of the manifest's schema."""

_KEY = "fathom_onnx"
_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a step.

    Attributes:
        path: Its file.
        step: The number of the last step that was taken.
        values: The state by input name.
        manifest: What the run is: see :func:`~fathom_onnx.training.loop.train`.
    """

    path: Path
    step: int
    values: Mapping[str, Array]
    manifest: Mapping[str, Any]


def _digest(values: Mapping[str, Array]) -> str:
    found = hashlib.sha256()
    for name in sorted(values):
        value = np.asarray(values[name], order="C")
        found.update(f"{name}:{value.dtype}:{value.shape}:".encode())
        found.update(value.view(np.uint8).reshape(-1).data if value.size and value.ndim else value.tobytes())
    return found.hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DataError: There is none, it is cut short or changed, or not a checkpoint of ours.
    """
    fix = "give a file step-*.safetensors of a run's --checkpoint folder"
    try:
        with safe_open(path, framework="numpy") as opened:
            manifest = json.loads((opened.metadata() or {})[_KEY])
            values = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        step, digest, schema = int(manifest["step"]), str(manifest["values_sha256"]), str(manifest["schema"])
    except FileNotFoundError:
        raise DataError(f"no checkpoint '{path}'", fix) from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' is no checkpoint ({one_line(error)})", fix) from error
    if schema != SCHEMA:
        raise DataError(f"checkpoint '{path}' has schema '{one_line(schema, 60)}'", f"this version reads {SCHEMA}")
    if _digest(values) != digest:
        raise DataError(f"the values of checkpoint '{path}' are not those that were written", "use an earlier one")
    return Checkpoint(path, step, values, manifest)


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: Where they are; made when the first is written.
        keep: How many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While entered, no other run writes into the folder; what a killed one left half written is taken away.

        Raises:
            OutputError: Another run holds it, or it cannot be written to.
        """
        ensure_folder(self.folder)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(f"another run writes into '{self.folder}'", "wait for it, or choose another") from error
        try:
            for part in self.folder.glob(".*.part"):
                part.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def paths(self) -> list[Path]:
        """The files, the newest first."""
        found = [path for path in self.folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest checkpoint that can be read, and why newer ones cannot.

        Raises:
            DataError: There are files, and none can be read.
        """
        faults: list[str] = []
        for path in self.paths():
            try:
                return read_checkpoint(path), faults
            except DataError as error:
                faults.append(str(error))
        if faults:
            raise DataError(faults[0], "start anew in another folder")
        return None, []

    def save(self, step: int, values: Mapping[str, Array], facts: Mapping[str, Any]) -> Path:
        """Write a checkpoint, and then remove those that are more than :attr:`keep` behind.

        Raises:
            OutputError: It cannot be written; the earlier ones are as they were.
        """
        ensure_folder(self.folder)
        manifest = {**facts, "schema": SCHEMA, "step": step, "values_sha256": _digest(values)}
        path = self.folder / f"step-{step:08d}.safetensors"
        packed = {name: np.asarray(value, order="C") for name, value in values.items()}
        write_bytes(path, save(packed, {_KEY: json.dumps(manifest, sort_keys=True)}))
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path


@dataclass(frozen=True)
class CheckpointPlan:
    """Where the state, the losses and the metrics of a run are kept, and when.

    Attributes:
        folder: Where.
        every: Steps between checkpoints; 0 for one at the end only.
        resume: Whether to go on from the newest checkpoint; from the start where there is none.
        data: Name of the data, which a run that is resumed must have too.
    """

    folder: CheckpointFolder
    every: int = 0
    resume: bool = False
    data: str = ""
