"""Verification: does a graph compute what its framework computes, and do two frameworks' graphs compute the same?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, islice

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
from .pair import Side, Widened, pair_errors
from .subject import Subject, make_subject

__all__ = ["verify", "verify_pair", "verify_pairs"]

Progress = Callable[[str], None]
_StepJudge = Callable[[Mapping[str, Array]], tuple[Errors, Callable[[], StepResult]]]
"""From a step's values to its errors, and what makes the step whose new state the next one starts from."""


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
    subject: Subject,
    judge: _StepJudge,
    start: Mapping[str, Array],
    feeds: Iterable[Mapping[str, Array]],
    steps: int,
    progress: Progress,
) -> Errors:
    """The errors of some steps, each from the state that the graph itself reached; the first one from ``start``."""
    workload, mode = subject.workload, subject.mode
    state, errors = dict(start), Errors()
    for number, feed in zip(range(1, steps + 1), feeds, strict=False):
        progress(f"step {number} of {steps}")
        more, result = judge({**feed, **state})
        errors = errors.max(more)
        if number < steps:
            state = _carried(workload, mode, state, result())
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
    errors = _judged_steps(subject, judge.step, start, _feeds(workload, mode, seed), steps, progress)
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
    pairs = verify_pairs(
        workload,
        frameworks,
        mode,
        steps=steps,
        seed=seed,
        settings=settings,
        purpose=purpose,
        opset=opset,
        graphs=graphs,
        progress=progress,
    )
    return pairs[0]


def verify_pairs(
    workload: Workload,
    frameworks: Sequence[str],
    mode: Mode,
    *,
    steps: int = 5,
    seed: int = 0,
    settings: SessionSettings = DEFAULT_SETTINGS,
    purpose: Purpose = "simulators",
    opset: int = OPSET,
    graphs: Sequence[Graph | None] = (),
    progress: Progress = lambda _: None,
) -> list[Check]:
    """Judge the graphs of every two of several frameworks as :func:`verify_pair` does; the earlier one is right.

    The first step of each pair starts from the same values: each graph is read once for it, and not once a pair.

    Args:
        workload: The workload.
        frameworks: The frameworks, at least two.
        mode: ``inference`` or ``training``.
        steps: Steps to compare.
        seed: Of weights and batches.
        settings: How graphs run.
        purpose: Purpose of graphs that are exported.
        opset: Opset of graphs that are exported.
        graphs: The graph of each framework, None for one that is to be exported; all are where none are given.
        progress: Called with what is being done.

    Raises:
        ExportError: A graph cannot be made, one given is another's, or two do not have the same interface.
        RunError: A graph cannot be run.
    """
    given = graphs or [None] * len(frameworks)
    widened = Widened()
    sides = [
        Side(make_subject(workload, framework, mode, settings, purpose, graph, opset), widened)
        for framework, graph in zip(frameworks, given, strict=True)
    ]
    for first, second in combinations(sides, 2):
        _check_interface(first.subject, second.subject)
    start, feeds = workload.initial_values(mode, seed), list(islice(_feeds(workload, mode, seed), steps))
    checks = []
    for number, first in enumerate(sides):
        for second in sides[number + 1 :]:
            judge: _StepJudge = partial(pair_errors, first, second)
            errors = _judged_steps(second.subject, judge, start, feeds, steps, progress)
            check = Check(
                workload=workload.name,
                mode=mode,
                left=f"{second.subject.framework} graph",
                right=f"{first.subject.framework} graph",
                steps=steps,
            )
            checks.append(check.with_errors(errors))
        first.forget()
    return checks


def _check_interface(first: Subject, second: Subject) -> None:
    """Refuse two graphs that do not take and give the same tensors.

    Raises:
        ExportError: They do not.
    """
    for kind, left, right in (
        ("inputs", first.graph.inputs, second.graph.inputs),
        ("outputs", first.graph.outputs, second.graph.outputs),
    ):
        if left != right:
            raise ExportError(
                f"the {kind} of the {first.workload.name} graphs of {first.framework} and {second.framework} differ"
            )
