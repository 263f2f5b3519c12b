"""A study from start to end: export, verify, compare, profile, report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import Purpose, usual_frameworks
from fathom_onnx.exporting import frameworks as known_frameworks
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.native import native_frameworks
from fathom_onnx.processes import refuse_during_import
from fathom_onnx.recipes.target import is_target
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.study.cells.own_models import OwnModel, own_models
from fathom_onnx.study.cells.plan import Cell, Job, OnEvent, Options, Role, cells, own_cells
from fathom_onnx.study.cells.trained import checkpoints_of
from fathom_onnx.study.engine.engine import Engine
from fathom_onnx.study.engine.lock import machine_lock
from fathom_onnx.study.engine.pipeline import carry_out, compile_steps, measure_machine
from fathom_onnx.study.engine.providers import choose, on_provider, refuse_unused_settings
from fathom_onnx.study.engine.stages import STAGES, Stages
from fathom_onnx.study.engine.workers import ProcessWorkers, Workers
from fathom_onnx.workloads import names

from .result import StudyResult

__all__ = ["BRIEF_STEPS", "BRIEF_WARMUP", "ROUNDS", "STEPS", "WARMUP", "run_study"]

ROUNDS, STEPS, WARMUP = 3, 4, 2
"""Rounds, and steps that are counted in each after those of its warm-up."""

BRIEF_STEPS, BRIEF_WARMUP = 5, 1
"""Steps of the runs with fewer threads, and in all rounds together of the frameworks' own runs, and those of warm-up in
each; each of the latter is done three times (with the framework's rewriting, without it, and with its profiler)."""


def _commands(
    folder: Path,
    options: Options,
    providers: Sequence[str],
    thread_counts: Sequence[int],
    chosen: Sequence[Cell],
    own: Sequence[OwnModel],
    rounds: int,
    flags: Sequence[str],
) -> list[str]:
    """The command lines that repeat the study: one, or one a framework where some but not all of them are chosen.

    Models of the user's own are of one framework each, and in the line of that.
    """
    used = list(dict.fromkeys(c.framework for c in chosen))
    modes = list(dict.fromkeys(c.mode for c in chosen))
    common = ["--mode", modes[0] if len(modes) == 1 else "all", "--ep", ",".join(providers)]
    common += ["--threads", ",".join(map(str, thread_counts))]
    common += ["--rounds", str(rounds)]
    for name in ("steps", "warmup", "seed"):
        common += [f"--{name}", str(getattr(options, name))]
    common += flags
    names = {model.name for model in own}
    start = ["fathom-onnx", "study"]
    place = ["-o", str(folder), "--preset", options.preset] if len(names) < len({c.workload for c in chosen}) else []
    place = place or ["-o", str(folder)]
    place += [part for n, v in (own[0].target.options if own else ()) for part in ("--set", f"{n}={v}")]
    several = {"all": set(known_frameworks()), "usual": set(usual_frameworks())}
    as_one = next(([name] for name, group in several.items() if len(used) > 1 and set(used) == group), used)
    lines = []
    for name in as_one:
        workloads = dict.fromkeys(c.workload for c in chosen if c.workload not in names)
        targets = [model.target.text for model in own if name in (*several, model.framework)]
        lines.append(shlex.join([*start, *workloads, *targets, *place, "--framework", name, *common]))
    return lines


def _plan(
    folder: Path,
    options: Options,
    providers: Sequence[str],
    thread_counts: Sequence[int],
    chosen: Sequence[Cell],
    native: bool,
    own: Mapping[Cell, OwnModel],
    rounds: int,
    trained: Mapping[Cell, Path],
) -> list[Job]:
    """The jobs of a study, whose options are those of CUDA where they differ between providers."""
    first, *others = providers
    base = replace(options, tf32=False, serialize=False)
    brief = replace(base, ep="cpu", steps=min(options.steps, BRIEF_STEPS), warmup=min(options.warmup, BRIEF_WARMUP))
    native_brief = replace(brief, steps=min(options.steps, -(-BRIEF_STEPS // rounds)))
    cuda = {"tf32": options.tf32, "serialize": options.serialize}
    plan: list[Job] = []
    for cell in chosen:
        main = Job(cell, on_provider(base, first, cell.mode, **cuda), folder)
        plan.append(main)
        if cell in trained:  # measured one after the other, so that the machine is the same for both
            plan.append(replace(main, role=Role.TRAINED, values=trained[cell]))
    if first == "cpu":  # threads inside an operator are the CPU's
        plan += [
            Job(cell, replace(brief, threads=threads), folder, Role.FEWER_THREADS)
            for threads in thread_counts[:-1]
            for cell in chosen
        ]
    plan += [
        Job(cell, on_provider(base, provider, cell.mode, **cuda), folder, Role.OTHER_PROVIDER)
        for provider in others
        for cell in chosen
    ]
    frameworks = native_frameworks() if native else ()
    plan += [
        Job(cell, native_brief, folder, Role.NATIVE)
        for cell in chosen
        if cell.framework in frameworks and cell not in own
    ]
    return [replace(job, own=own.get(job.cell)) for job in plan]


def _compiled_plan(plan: Sequence[Job]) -> list[Job]:
    """The jobs of compiled steps, as long as the main runs: each compilation takes longer than its steps anyway."""
    known = native_frameworks()
    main = [job for job in plan if job.role is Role.MAIN and job.own is None and job.cell.framework in known]
    return [replace(job, role=Role.COMPILED, options=replace(job.options, ep="cpu")) for job in main]


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
            verdicts are about the largest number; runs with the others, of :data:`BRIEF_STEPS` steps or so, show how
            ops scale on the CPU.
        rounds: How often each run is measured, each time in a process of its own and after all the others were.
        steps: Steps of each round that are counted.
        warmup: Steps before them that are not counted.
        seed: Seed of weights and batches.
        purpose: What the graphs are for.
        verify: Whether graphs are checked against their frameworks and against each other.
        native: Whether the frameworks run the same steps themselves, with the largest number of threads and
            :data:`BRIEF_STEPS` steps or so.
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

    given = (1, cpu_cores()) if threads is None else (threads,) if isinstance(threads, int) else tuple(threads)
    thread_counts = sorted(set(given))
    if not thread_counts or min(*thread_counts, rounds, steps, checked_steps) < 1 or warmup < 0:
        raise UsageError(
            f"a study cannot have {', '.join(map(str, thread_counts)) or 'no'} threads, {rounds} rounds of {steps} "
            f"steps after {warmup}",
            "give 1 or more threads, rounds and steps",
        )
    targets = [name for name in workloads or () if is_target(name)]
    usual = None if workloads is None else [name for name in workloads if not is_target(name)]
    if target_options and not targets:
        raise UsageError("options are for models of your own, and there is none", "name a FILE.py:build")
    chosen = cells(preset, usual, frameworks if usual != [] else None, modes)
    trained = {} if values is None else checkpoints_of(Path(values).absolute(), chosen, preset)
    own = own_models(targets, target_options or {}, frameworks, names())
    model_of = dict(own_cells(own, modes))
    chosen = (*chosen, *model_of)
    if not chosen:
        raise UsageError("there is nothing to study", "name at least one workload, framework and mode")
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
    plan = _plan(
        study_folder,
        replace(options, tf32=tf32, serialize=serialize),
        providers.names,
        thread_counts,
        chosen,
        native,
        model_of,
        rounds,
        trained,
    )
    if not verify:
        stages = replace(stages, verify=None, compare=None)
    switches = {"--tf32": tf32, "--serialize": serialize, "--no-verify": not verify, "--no-native": not native}
    switches["--compiled"] = compiled
    flags = [flag for flag, is_given in switches.items() if is_given]
    flags += ["--values", str(values)] if values is not None else []
    commands = _commands(Path(folder), options, providers.names, thread_counts, chosen, own, rounds, flags)
    with machine_lock(study_folder, on_wait=on_wait), workers(study_folder / "logs") as crew:
        engine = Engine(study_folder, crew, on_event or (lambda event: None))
        done = carry_out(engine, plan, stages, rounds)
        measured = [run.job for run in done.runs if run.done and run.job.role in (Role.MAIN, Role.OTHER_PROVIDER)]
        made = compile_steps(engine, _compiled_plan(plan) if compiled else [], stages)
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
