"""A study from one end to the other: export, verify, compare, profile, report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import Purpose
from fathom_onnx.exporting import frameworks as known_frameworks
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.native import native_frameworks
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.study.cells.plan import Cell, Job, OnEvent, Options, cells
from fathom_onnx.study.engine.engine import Engine
from fathom_onnx.study.engine.lock import machine_lock
from fathom_onnx.study.engine.pipeline import carry_out, measured_ceilings
from fathom_onnx.study.engine.providers import choose, on_provider, refuse_for_nothing
from fathom_onnx.study.engine.stages import STAGES, Stages
from fathom_onnx.study.engine.workers import ProcessWorkers, Workers

from .result import StudyResult

__all__ = ["BRIEF_STEPS", "BRIEF_WARMUP", "run_study"]

BRIEF_STEPS, BRIEF_WARMUP = 5, 2
"""Most steps of runs beside the main ones: with fewer threads, and the frameworks' own, each of which is done three
times (with its rewriting, without, and with its profiler)."""


def _commands(
    folder: Path,
    options: Options,
    providers: Sequence[str],
    counts: Sequence[int],
    chosen: Sequence[Cell],
    flags: Sequence[str],
) -> list[str]:
    """The command lines that do the same again: one, or one a framework where they are some but not all."""
    used = list(dict.fromkeys(c.framework for c in chosen))
    modes = list(dict.fromkeys(c.mode for c in chosen))
    common = ["--mode", modes[0] if len(modes) == 1 else "all", "--ep", ",".join(providers)]
    common += ["--threads", ",".join(map(str, counts))]
    for name in ("steps", "warmup", "seed"):
        common += [f"--{name}", str(getattr(options, name))]
    common += flags
    workloads = list(dict.fromkeys(c.workload for c in chosen))
    start = ["fathom-onnx", "study", *workloads, "-o", str(folder), "--preset", options.preset]
    whole = len(used) > 1 and set(used) == set(known_frameworks())
    return [shlex.join([*start, "--framework", name, *common]) for name in (["all"] if whole else used)]


def run_study(
    folder: str | Path,
    preset: str = "small",
    workloads: Sequence[str] | None = None,
    frameworks: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
    *,
    ep: str | Sequence[str] | None = None,
    tf32: bool = False,
    serialize: bool = False,
    threads: int | Sequence[int] | None = None,
    steps: int = 10,
    warmup: int = 3,
    seed: int = 0,
    purpose: Purpose = "onnxruntime",
    verify: bool = True,
    native: bool = True,
    checked_steps: int = 1,
    on_event: OnEvent | None = None,
    on_wait: Callable[[str], None] | None = None,
    stages: Stages = STAGES,
    workers: Callable[[Path], AbstractContextManager[Workers]] = ProcessWorkers,
) -> StudyResult:
    """Export, verify, run and compare workloads from several frameworks, and write a report.

    Work that was already done with the same inputs (configuration, versions, source, machine, options) is not done
    again, so an interrupted study goes on where it was. A cell that fails is recorded and does not stop the others.
    Graphs are made one framework a process, side by side; runs are measured one at a time with nothing beside them:
    while another study or sweep runs on this machine, this one waits.

    Args:
        folder: Where everything goes: ``graphs/``, ``runs/``, ``cells/`` (what is done), ``logs/``, ``report.html``,
            ``study.json``, the tables (``docs/guide/study.md``).
        preset: Preset of every workload.
        workloads: Their names, or all.
        frameworks: Their names, or all that have an exporter.
        modes: ``inference``, ``training``, or both.
        ep: Execution providers, or ``all`` or None for every one that can be used here. The figures and verdicts are
            about the CPU where it is among them, and the others are set against it.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch on CUDA waits for its kernel, for where the device cannot be recorded.
        threads: Threads inside one operator; 1 and all the cores this process may use when not given. Of several, the
            largest number is that of the figures and verdicts, and the others, of at most :data:`BRIEF_STEPS` steps,
            show how ops scale on the CPU.
        steps: Steps of each run that are counted.
        warmup: Steps before them that are not.
        seed: Of weights and batches.
        purpose: What the graphs are for.
        verify: Whether graphs are checked against their frameworks and against each other.
        native: Whether the frameworks run the same steps themselves, with the largest number of threads and at most
            :data:`BRIEF_STEPS` steps.
        checked_steps: Steps of each such check.
        on_event: Told what happens.
        on_wait: Told in one line that another measurement must end first.
        stages: What is done to a cell.
        workers: What does it; given the folder for logs.

    Raises:
        UnknownNameError: A workload, framework, mode, preset, provider that there is not.
        UsageError: A number that cannot work, or nothing to study.
        MissingDependencyError: A provider that was named is absent.
        RunError: A provider that was named does not work here.
        OutputError: The folder cannot be written to.
    """
    from .outputs import write_if_changed  # draws: matplotlib is imported where a study is made only

    given = (1, cpu_cores()) if threads is None else (threads,) if isinstance(threads, int) else tuple(threads)
    counts = sorted(set(given))
    if not counts or min(*counts, steps, checked_steps) < 1 or warmup < 0:
        raise UsageError(
            f"a study cannot have {', '.join(map(str, counts)) or 'no'} threads, {steps} steps after {warmup}",
            "give 1 or more threads and steps",
        )
    chosen = cells(preset, workloads, frameworks, modes)
    if not chosen:
        raise UsageError("there is nothing to study", "name at least one workload, framework and mode")
    providers = choose(ep)
    refuse_for_nothing(providers.names, tf32, serialize)
    place = ensure_folder(Path(folder).absolute())
    first, *others = providers.names
    options = Options(
        preset=preset,
        ep=first,
        threads=counts[-1],
        warmup=warmup,
        steps=steps,
        seed=seed,
        purpose=purpose,
        checked_steps=checked_steps,
    )
    if not verify:
        stages = replace(stages, verify=None, compare=None)
    main = [Job(cell, on_provider(options, first, cell.mode, tf32, serialize), place) for cell in chosen]
    brief = replace(options, ep="cpu", steps=min(steps, BRIEF_STEPS), warmup=min(warmup, BRIEF_WARMUP))
    # threads inside an operator are the CPU's
    fewer = [
        Job(cell, replace(brief, threads=n), place, note=f"threads={n}")
        for n in counts[:-1]
        for cell in chosen
        if first == "cpu"
    ]
    elsewhere = [
        Job(cell, on_provider(options, name, cell.mode, tf32, serialize), place, note=f"on {name}")
        for name in others
        for cell in chosen
    ]
    known = native_frameworks() if native else ()
    itself = [Job(cell, brief, place, note="in the framework") for cell in chosen if cell.framework in known]
    with machine_lock(place, say=on_wait), workers(place / "logs") as crew:
        engine = Engine(place, crew, on_event or (lambda event: None))
        made = carry_out(engine, [*main, *fewer, *elsewhere], stages, itself)
        runs, with_fewer, further = (
            made.cells[: len(main)],
            made.cells[len(main) : len(main) + len(fewer)],
            made.cells[len(main) + len(fewer) :],
        )
        ran = [cell.job for cell in (*runs, *further) if cell.done]
        ceilings = measured_ceilings(engine, stages.ceilings, ran)
    result = StudyResult(
        folder=place,
        options=options,
        cells=runs,
        fewer=with_fewer,
        elsewhere=further,
        left_out=providers.left_out,
        natives=made.natives,
        checks=made.checks,
        verified=stages.verify is not None or stages.compare is not None,
        failures=tuple(engine.failures),
        reused=engine.reused,
        worked=engine.worked,
        ceilings=ceilings,
    )
    asked = {"--tf32": tf32, "--serialize": serialize, "--no-verify": not verify, "--no-native": not native}
    flags = [flag for flag, is_asked in asked.items() if is_asked]
    write_if_changed(engine.store, result, _commands(Path(folder), options, providers.names, counts, chosen, flags))
    return result
