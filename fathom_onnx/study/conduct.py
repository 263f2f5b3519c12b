"""A study from start to end: export, verify, compare, profile, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import Purpose
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.processes import refuse_during_import
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.study.cells.chosen import choose_cells
from fathom_onnx.study.cells.command_lines import command_lines
from fathom_onnx.study.cells.plan import OnEvent, Options, Role
from fathom_onnx.study.engine.engine import Engine
from fathom_onnx.study.engine.lock import machine_lock
from fathom_onnx.study.engine.pipeline import carry_out, compile_steps, measure_machine
from fathom_onnx.study.engine.providers import choose, refuse_unused_settings
from fathom_onnx.study.engine.stages import STAGES, Stages
from fathom_onnx.study.engine.workers import ProcessWorkers, Workers

from .jobs import compiled_jobs, study_jobs
from .result import StudyResult

__all__ = ["ROUNDS", "STEPS", "WARMUP", "run_study"]

ROUNDS, STEPS, WARMUP = 3, 4, 2
"""Rounds, and steps that are counted in each after those of its warm-up."""


def _thread_counts(threads: int | Sequence[int] | None) -> list[int]:
    """Numbers of threads, each once, the largest last; 1 and all the cores this process may use for None."""
    given = (1, cpu_cores()) if threads is None else (threads,) if isinstance(threads, int) else threads
    return sorted(set(given))


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
    rounds: int = ROUNDS,
    steps: int = STEPS,
    warmup: int = WARMUP,
    seed: int = 0,
    purpose: Purpose = "onnxruntime",
    verify: bool = True,
    native: bool = True,
    compiled: bool = False,
    values: str | Path | None = None,
    checked_steps: int = 1,
    target_options: Mapping[str, Any] | None = None,
    on_event: OnEvent | None = None,
    on_wait: Callable[[str], None] | None = None,
    stages: Stages = STAGES,
    workers: Callable[[Path], AbstractContextManager[Workers]] = ProcessWorkers,
) -> StudyResult:
    """Export, verify, run and compare workloads from several frameworks, and write a report.

    Work that was already done with the same inputs (configuration, versions, source, machine, options) is not
    repeated, so an interrupted study resumes where it stopped. A cell that fails is recorded and does not stop the
    others. Graphs are made one framework a process, side by side; runs are measured one at a time while nothing else
    runs: while another study or sweep measures on this machine, this one waits.

    Args:
        folder: The study's folder: ``graphs/``, ``rounds/``, ``runs/``, ``cells/`` (stored results), ``logs/``,
            ``report.html``, ``study.json``, the tables (``docs/guide/study.md``).
        preset: Preset of every workload.
        workloads: Their names, or those of the usual suite; targets (``FILE.py:build``) stand for models of one's own,
            which are verified, run and placed among the workloads, and are no part of the framework question, the
            claims or the native runs.
        frameworks: Their names, or the usual ones, PyTorch and TensorFlow, for None.
        modes: ``inference``, ``training``, or both.
        ep: Execution providers, or ``all`` or None for every one that can be used on this machine. The figures and
            verdicts are about the CPU if it is among them; the others are compared with it.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch on CUDA waits for its kernel, where the device cannot be recorded.
        threads: Threads inside one operator; 1 and all the cores this process may use when not given. The figures and
            verdicts are about the largest number; runs with the others, of :data:`~.jobs.BRIEF_STEPS` steps or so,
            show how ops scale on the CPU.
        rounds: How often each run is measured, each time in a process of its own and after all the others were.
        steps: Steps of each round that are counted.
        warmup: Steps before them that are not counted.
        seed: Seed of weights and batches.
        purpose: What the graphs are for.
        verify: Whether graphs are checked against their frameworks and against each other.
        native: Whether the frameworks run the same steps themselves, with the largest number of threads and
            :data:`~.jobs.BRIEF_STEPS` steps or so.
        compiled: Whether the frameworks' own compilers make the steps too, whose times are compared; each is measured
            once, after all rounds.
        values: Folder with checkpoints of training runs in ``WORKLOAD-FRAMEWORK`` or ``WORKLOAD``: cells of these are
            run with their values as well, on the first provider, and what changes of their times is told.
        checked_steps: Steps of each such check.
        target_options: Arguments of the functions that targets name.
        on_event: Called with each event.
        on_wait: Called, with one line of text, when another measurement must end first.
        stages: What is done for a cell.
        workers: Makes the workers that do it, from the folder for logs.

    Raises:
        UnknownNameError: No such workload, framework, mode, preset or provider.
        UsageError: A number that cannot work, nothing to study, or a script that calls this without the guard
            ``if __name__ == "__main__":``, which the processes that work for a study import.
        MissingDependencyError: A named provider is not installed.
        RunError: A named provider does not work on this machine.
        DataError: There is no checkpoint for any cell, or one cannot be read.
        OutputError: The folder cannot be written to.
    """
    refuse_during_import("run_study")
    from .outputs import write_if_changed  # with the report comes matplotlib, which takes a second to import

    thread_counts = _thread_counts(threads)
    if not thread_counts or min(*thread_counts, rounds, steps, checked_steps) < 1 or warmup < 0:
        raise UsageError(
            f"a study cannot have {', '.join(map(str, thread_counts)) or 'no'} threads, {rounds} rounds of {steps} "
            f"steps after {warmup}",
            "give 1 or more threads, rounds and steps",
        )
    checkpoints = None if values is None else Path(values)
    chosen = choose_cells(preset, workloads, frameworks, modes, target_options or {}, checkpoints)
    providers = choose(ep)
    refuse_unused_settings(providers.names, tf32, serialize)
    study_folder = ensure_folder(Path(folder).absolute())
    options = Options(
        preset=preset,
        ep=providers.names[0],
        threads=thread_counts[-1],
        warmup=warmup,
        steps=steps,
        seed=seed,
        purpose=purpose,
        checked_steps=checked_steps,
    )
    on_cuda = replace(options, tf32=tf32, serialize=serialize)
    plan = study_jobs(study_folder, on_cuda, providers.names, thread_counts, chosen, rounds, native)
    if not verify:
        stages = replace(stages, verify=None, compare=None)
    switches = {"--tf32": tf32, "--serialize": serialize, "--no-verify": not verify, "--no-native": not native}
    switches["--compiled"] = compiled
    flags = [flag for flag, is_given in switches.items() if is_given]
    flags += ["--values", str(values)] if values is not None else []
    commands = command_lines(Path(folder), options, providers.names, thread_counts, chosen, rounds, flags)
    with machine_lock(study_folder, on_wait=on_wait), workers(study_folder / "logs") as crew:
        engine = Engine(study_folder, crew, on_event or (lambda event: None))
        done = carry_out(engine, plan, stages, rounds)
        measured = [run.job for run in done.runs if run.done and run.job.role in (Role.MAIN, Role.OTHER_PROVIDER)]
        made = compile_steps(engine, compiled_jobs(plan) if compiled else [], stages)
        ceilings = measure_machine(engine, stages.ceilings, measured)
        result = StudyResult(
            folder=study_folder,
            options=options,
            runs=(*done.runs, *made),
            left_out=providers.left_out,
            checks=done.checks,
            verified=stages.verify is not None or stages.compare is not None,
            failures=tuple(engine.failures),
            reused=engine.reused,
            worked=engine.worked,
            ceilings=ceilings,
            rounds=rounds,
        )
        write_if_changed(engine, result, commands)
    return result
