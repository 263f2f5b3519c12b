"""The Python interface: one interface for every workload, and for a model of the user's own.

import fathom_onnx

residual = fathom_onnx.workload("residual", preset="small")
graph = residual.export(mode="training")
run = fathom_onnx.profile(graph, steps=5)
print(run.by_layer())

graph = fathom_onnx.export_step(model, batch, loss, optimizer, path="step.onnx")
print(fathom_onnx.run_step(graph)["loss"])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.frameworks import framework_of
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.runtime.one_step import run_step
from fathom_onnx.runtime.settings import Optimization, SessionSettings
from fathom_onnx.training import (
    CheckpointFolder,
    CheckpointPlan,
    Evaluation,
    EvaluationPlan,
    Rates,
    TrainingRun,
    read_checkpoint,
    read_schedule,
)
from fathom_onnx.training import train as train_graph
from fathom_onnx.workloads.contract import MODES, Array, Mode, NoiseSource, Workload

from .data import batches_for_graph, source_for_graph
from .errors import UnknownNameError, UsageError
from .exporting import (
    DEFAULT_FRAMEWORK,
    OPSET,
    OPSETS,
    PURPOSES,
    ExportRequest,
    Purpose,
    export_file,
    export_graph,
    find_exporter,
    read_recipe,
)
from .graph import Graph, load
from .verification import Check
from .verification import verify as verify_workload
from .workloads import workload as make_workload

__all__ = ["RunnableWorkload", "export", "export_step", "give_values", "run_step", "train", "verify", "workload"]

_NOISE_SOURCES: tuple[NoiseSource, ...] = ("graph", "input")


class RunnableWorkload(Workload):
    """A workload with its operations as methods: export, verify."""

    def export(
        self,
        framework: str = DEFAULT_FRAMEWORK,
        mode: Mode = "inference",
        path: str | Path | None = None,
        noise: NoiseSource = "graph",
        purpose: Purpose = "simulators",
        rate_input: bool = False,
        opset: int = OPSET,
        marks: bool = True,
    ) -> Graph:
        """The workload's graph; see :func:`export`."""
        return export(self, framework, mode, path, noise, purpose, rate_input, opset, marks)

    def verify(self, framework: str = DEFAULT_FRAMEWORK, mode: Mode = "training", steps: int = 5) -> Check:
        """The graph against its framework; see :func:`verify`."""
        return verify(self, framework, mode, steps)


def workload(name: str, preset: str = "paper", **changes: Any) -> RunnableWorkload:
    """A workload at a preset, with some configuration fields changed.

    Args:
        name: For example ``"residual"``.
        preset: ``paper``, ``small`` or ``tiny``.
        changes: Configuration fields, for example ``batch=8``.

    Raises:
        UnknownNameError: No such workload, preset or field.
        UsageError: A value that cannot work.
    """
    plain = make_workload(name, preset, changes)
    return RunnableWorkload(**{field.name: getattr(plain, field.name) for field in fields(plain)})


def export(
    workload: Workload,
    framework: str = DEFAULT_FRAMEWORK,
    mode: Mode = "inference",
    path: str | Path | None = None,
    noise: NoiseSource = "graph",
    purpose: Purpose = "simulators",
    rate_input: bool = False,
    opset: int = OPSET,
    marks: bool = True,
) -> Graph:
    """Export a workload's graph.

    Args:
        workload: From :func:`workload`.
        framework: ``torch``, ``tensorflow`` or ``jax``.
        mode: ``inference`` or ``training``.
        path: File to write; the graph stays in memory only where it is None.
        noise: ``graph`` to draw random tensors in the graph, ``input`` to take them as inputs.
        purpose: ``simulators`` for the ops that most of them read, ``onnxruntime`` for what it runs fastest on a CPU,
            ``cuda`` for its CUDA provider.
        rate_input: Whether the learning rate of a training step is an input, for schedules of :func:`train`.
        opset: 18, or 23 to write what that has ops for in them.
        marks: False for JAX's own derivatives written out, in place of the gradients that all frameworks' graphs
            share; of ``jax`` only.

    Raises:
        UsageError: A graph without marks of another framework.
        UnknownNameError: No such framework, mode, source of noise, purpose or opset.
        ExportError: The model cannot be turned into a standard graph.
        MissingDependencyError: The framework is not installed.
        OutputError: The file cannot be written.
    """
    known: list[tuple[str, str, tuple[str, ...]]] = [
        ("mode", mode, MODES),
        ("source of noise", noise, _NOISE_SOURCES),
        ("purpose", purpose, PURPOSES),
        ("opset", str(opset), tuple(map(str, OPSETS))),
    ]
    for kind, name, names in known:
        if name not in names:
            raise UnknownNameError(kind, name, names)
    made = replace(workload, rate_input=True) if rate_input else workload
    request = ExportRequest(made, mode, noise, purpose, opset, marks)
    if path is not None:
        return load(export_file(framework, request, Path(path)).path)
    return export_graph(framework, request)


