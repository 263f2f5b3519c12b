"""Reports of runs: run folders come in, of onnxruntime or of a framework itself; one HTML file goes out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fathom_onnx.analysis.report.run_report import run_report
from fathom_onnx.analysis.report.sections.run_sections import ShownRun
from fathom_onnx.analysis.runs.native_run import SCHEMA as NATIVE
from fathom_onnx.analysis.runs.native_run import NativeRun
from fathom_onnx.analysis.runs.roofline import Roofline, computed_in, rooflines
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.errors import UsageError
from fathom_onnx.graph.files import write_text
from fathom_onnx.runtime.ceilings import Ceilings, read_ceilings

from .run_ceilings import ceilings_for, check_ceilings, check_node_times, roofline_warnings

__all__ = ["load_run", "report"]

_GROUPINGS = ("node", "layer", "op", "class", "phase")

RunLike = str | Path | Run | NativeRun
"""A run folder, or a run."""


def load_run(folder: Path) -> Run | NativeRun:
    """Read a run folder of either kind.

    Raises:
        DataError: It is no run folder, or a file in it is malformed.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        native = isinstance(manifest, Mapping) and manifest.get("schema") == NATIVE
    except (OSError, ValueError):
        native = False  # whose reader says what is wrong
    return NativeRun.load(folder) if native else Run.load(folder)


def report(
    runs: RunLike | Sequence[RunLike],
    path: str | Path | None = None,
    *,
    ceilings: Ceilings | str | Path | None = None,
    measure: bool = True,
    progress: Callable[[str], None] | None = None,
) -> str:
    """Report on runs: on one, where its time goes; on several, how they compare with the first.

    Args:
        runs: Run folders, or runs; one or several.
        path: HTML file to write; None to write none.
        ceilings: Ceilings of the runs' machine, or their file, for the rooflines.
        measure: Whether ceilings that are not given are measured here, with the settings of each run, in about five
            seconds for each number of threads; runs of another machine then have no roofline.
        progress: Called with what is being done.

    Returns:
        The page as HTML, which needs no other file.

    Raises:
        UsageError: No run, a run given twice, or ceilings that are of another provider than every run.
        DataError: A folder is no run folder, or the ceilings cannot be read.
        OutputError: The file cannot be written.
    """
    given = [runs] if isinstance(runs, str | Path | Run | NativeRun) else list(runs)
    if not given:
        raise UsageError("there is no run to report on", "give a folder that 'profile -o' wrote")
    names = _names(given)
    loaded = [load_run(Path(run)) if isinstance(run, str | Path) else run for run in given]
    held = read_ceilings(Path(ceilings)) if isinstance(ceilings, str | Path) else ceilings
    roofs = _Roofs(held, measure, progress or (lambda text: None))
    shown = [ShownRun(name, run, *roofs.of(run, name)) for name, run in zip(names, loaded, strict=True)]
    if held is not None and roofs.refused and not any(one.rooflines for one in shown):
        raise roofs.refused
    folders = [str(run) for run in given if isinstance(run, str | Path)]
    command = ["fathom-onnx", "report", *folders, *(["--ceilings", str(ceilings)] if isinstance(ceilings, str) else [])]
    html = run_report(shown, [shlex.join(command)] if len(folders) == len(given) else [])
    if path is not None:
        write_text(Path(path), html)
    return html


def _names(runs: Sequence[RunLike]) -> list[str]:
    """What the report calls the runs: the ends of their paths that tell them apart, or the names of their graphs.

    Raises:
        UsageError: A folder is given twice.
    """
    paths = [Path(run).absolute() for run in runs if isinstance(run, str | Path)]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UsageError(f"run '{twice}' is given twice", "name each run once")
    names = []
    for run in runs:
        if isinstance(run, str | Path):
            path = Path(run).absolute()
            names.append(next(end for end in _ends(path) if sum(_ends_with(other, end) for other in paths) == 1))
        else:
            names.append(str(run.manifest.get("graph") or f"{run.manifest['workload']} {run.manifest['mode']}"))
    return [name if names.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(names)]


def _ends(path: Path) -> list[str]:
    """The last part of a path, the last two, and so on."""
    return [str(Path(*path.parts[-count:])) for count in range(1, len(path.parts) + 1)]


def _ends_with(path: Path, end: str) -> bool:
    return end in _ends(path)


class _Roofs:
    """Rooflines of runs under ceilings that are given, or measured once for all runs with the same settings."""

    def __init__(self, given: Ceilings | None, measure: bool, say: Callable[[str], None]) -> None:
        self.given, self.measure, self.say = given, measure, say
        self.refused: UsageError | None = None
        self.measured: dict[tuple[object, ...], Ceilings] = {}

    def of(self, run: Run | NativeRun, name: str) -> tuple[dict[str, Roofline], str, tuple[str, ...]]:
        """The rooflines of a run, or none and why; and what makes them doubtful."""
        if isinstance(run, NativeRun):
            return {}, "the work of a framework's own operations is not counted", ()
        if self.given is None and not self.measure:
            return {}, "no ceilings were given", ()
        try:
            check_node_times(run, name)
            ceilings = self._ceilings(run)
            return rooflines(run, ceilings, _GROUPINGS), "", roofline_warnings(ceilings, run)
        except UsageError as error:
            self.refused = error
            return {}, str(error).partition(";")[0], ()

    def _ceilings(self, run: Run) -> Ceilings:
        if self.given is not None:
            check_ceilings(self.given, run)
            return self.given
        facts = tuple(run.manifest.get(name) for name in ("provider", "cpu", "gpu", "threads", "tf32"))
        key = (*map(str, facts), computed_in(run))
        if key not in self.measured:
            self.say("measuring the ceilings")
            self.measured[key] = ceilings_for(run)
        return self.measured[key]
