"""Verification: does a graph compute what its framework computes, and do two frameworks' graphs compute the same?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from fathom_onnx.data import batches_for
from fathom_onnx.errors import ExportError, RunError
from fathom_onnx.exporting import OPSET, Purpose, StepResult
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS, SessionSettings
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .check import Check, Errors
from .compare import relative_error
from .judge import Judge
from .pair import pair_errors
from .subject import Subject, make_subject

__all__ = ["verify", "verify_pair"]

Progress = Callable[[str], None]
_StepJudge = Callable[[Mapping[str, Array]], tuple[Errors, StepResult]]
"""From a step's values to its errors, and the step whose new state the next one starts from."""


def _feeds(workload: Workload, mode: Mode, seed: int) -> Iterator[dict[str, Array]]:
    """Batch and noise of one step after the other."""
    rng = np.random.default_rng(seed)
    for batch in batches_for(workload, mode, seed):
        noise = {n.name: n.spec.draw.sample(n.shape, "float32", rng) for n in workload.noise.get(mode, ())}
        yield {**batch, **noise}


def _carried(workload: Workload, mode: Mode, state: Mapping[str, Array], result: StepResult) -> dict[str, Array]:
    new = {v.name: result.outputs[v.next.name].astype(v.dtype) for v in workload.carried(mode)}
    return {**state, **new}


def _judged_steps(
    subject: Subject, judge: _StepJudge, start: Mapping[str, Array], steps: int, seed: int, progress: Progress
) -> Errors:
    """The errors of some steps, each from the state that the graph itself reached; the first one from ``start``."""
    workload, mode = subject.workload, subject.mode
    state, errors = dict(start), Errors()
    for number, feed in zip(range(steps), _feeds(workload, mode, seed), strict=False):
        progress(f"step {number + 1} of {steps}")
        more, result = judge({**feed, **state})
        errors = errors.max(more)
        state = _carried(workload, mode, state, result)
    return errors


def _free_run(
    subject: Subject,
    start: Mapping[str, Array],
    steps: int,
    seed: int,
    first: tuple[Array, Array, Array] | None,
) -> tuple[tuple[float, float], ...]:
    """Losses of a free run: (graph, framework in float32) relative errors per step, against float64.

    A free run of one step is the step that was judged, whose losses are ``first``: it is not run again.

    Raises:
        RunError: The framework's own loss is no number at the start, which any graph without numbers would equal.
    """
    if steps == 1 and first is not None:
        return (_drift(subject, first, at_start=True),)
    workload = subject.workload
    runs: list[Callable[[Mapping[str, Array]], StepResult]] = [
        subject.reference().step,
        subject.evaluator.step,
        subject.reference(double=False).step,
    ]
    states: list[dict[str, Array]] = [dict(start) for _ in runs]
    rows: list[tuple[float, float]] = []
    for feed, _ in zip(_feeds(workload, "training", seed), range(steps), strict=False):
        losses = []
        for index, run in enumerate(runs):
            result = run({**feed, **states[index]})
            states[index] |= {v.name: result.outputs[v.next.name] for v in workload.carried("training")}
            losses.append(result.outputs[Workload.LOSS])
        rows.append(_drift(subject, losses, at_start=not rows))
    return tuple(rows)


def _drift(subject: Subject, losses: Sequence[Array], at_start: bool) -> tuple[float, float]:
    """Relative errors of the graph's loss and of the framework's in float32, the second and third, against the first.

    Raises:
        RunError: The first is no number at the start.
    """
    exact, graph, native = losses
    if at_start and not np.isfinite(exact).all():
        raise RunError(
            f"the loss is {float(exact)} in {subject.framework} itself, so that nothing can be judged",
            "give a batch and starting values for which it is a number",
        )
    return relative_error(graph, exact), relative_error(native, exact)


def verify(
    workload: Workload,
    framework: str,
    mode: Mode,
    *,
    steps: int = 5,
    seed: int = 0,
    settings: SessionSettings = DEFAULT_SETTINGS,
    purpose: Purpose = "simulators",
    opset: int = OPSET,
    graph: Graph | None = None,
    progress: Progress = lambda _: None,
) -> Check:
    """Judge a framework's graph against the framework itself.

    In training, each of ``steps`` steps starts from the state the graph itself reached, so that every one of them is
    a comparison from the same values; a free run of as many steps is reported beside it.

    Args:
        workload: The workload.
        framework: The framework.
        mode: ``inference`` or ``training``.
        steps: Steps to compare.
        seed: Of weights and batches.
        settings: How the graph runs: provider, threads.
        purpose: Purpose of the graph that is exported.
        opset: Opset of the graph that is exported.
        graph: The graph to judge, with noise as input; exported when not given.
        progress: Called with what is being done.

    Raises:
        ExportError: The graph cannot be made, or the one given is another workload's, mode's or framework's, draws
            its noise itself, or names no gradients.
        RunError: The graph cannot be run, or the framework's own loss is no number.
        MissingDependencyError: The framework or onnxruntime is not installed.
    """
    subject = make_subject(workload, framework, mode, settings, purpose, graph, opset)
    start, judge = workload.initial_values(mode, seed), Judge(subject, seed)
    errors = _judged_steps(subject, judge.step, start, steps, seed, progress)
    losses: tuple[tuple[float, float], ...] = ()
    if mode == "training":
        progress("free run")
        losses = _free_run(subject, start, steps, seed, judge.first_losses)
    check = Check(
        workload=workload.name,
        mode=mode,
        left=f"{framework} graph",
        right=framework,
        steps=steps,
        free_losses=losses,
    )
    return check.with_errors(errors)


def verify_pair(
    workload: Workload,
    frameworks: tuple[str, str],
    mode: Mode,
    *,
    steps: int = 5,
    seed: int = 0,
    settings: SessionSettings = DEFAULT_SETTINGS,
    purpose: Purpose = "simulators",
    opset: int = OPSET,
    graphs: tuple[Graph | None, Graph | None] = (None, None),
    progress: Progress = lambda _: None,
) -> Check:
    """Judge the second framework's graph against the first framework's: same interface, same values, same results.

    Both are read in float64; neither framework is needed. For the arguments see :func:`verify`.

    Raises:
        ExportError: A graph cannot be made, one given is another's, or the two do not have the same interface.
        RunError: A graph cannot be run.
    """
    first, second = (
        make_subject(workload, framework, mode, settings, purpose, graph, opset)
        for framework, graph in zip(frameworks, graphs, strict=True)
    )
    for kind, left, right in (
        ("inputs", first.graph.inputs, second.graph.inputs),
        ("outputs", first.graph.outputs, second.graph.outputs),
    ):
        if left != right:
            raise ExportError(f"the {kind} of the {workload.name} graphs of {frameworks[0]} and {frameworks[1]} differ")

    def judge(values: Mapping[str, Array]) -> tuple[Errors, StepResult]:
        return pair_errors(first, second, values)

    errors = _judged_steps(second, judge, workload.initial_values(mode, seed), steps, seed, progress)
    check = Check(
        workload=workload.name,
        mode=mode,
        left=f"{frameworks[1]} graph",
        right=f"{frameworks[0]} graph",
        steps=steps,
    )
    return check.with_errors(errors)