def export_step(
    model: Any,
    batch: Any,
    loss: Callable[..., Any] | None = None,
    optimizer: Any = None,
    *,
    mode: Mode = "training",
    purpose: Purpose = "simulators",
    path: str | Path | None = None,
    noise: NoiseSource = "graph",
    accumulate: int = 1,
    specialise: bool = False,
    rate_input: bool = False,
    state: Any = None,
    marks: bool = True,
) -> Graph:
    """Export the step of a model of your own as one standard graph.

    Nothing that is given is changed. In training the step is forward pass, loss, backward pass and the optimizer's
    update, from the state that model and optimizer have now.

    Args:
        model: A ``torch.nn.Module``, a Keras model or a ``tf.Module``, in the mode that the step is to have; or, with
            JAX, a pytree of parameters.
        batch: An example batch; its tensors become inputs (:mod:`fathom_onnx.recipes.batch`).
        loss: From (outputs, batch) to a scalar; None where the model returns its loss, and for inference. For Keras a
            Keras loss, from (targets, outputs), with the batch (inputs, targets). With JAX the function itself, from
            (parameters, batch) to the loss or (loss, outputs).
        optimizer: The framework's optimizer over the model's parameters, with JAX a transformation of optax; not
            needed for inference.
        mode: ``training`` or ``inference``.
        purpose: As for :func:`export`.
        path: File to write, with ``values.safetensors`` beside it; the graph stays in memory where it is None.
        noise: ``graph`` to draw random tensors (dropout) in the graph, ``input`` to take them as inputs.
        accumulate: Parts that the batch is cut into, whose gradients are added up before the update.
        specialise: Whether what depends on the values of the batch may be recorded as it is for this batch.
        rate_input: Whether the learning rate of each group of parameters is an input, for schedules of :func:`train`.
        state: With JAX, a pytree of what the function carries beside the parameters; see
            :class:`~fathom_onnx.recipes.Recipe`.
        marks: As for :func:`export`.

    Raises:
        UsageError: No framework takes the model, or something that is given cannot work.
        ExportError: The step cannot be turned into a standard graph.
        MissingDependencyError: The framework's exporter cannot be used.
        OutputError: A file cannot be written.
    """
    recipe = Recipe(model, batch, loss, optimizer, accumulate, specialise, rate_input, state)
    framework_of(model, optimizer)  # what is no model at all is said first
    recipe.check(mode)
    made = read_recipe(recipe)
    return export(made, made.framework, mode, path, noise, purpose, marks=marks)


def verify(
    workload: Workload, framework: str = DEFAULT_FRAMEWORK, mode: Mode = "training", steps: int = 5, seed: int = 0
) -> Check:
    """Judge a workload's graph against its framework in float64; ``.passed`` says whether it is right."""
    return verify_workload(workload, framework, mode, steps=steps, seed=seed)


def train(
    graph: Graph,
    steps: int,
    *,
    batches: Iterable[Any] | None = None,
    ep: str = "cpu",
    threads: int | None = None,
    optimization: Optimization = "all",
    seed: int = 0,
    values: Mapping[str, Array] | None = None,
    evaluations: Sequence[Evaluation] = (),
    eval_every: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 0,
    resume: bool = False,
    on_step: Callable[[int, float], None] | None = None,
    schedule: str | Callable[[int], float] | None = None,
) -> TrainingRun:
    """Train a training graph in onnxruntime.

    Args:
        graph: The training graph.
        steps: Number of the last step.
        batches: A batch a step, as a dict of arrays or tensors by input name or in the order of the inputs: any
            iterable, a PyTorch ``DataLoader``, a ``tf.data`` set; begun anew when it ends. The workload's own data by
            default.
        ep: Execution provider.
        threads: Threads inside an operator; all cores by default.
        optimization: Graph optimization level.
        seed: Seed of weights, of the workload's own data and of what the graph draws.
        values: Starting values that take the place of the graph's own, by name.
        evaluations: What is measured on held-out batches (:class:`~fathom_onnx.training.HeldOutLoss`,
            :class:`~fathom_onnx.training.InferenceMetrics`).
        eval_every: Steps between evaluations; they are also made before the first step and after the last.
        checkpoint: Folder for checkpoints, losses and metrics.
        checkpoint_every: Steps between checkpoints; one is written at the end too.
        resume: Whether to go on from the newest checkpoint there.
        on_step: Called after every step with its number and its loss.
        schedule: The learning rate over the steps, of a graph that has it as an input: a text as for
            :func:`~fathom_onnx.training.read_schedule`, or a function from the steps taken so far to the rate.

    Returns:
        Losses, metrics, and the values of all variables after the last step.

    Raises:
        UsageError: Something that cannot work, or a checkpoint of another run.
        GraphError: It is not a training graph.
        DataError: A checkpoint cannot be read.
        RunError: onnxruntime fails, the batches run out, or the loss is not finite.
        OutputError: A checkpoint cannot be written.
    """
    settings = SessionSettings(ep, threads or cpu_cores(), optimization)
    own = batches_for_graph(graph, seed) if batches is None else batches
    kept = None
    if checkpoint is not None:
        data = source_for_graph(graph).name if batches is None else "given"
        kept = CheckpointPlan(CheckpointFolder(Path(checkpoint)), checkpoint_every, resume, data)
    elif resume:
        raise UsageError("there is nothing to resume from", "give the folder of the checkpoints")
    read = read_schedule(schedule, steps) if isinstance(schedule, str) else schedule
    return train_graph(
        graph,
        own,
        steps,
        settings,
        seed,
        on_step,
        values=values,
        evaluated=EvaluationPlan(evaluations, eval_every),
        kept=kept,
        rates=None if read is None else Rates(graph, read, values),
    )


def give_values(model: Any, values: Mapping[str, Array] | str | Path) -> Any:
    """Give a model of a framework the values of a run of its graph, or of a checkpoint.

    Args:
        model: The PyTorch module, Keras model, ``tf.Module`` or structure of arrays of JAX.
        values: Values by name, such as :attr:`~fathom_onnx.training.TrainingRun.values`, or a checkpoint's file. The
            optimizer's state among them is left out.

    Returns:
        The model; of JAX another structure, since arrays are not changed.

    Raises:
        UsageError: No framework takes the model.
        MissingDependencyError: The framework cannot be used.
        DataError: A variable that is trained has no value, a value has another shape, or the file is no checkpoint.
    """
    given = values if isinstance(values, Mapping) else read_checkpoint(Path(values)).values
    return find_exporter(framework_of(model)).give_values(model, given)
