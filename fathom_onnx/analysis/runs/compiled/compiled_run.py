"""A compiled run: how long a step takes that the framework's own compiler made, and what is known of its kernels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fathom_onnx.errors import DataError, one_line
from fathom_onnx.graph.files import write_text
from fathom_onnx.native import CompiledKernel

__all__ = ["SCHEMA", "CompiledRun"]

SCHEMA = "fathom-onnx/compiled/1"
"""Name and version of the JSON schema."""

_FILE = "compiled.json"
_PLACES = ("workload", "mode", "preset", "framework", "framework_version", "threads", "data", "warmup", "steps")


@dataclass(frozen=True)
class CompiledRun:
    """A step compiled by the framework itself.

    Attributes:
        manifest: Versions, machine, workload, mode, preset, framework, compiler, times of the steps, what is unknown.
        kernels: The kernels of a step, slowest first; None where the compiler shows none.
    """

    manifest: dict[str, Any]
    kernels: tuple[CompiledKernel, ...] | None

    @property
    def step_us(self) -> float:
        """Median wall time of a step."""
        return float(np.median(self.manifest["step_us"]))

    @property
    def compile_s(self) -> float:
        """Seconds that the first step took longer than the median one."""
        return max(0.0, (float(self.manifest["first_us"]) - self.step_us) / 1e6)

    def _by_kind(self) -> dict[str, dict[str, float]] | None:
        """Microseconds, share of all kernels' time, kernels and calls of each kind of kernel."""
        if self.kernels is None:
            return None
        total = sum(kernel.us for kernel in self.kernels)
        found: dict[str, dict[str, float]] = {}
        for kind in dict.fromkeys(kernel.kind for kernel in self.kernels):
            own = [kernel for kernel in self.kernels if kernel.kind == kind]
            us = sum(kernel.us for kernel in own)
            calls = sum(kernel.calls for kernel in own)
            found[kind] = {"us": us, "share": us / total if total else 0.0, "kernels": len(own), "calls": calls}
        return found

    def summary(self) -> dict[str, Any]:
        """The run as one JSON object of schema :data:`SCHEMA`."""
        steps = np.asarray(self.manifest["step_us"], float)
        low, high = (float(np.percentile(steps, q)) for q in (25, 75))
        return {
            "schema": SCHEMA,
            **{name: self.manifest[name] for name in _PLACES},
            "compiler": self.manifest["compiler"],
            "step_us": self.step_us,
            "quartiles_us": [low, high],
            "fastest_us": float(steps.min()),
            "slowest_us": float(steps.max()),
            "compile_s": self.compile_s,
            "by_kind": self._by_kind(),
            "kernels": None if self.kernels is None else [kernel._asdict() for kernel in self.kernels],
            "unknown": self.manifest["unknown"],
        }

    def save(self, folder: Path) -> None:
        """Write the run into a folder.

        Raises:
            OutputError: The folder cannot be written to.
        """
        kernels = None if self.kernels is None else [kernel._asdict() for kernel in self.kernels]
        write_text(folder / _FILE, json.dumps({**self.manifest, "kernels": kernels}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> CompiledRun:
        """Read the folder of a compiled run.

        Raises:
            DataError: It is not the folder of a compiled run, or its file is malformed.
        """
        try:
            manifest = json.loads((folder / _FILE).read_text())
            if manifest.get("schema") != SCHEMA:
                raise DataError(
                    f"run '{folder}' has schema '{manifest.get('schema')}', not '{SCHEMA}'",
                    "give a folder that 'profile --compiled' wrote",
                )
            found = manifest.pop("kernels")
            kernels = None if found is None else tuple(CompiledKernel(**kernel) for kernel in found)
            run = cls(manifest, kernels)
            run.summary()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"'{folder}' is not the folder of a compiled run ({one_line(error)})",
                "give a folder that 'profile --compiled' wrote",
            ) from error
        return run
