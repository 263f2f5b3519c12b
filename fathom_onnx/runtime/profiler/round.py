"""A round: what the sessions of one process left behind, in memory and as files, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import orjson

from fathom_onnx.errors import DataError, one_line
from fathom_onnx.graph.files import write_bytes
from fathom_onnx.runtime.devices.recorded import RecordedAlone
from fathom_onnx.runtime.devices.records import Recording, read_recording, write_recording
from fathom_onnx.runtime.optimized import STRUCTURE, load_optimized, write_structure
from fathom_onnx.runtime.traces.runs import StepRun

__all__ = ["ROUND", "Round", "recording_of"]

ROUND = "round.json"
"""Name of the file that says what a round's folder holds."""

SCHEMA = "fathom-onnx/round/1"
_ALONE = "device-alone.jsonl.gz"


@dataclass(frozen=True)
class Round:
    """What one process recorded of a graph; the raw traces lie in a folder.

    Attributes:
        optimized: The model as it was run, nodes under their names before renaming; large weights not loaded.
        control_us: Wall time of the unprofiled steps.
        step_us: Wall time of the profiled steps.
        traces: The compressed raw traces, one a session.
        warmup: Runs at the start of each trace that are not counted.
        session_steps: Steps that were counted in each session.
        provider_options: The provider's options as the session reports them.
        recordings: What was recorded of the device beside each trace; none where nothing was.
        alone: Steps of which the device was recorded and that were not profiled; None where nothing was recorded.
        model_folder: Where the optimized model and its weights lie, until the caller removes it; None where they are
            gone.
    """

    optimized: onnx.ModelProto
    control_us: tuple[float, ...]
    step_us: tuple[float, ...]
    traces: tuple[Path, ...]
    warmup: int
    session_steps: tuple[int, ...]
    provider_options: dict[str, str]
    recordings: tuple[Recording, ...] = ()
    alone: RecordedAlone | None = None
    model_folder: Path | None = None

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write what is not yet in the folder of the traces: the round can then be read in another process.

        Args:
            folder: The folder that the traces lie in.
            facts: What else is to be known of the round, as JSON can hold it.

        Raises:
            OutputError: It cannot be written.
        """
        write_structure(self.optimized, self.model_folder or folder, folder / STRUCTURE)
        alone = None
        if self.alone is not None:
            write_recording(folder / _ALONE, self.alone.recording)
            alone = {"wall_us": self.alone.wall_us, "runs": [[run.start_us, run.run_us] for run in self.alone.runs]}
        entries = {
            "schema": SCHEMA,
            "facts": facts,
            "control_us": self.control_us,
            "step_us": self.step_us,
            "traces": [path.name for path in self.traces],
            "warmup": self.warmup,
            "session_steps": self.session_steps,
            "provider_options": self.provider_options,
            "recorded": bool(self.recordings),
            "alone": alone,
        }
        write_bytes(folder / ROUND, orjson.dumps(entries, option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, folder: Path) -> tuple[Round, dict[str, Any]]:
        """A round and its facts, from the folder that it was saved in.

        Raises:
            DataError: The folder holds none, or a file of it cannot be read.
        """
        try:
            entries = orjson.loads((folder / ROUND).read_bytes())
            if entries["schema"] != SCHEMA:
                raise ValueError(f"schema '{entries['schema']}', not '{SCHEMA}'")
            alone = None
            if (said := entries["alone"]) is not None:
                runs = tuple(StepRun(start, took, ()) for start, took in said["runs"])
                alone = RecordedAlone(tuple(said["wall_us"]), runs, read_recording(folder / _ALONE))
            traces = tuple(folder / name for name in entries["traces"])
            found = cls(
                optimized=load_optimized(folder / STRUCTURE),
                control_us=tuple(entries["control_us"]),
                step_us=tuple(entries["step_us"]),
                traces=traces,
                warmup=entries["warmup"],
                session_steps=tuple(entries["session_steps"]),
                provider_options=entries["provider_options"],
                recordings=tuple(map(read_recording, map(recording_of, traces))) if entries["recorded"] else (),
                alone=alone,
            )
            return found, entries["facts"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"'{folder}' holds no round of a run ({one_line(error)})", "measure it again") from error


def recording_of(trace: Path) -> Path:
    """The file of device records that belongs to a trace."""
    return trace.with_name(f"device{trace.name.removeprefix('trace').removesuffix('.json.gz')}.jsonl.gz")
