"""The suite: runs of a finished study, read back to compare another graph with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom_onnx.analysis.paper.provider_comparison import node_times
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.analysis.similarity.op_mix import OpMix, run_op_mix
from fathom_onnx.errors import DataError, UnknownNameError, one_line

__all__ = ["Suite", "read_suite"]


@dataclass(frozen=True)
class Suite:
    """Op mixes of a study's runs from one framework in one mode.

    Attributes:
        op_mixes: One a workload.
        provider: The provider they ran on.
        threads: Threads inside one operator.
        preset: Preset of their workloads.
        manifests: Those of the runs.
        node_times: What the runs' node times are; "kernel" on a CPU.
    """

    op_mixes: tuple[OpMix, ...]
    provider: str
    threads: int
    preset: str
    manifests: tuple[Mapping[str, Any], ...]
    node_times: str = "kernel"


def _read_study(folder: Path) -> dict[str, Any]:
    path = folder / "study.json"
    if not path.is_file():
        raise DataError(
            f"'{folder}' is not a study: it has no study.json", f"run 'fathom-onnx study -o {folder}' first"
        )
    try:
        study: dict[str, Any] = json.loads(path.read_text("utf-8"))
        study["cells"], study["options"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is malformed ({one_line(error)})", "run the study again") from error
    return study


def read_suite(folder: Path, mode: str = "inference", framework: str = "torch") -> Suite:
    """Read a study's runs of one mode and framework; cells that failed are left out, and models of the user's own.

    Raises:
        DataError: It is not a study's folder, or a run in it cannot be read.
        UnknownNameError: The study has no run of that framework.
    """
    study = _read_study(folder)
    done = [c for c in study["cells"] if c.get("profile", {}).get("folder") and not c.get("target")]
    frameworks = list(dict.fromkeys(str(c["cell"]["framework"]) for c in done if c["cell"]["mode"] == mode))
    if framework not in frameworks:
        raise UnknownNameError(f"framework in the study's {mode} runs", framework, frameworks)
    chosen = [c for c in done if (c["cell"]["framework"], c["cell"]["mode"]) == (framework, mode)]
    runs = [Run.load(folder / str(c["profile"]["folder"])) for c in chosen]
    first = runs[0].manifest
    provider = str(first.get("provider") or study["options"]["ep"])
    return Suite(
        tuple(run_op_mix(run) for run in runs),
        provider=provider,
        threads=int(first.get("threads") or study["options"]["threads"]),
        preset=str(study["options"]["preset"]),
        manifests=tuple(run.manifest for run in runs),
        node_times=node_times(first, provider),
    )
