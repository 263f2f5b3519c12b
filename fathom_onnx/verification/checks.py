"""Verification: does a graph compute what its framework computes, and do two frameworks' graphs compute the same?

A graph runs in float32; the reference is the framework's own step in float64 on the same values. Where a value lies
within rounding of a kink (the sign of a ReLU's input, the winner of a max-pool window) the two may take different
branches, and then gradients differ by far more than rounding. Such flips are counted, each must be as near to the kink
as rounding explains, and the float64 step is run again with the graph's own branches: it is then smooth, and everything
has to agree within the limits.

Adam divides each gradient by its own size, so a parameter whose gradient is nearly zero moves by a full learning rate
in a direction that rounding decides. A new parameter is therefore judged in two parts: the new moments against
float64, and the parameter against the update rule in float64 applied to those moments. The plain difference is
reported beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fathom_onnx.data import batches_for
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import Kink, Purpose, Reference, StepResult
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS, SessionSettings
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .compare import Flips, Worst, change_error, find_flips, relative_error, worst_of
from .subject import Subject, make_subject

__all__ = ["FLIP_LIMIT", "LOSS_LIMIT", "TENSOR_LIMIT", "Check", "verify", "verify_pair"]

LOSS_LIMIT = 1e-5
"""Relative error of the loss."""
TENSOR_LIMIT = 1e-4
"""Error of a parameter, state or output tensor, relative to its largest value."""
FLIP_LIMIT = 1e-4
"""How far from its branch point a flipped value may have been, relative to its layer's largest value."""

DRIFT_FACTOR = 10
"""How many times farther from float64 than the framework's own float32 the losses of a free run may drift."""

Progress = Callable[[str], None]
_Judge = Callable[[Mapping[str, Array], StepResult], tuple[StepResult, Flips]]
"""From a step's inputs and its result: the reference's result on the same branches, and the flips."""


