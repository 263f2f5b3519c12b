"""The jobs of a study: what is measured, where, with how many threads and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fathom_onnx.native import native_frameworks
from fathom_onnx.study.cells.chosen import Chosen
from fathom_onnx.study.cells.plan import Job, Options, Role
from fathom_onnx.study.engine.providers import on_provider

__all__ = ["BRIEF_STEPS", "BRIEF_WARMUP", "compiled_jobs", "study_jobs"]

BRIEF_STEPS, BRIEF_WARMUP = 5, 1
"""Steps of the runs with fewer threads, and in all rounds together of the frameworks' own runs, and those of warm-up in
each; each of the latter is done three times (with the framework's rewriting, without it, and with its profiler)."""


def study_jobs(
    folder: Path,
    options: Options,
    providers: Sequence[str],
    thread_counts: Sequence[int],
    chosen: Chosen,
    rounds: int,
    native: bool,
) -> list[Job]:
    """The jobs of a study.

    Args:
        folder: The study's folder.
        options: How the main runs are done; those of CUDA where they differ between providers.
        providers: Names, the first one that figures and verdicts are about.
        thread_counts: Threads inside one operator, the number of the main runs last.
        chosen: The cells.
        rounds: How often each run is measured.
        native: Whether the frameworks run the same steps themselves.
    """
    first, *others = providers
    base = replace(options, tf32=False, serialize=False)
    brief = replace(base, ep="cpu", steps=min(options.steps, BRIEF_STEPS), warmup=min(options.warmup, BRIEF_WARMUP))
    native_brief = replace(brief, steps=min(options.steps, -(-BRIEF_STEPS // rounds)))
    cuda = {"tf32": options.tf32, "serialize": options.serialize}
    plan: list[Job] = []
    for cell in chosen.cells:
        main = Job(cell, on_provider(base, first, cell.mode, **cuda), folder)
        plan.append(main)
        if cell in chosen.checkpoint_of:  # measured one after the other, so that the machine is the same for both
            plan.append(replace(main, role=Role.TRAINED, values=chosen.checkpoint_of[cell]))
    if first == "cpu":  # threads inside an operator are the CPU's
        plan += [
            Job(cell, replace(brief, threads=threads), folder, Role.FEWER_THREADS)
            for threads in thread_counts[:-1]
            for cell in chosen.cells
        ]
    plan += [
        Job(cell, on_provider(base, provider, cell.mode, **cuda), folder, Role.OTHER_PROVIDER)
        for provider in others
        for cell in chosen.cells
    ]
    frameworks = native_frameworks() if native else ()
    plan += [
        Job(cell, native_brief, folder, Role.NATIVE)
        for cell in chosen.cells
        if cell.framework in frameworks and cell not in chosen.model_of
    ]
    return [replace(job, own=chosen.model_of.get(job.cell)) for job in plan]


def compiled_jobs(plan: Sequence[Job]) -> list[Job]:
    """The jobs of compiled steps, as long as the main runs: each compilation takes longer than its steps anyway."""
    known = native_frameworks()
    main = [job for job in plan if job.role is Role.MAIN and job.own is None and job.cell.framework in known]
    return [replace(job, role=Role.COMPILED, options=replace(job.options, ep="cpu")) for job in main]