@dataclass(frozen=True)
class Check:
    """The outcome of one comparison.

    Attributes:
        workload: Workload name.
        mode: ``inference`` or ``training``.
        left: The side that was judged, for example ``torch graph``.
        right: The side it was judged against, for example ``torch float64``.
        steps: Steps compared, each from the same values.
        loss_error: Largest relative error of the loss over the steps (training).
        parameter: Worst new parameter (training): against the update rule on the graph's own moments where the rule is
            ill-conditioned, else by the change it made, relative to the largest change.
        parameter_plain: Worst new parameter by plain difference, Adam's amplification included (training).
        amplified: Parameter elements over the limit by plain difference (training).
        state: Worst optimizer state or running statistic (training), or output (inference).
        flips: Branches taken differently.
        free_losses: Per step of a free run from the same start: the graph's relative loss error and the framework's
            own in float32, both against float64 (training).
        faults: Every quantity over its limit; empty when the check passed.
    """

    workload: str
    mode: Mode
    left: str
    right: str
    steps: int
    loss_error: float = 0.0
    parameter: Worst = field(default_factory=Worst)
    parameter_plain: Worst = field(default_factory=Worst)
    amplified: int = 0
    state: Worst = field(default_factory=Worst)
    flips: Flips = field(default_factory=Flips)
    free_losses: tuple[tuple[float, float], ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything is within its limit."""
        return not self.faults

    def json(self) -> dict[str, Any]:
        """The check as a JSON object."""
        return {**asdict(self), "passed": self.passed}


def _feeds(workload: Workload, mode: Mode, seed: int) -> Iterator[dict[str, Array]]:
    """Batch and noise of one step after the other."""
    rng = np.random.default_rng(seed)
    for batch in batches_for(workload, mode, seed):
        noise = {n.name: n.spec.draw.sample(n.shape, "float32", rng) for n in workload.noise.get(mode, ())}
        yield {**batch, **noise}


def _carried(workload: Workload, state: Mapping[str, Array], result: StepResult) -> dict[str, Array]:
    new = {v.name: result.outputs[v.next.name].astype(v.dtype) for v in workload.carried("training")}
    return {**state, **new}


def _bounds(workload: Workload) -> dict[str, tuple[float, float]]:
    return {layer.name: layer.bounds for layer in workload.layers if layer.kink == "Clip"}


def _same_branches(
    workload: Workload,
    expected: StepResult,
    reference: Callable[[], Reference],
    values: Mapping[str, Array],
    actual: StepResult,
) -> tuple[StepResult, Flips]:
    """``expected`` or, where branches differ, the reference's step on the branches of ``actual``; and the flips."""
    flips = find_flips(actual.kinks, expected.kinks, _bounds(workload))
    if flips.count:
        free, expected = expected, _on_branches(reference(), values, actual)
        flips = find_flips(actual.kinks, _own_choices(free, expected), _bounds(workload))
    return expected, flips


def _on_branches(reference: Reference, values: Mapping[str, Array], actual: StepResult) -> StepResult:
    return reference.step(values, {key: kink.branches for key, kink in actual.kinks.items()})


def _own_choices(free: StepResult, forced: StepResult) -> dict[str, Kink]:
    """The reference's own choice at each kink, given the branches it was forced to take before.

    Only an argmax may feed back (a decoder reads the word it chose): after one flip the free step's later choices are
    about other inputs. The reference's own choice is then read from the values that the forced step compared.
    """
    return {
        key: replace(forced.kinks[key], branches=forced.kinks[key].value.argmax(-1)) if kink.op == "ArgMax" else kink
        for key, kink in free.kinks.items()
    }


def _judge_step(
    check: Check, workload: Workload, values: Mapping[str, Array], actual: StepResult, expected: StepResult
) -> Check:
    """``check`` with one more training step taken into account."""
    parameters = [p.next.name for p in workload.parameters]
    state = [v.next.name for v in workload.carried("training") if v.next.name not in set(parameters)]
    updates = {p.next.name: workload.optimizer.update(p.name, values, actual.outputs) for p in workload.parameters}
    worst = Worst()
    for parameter in workload.parameters:
        name, exact = parameter.next.name, updates[parameter.next.name]
        if exact is None:
            error = change_error(values[parameter.name], actual.outputs[name], expected.outputs[name])
        else:
            error = relative_error(actual.outputs[name], exact)
        worst = worst.max(Worst(name, error))
    amplified = 0
    for name in parameters:
        limit = TENSOR_LIMIT * float(np.abs(expected.outputs[name]).max())
        amplified += int((np.abs(actual.outputs[name] - expected.outputs[name]) > limit).sum())
    loss = relative_error(actual.outputs[Workload.LOSS], expected.outputs[Workload.LOSS])
    return replace(
        check,
        loss_error=max(check.loss_error, loss),
        parameter=check.parameter.max(worst),
        parameter_plain=check.parameter_plain.max(worst_of(actual.outputs, expected.outputs, parameters)),
        amplified=check.amplified + amplified,
        state=check.state.max(worst_of(actual.outputs, expected.outputs, state)),
    )


def _with_faults(check: Check) -> Check:
    """``check`` with its faults. Comparisons are written so that a NaN is a fault."""
    faults = []
    if not check.loss_error <= LOSS_LIMIT:
        faults.append(f"loss error {check.loss_error:.1e} over {LOSS_LIMIT:.0e}")
    for kind, worst in (
        ("parameter", check.parameter),
        ("state" if check.mode == "training" else "output", check.state),
    ):
        if not worst.error <= TENSOR_LIMIT:
            faults.append(f"{kind} '{worst.name}' error {worst.error:.1e} over {TENSOR_LIMIT:.0e}")
    if not check.flips.margin <= FLIP_LIMIT:
        faults.append(f"a flip {check.flips.margin:.1e} from its branch point, over {FLIP_LIMIT:.0e}")
    if check.free_losses:
        drift, native = (max(drifts) for drifts in zip(*check.free_losses, strict=True))
        if not drift <= max(LOSS_LIMIT, DRIFT_FACTOR * native):
            faults.append(f"losses of the free run drift {drift:.1e}, the framework's own float32 {native:.1e}")
    return replace(check, faults=tuple(faults))


def _free_run(subject: Subject, steps: int, seed: int) -> tuple[tuple[float, float], ...]:
    """Losses of a free run: (graph, framework in float32) relative errors per step, against float64."""
    workload = subject.workload
    runs: list[Callable[[Mapping[str, Array]], StepResult]] = [
        subject.reference().step,
        subject.evaluator.step,
        subject.reference(double=False).step,
    ]
    states: list[dict[str, Array]] = [workload.initial_values("training", seed) for _ in runs]
    rows = []
    for feed, _ in zip(_feeds(workload, "training", seed), range(steps), strict=False):
        losses = []
        for index, run in enumerate(runs):
            result = run({**feed, **states[index]})
            states[index] |= {v.name: result.outputs[v.next.name] for v in workload.carried("training")}
            losses.append(result.outputs[Workload.LOSS])
        rows.append((relative_error(losses[1], losses[0]), relative_error(losses[2], losses[0])))
    return tuple(rows)


def _against(check: Check, subject: Subject, judge: _Judge, seed: int, progress: Progress) -> Check:
    """``check`` after its steps of a graph against a judge, each from the graph's own state."""
    workload, mode = subject.workload, subject.mode
    outputs = [o.name for o in workload.outputs]
    state = workload.initial_values(mode, seed)
    for number, feed in zip(range(check.steps), _feeds(workload, mode, seed), strict=False):
        progress(f"step {number + 1} of {check.steps}")
        values = {**feed, **state}
        result = subject.evaluator.step(values)
        expected, flips = judge(values, result)
        check = replace(check, flips=check.flips.plus(flips))
        if mode == "training":
            check = _judge_step(check, workload, values, result, expected)
            state = _carried(workload, state, result)
        else:
            check = replace(check, state=check.state.max(worst_of(result.outputs, expected.outputs, outputs)))
    return check


def verify(
    workload: Workload,
    framework: str,
    mode: Mode,
    *,
    steps: int = 5,
    seed: int = 0,
    settings: SessionSettings = DEFAULT_SETTINGS,
    purpose: Purpose = "simulators",
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
        graph: The graph to judge, with noise as input; exported when not given.
        progress: Called with what is being done.

    Raises:
        ExportError: The graph cannot be made, or the one given is another workload's, mode's or framework's, or draws
            its noise itself.
        MissingDependencyError: The framework or onnxruntime is not installed.
    """
    subject = make_subject(workload, framework, mode, settings, purpose, graph)
    check = Check(workload.name, mode, f"{framework} graph", f"{framework} float64", steps)

    def judge(values: Mapping[str, Array], actual: StepResult) -> tuple[StepResult, Flips]:
        return _same_branches(workload, subject.reference().step(values), subject.reference, values, actual)

    check = _against(check, subject, judge, seed, progress)
    if mode == "training":
        progress("free run")
        check = replace(check, free_losses=_free_run(subject, steps, seed))
    return _with_faults(check)


def verify_pair(
    workload: Workload,
    frameworks: tuple[str, str],
    mode: Mode,
    *,
    steps: int = 5,
    seed: int = 0,
    settings: SessionSettings = DEFAULT_SETTINGS,
    purpose: Purpose = "simulators",
    graphs: tuple[Graph | None, Graph | None] = (None, None),
    progress: Progress = lambda _: None,
) -> Check:
    """Judge the second framework's graph against the first framework: same interface, same values, same results.

    Each step is compared with the first framework's float64 step on the second graph's branches, so that flips between
    the two graphs are explained in the same way. For the arguments see :func:`verify`.

    Raises:
        ExportError: A graph cannot be made, one given is another's, or the two do not have the same interface.
    """
    first, second = (
        make_subject(workload, framework, mode, settings, purpose, graph)
        for framework, graph in zip(frameworks, graphs, strict=True)
    )
    for kind, left, right in (
        ("inputs", first.graph.inputs, second.graph.inputs),
        ("outputs", first.graph.outputs, second.graph.outputs),
    ):
        if left != right:
            raise ExportError(f"the {kind} of the {workload.name} graphs of {frameworks[0]} and {frameworks[1]} differ")

    def judge(values: Mapping[str, Array], actual: StepResult) -> tuple[StepResult, Flips]:
        return _same_branches(workload, first.evaluator.step(values), first.reference, values, actual)

    check = Check(workload.name, mode, f"{frameworks[1]} graph", f"{frameworks[0]} graph", steps)
    return _with_faults(_against(check, second, judge, seed, progress))
