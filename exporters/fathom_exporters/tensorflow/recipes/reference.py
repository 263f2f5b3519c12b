"""The judge of a recipe's graph: the user's own model, loss and optimizer as TensorFlow itself runs them.

The step is traced once more, without the exporter's scopes and without unrolling anything, as ``fit`` traces it, and
runs on variables of its own, so that the model keeps its values. For float64 the traced graph is widened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from fathom_onnx.errors import ExportError, RunError, UnknownNameError, one_line
from fathom_onnx.exporting import StepResult
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode

from .described import Described
from .graph import draw_order, widen
from .names import native
from .step import Training, forward, output_tensors

__all__ = ["RecipeReference"]


class _Native:
    """A traced function of TensorFlow that runs on variables of its own.

    Attributes:
        variables: The variables that it touches, by name.
    """

    def __init__(self, function: Any, arguments: int, names: Mapping[int, str], draws: int, wide: bool) -> None:
        graph = function.graph
        graph_def = graph.as_graph_def()
        self._wide = wide
        drawn = [f"{node.name}:0" for node in draw_order(graph_def.node)]
        if len(drawn) != draws:
            raise ExportError(
                f"the step draws {len(drawn)} random tensors as TensorFlow runs it, and {draws} in the graph",
                "draw outside of loops and conditionals",
            )
        renamed: dict[str, str] = {}
        if wide:
            graph_def, renamed = widen(graph_def)
            for definition in graph_def.library.function:
                context.context().add_function_def(definition)
        self._function = function  # its own functions are dropped with it
        by_handle = {id(v.handle): v for v in graph.variables}
        self.variables: dict[str, tf.Variable] = {}
        self._start: list[tuple[tf.Variable, tf.Variable]] = []
        captured: dict[str, Any] = {}
        for outer, inner in graph.captures:
            variable = by_handle.get(id(outer))
            if variable is None:
                captured[inner.name] = tf.cast(outer, self._dtype(outer.dtype)) if outer.dtype != tf.resource else outer
                continue
            copied = tf.Variable(tf.cast(variable, self._dtype(variable.dtype)), trainable=False)
            captured[inner.name] = copied.handle
            self._start.append((copied, variable))
            self.variables[names.get(id(variable), variable.name)] = copied
        self._arguments = [(t.name, self._dtype(t.dtype)) for t in function.inputs[:arguments]]
        outputs = [renamed.get(t.name, t.name) for t in function.outputs]
        drawn = [renamed.get(name, name) for name in drawn]

        # each is given a value; as nodes they would be in the way of a compiler
        placeholders = [node for node in graph_def.node if node.op == "Placeholder"]
        for node in placeholders:
            graph_def.node.remove(node)
        read = {_tensor(name) for node in graph_def.node for name in node.input}

        def run(tensors: Sequence[tf.Tensor], noise: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            here = tf.compat.v1.get_default_graph()
            given = {name: here.capture(value) for name, value in captured.items()}
            given |= dict(zip((name for name, _ in self._arguments), tensors, strict=True))
            given |= dict(zip(drawn, noise, strict=True))
            given = {name: value for name, value in given.items() if name in read}
            made: list[tf.Tensor] = tf.import_graph_def(graph_def, given, outputs, name="")
            return made

        self._run: Any = tf.function(run, autograph=False)
        self._compiled = False

    def _dtype(self, dtype: tf.DType) -> tf.DType:
        return tf.float64 if self._wide and dtype == tf.float32 else dtype

    def __call__(self, arguments: Sequence[Any], noise: Sequence[Any], values: Mapping[str, Array]) -> list[Array]:
        """Run it on given values of the variables; the others start as the model's own.

        Raises:
            RunError: TensorFlow cannot run it.
        """
        for copied, variable in self._start:
            copied.assign(tf.cast(variable, copied.dtype))
        for name, variable in self.variables.items():
            if name in values:
                variable.assign(tf.constant(values[name], variable.dtype, variable.shape))
        tensors = [tf.constant(a, dtype) for a, (_, dtype) in zip(arguments, self._arguments, strict=True)]
        drawn = [tf.constant(n, self._dtype(tf.float32)) for n in noise]
        try:
            return [np.asarray(t) for t in self._run(tensors, drawn)]
        except tf.errors.OpError as error:
            if self._compiled:
                raise RunError(
                    f"TensorFlow itself cannot run the step here: {one_line(error)}", "judge it where it runs"
                ) from error
        # XLA has what TensorFlow lacks on a CPU: gradients of dilated convolutions, pools of volumes in float64
        self._run, self._compiled = tf.function(self._run.python_function, autograph=False, jit_compile=True), True
        return self(arguments, noise, values)


def _tensor(name: str) -> str:
    """The tensor of a node's input, with its number."""
    return name if ":" in name else f"{name}:0"


class RecipeReference:
    """A recipe's step in TensorFlow; an implementation of :class:`fathom_onnx.exporting.Reference`.

    It is always whole: Keras's optimizer changes variables as the recorded step runs.
    """

    def __init__(self, workload: RecipeWorkload, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        described = workload.described
        assert isinstance(described, Described)
        self._described, self._workload, self._mode = described, workload, mode
        self._wide = dtype == "float64"
        self._names = described.names()
        self._noise = [n.name for n in workload.noise.get(mode, ())]
        self._batch = [spec.name for spec in workload.batch_inputs(mode)]
        self._outputs: list[str] = []
        self._parameters: list[str] = []
        self._whole = False  # whether an update needs the step's forward and backward pass
        specs = [tf.TensorSpec(s.shape, s.dtype) for s in workload.batch_inputs(mode)]
        body = self._training if mode == "training" else self._inference

        def step(*tensors: tf.Tensor) -> list[tf.Tensor]:
            with tf.name_scope("step"):  # a layer whose class starts with _ has no valid scope at the root
                return body(*tensors)

        traced = tf.function(step, autograph=False)
        self._step = self._native(traced.get_concrete_function(*specs), len(specs), len(self._noise))
        self._updates: dict[tuple[str, ...], _Native] = {}

    def _native(self, function: Any, arguments: int, draws: int) -> _Native:
        if isinstance(self._described.recipe.model, keras.layers.Layer):
            self._described.recipe.model._clear_losses()  # those of the trace are tensors of its graph
        return _Native(function, arguments, self._names, draws, self._wide)

    def _inference(self, *tensors: tf.Tensor) -> list[tf.Tensor]:
        inputs, _, _ = self._described.batch.parts(dict(zip(self._batch, tensors, strict=True)))
        found = output_tensors(forward(self._described.recipe.model, inputs, training=False))
        self._outputs = [o.name for o in self._workload.outputs]
        return list(found.values())

    def _training(self, *tensors: tf.Tensor) -> list[tf.Tensor]:
        training = self._described.training
        assert training is not None
        value, gradients = training.value_and_gradients(dict(zip(self._batch, tensors, strict=True)))
        rows = any(isinstance(g, tf.IndexedSlices) for g in gradients)
        self._whole = rows or self._assigned(training)
        training.update(gradients)
        self._outputs = ["loss"]
        named = zip(training.parameters, gradients, strict=True)
        dense = {self._names[id(native(p))]: tf.convert_to_tensor(g) for p, g in named if g is not None}
        self._parameters = list(dense)
        return [value, *dense.values()]

    @staticmethod
    def _assigned(training: Training) -> bool:
        """Whether a layer has assigned to a parameter, in the graph that is being traced."""
        graph = tf.compat.v1.get_default_graph()
        handles = {id(native(p).handle) for p in training.parameters}
        inner = {tensor.name for outer, tensor in graph.captures if id(outer) in handles}
        changes = [op for op in graph.get_operations() if op.type.startswith(("Assign", "ResourceScatter"))]
        return any(op.inputs[0].name in inner for op in changes)

    def step(self, values: Mapping[str, Array]) -> StepResult:
        """Run one step; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: An input has no value.
        """
        for spec in self._workload.interface(self._mode, "input").inputs:
            if spec.name not in values:
                raise UnknownNameError("input value", spec.name, values)
        results = self._step([values[n] for n in self._batch], [values[n] for n in self._noise], values)
        count = len(self._outputs)
        outputs = dict(zip(self._outputs, results[:count], strict=True)) | self._new(self._step)
        recorded = self._described.steps.get("training")
        named = {p.name for p in self._workload.parameters if recorded is None or p.name in recorded.gradients}
        gradients = zip(self._parameters, results[count:], strict=True)
        wanted = [spec.name for spec in self._workload.interface(self._mode).outputs]
        return StepResult(
            outputs={name: outputs[name] for name in wanted},
            gradients={name: gradient for name, gradient in gradients if name in named},
        )

    def _new(self, function: _Native) -> dict[str, Array]:
        return {f"{name}.next": np.asarray(v) for name, v in function.variables.items()}

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the optimizer makes of given gradients; see :class:`fathom_onnx.exporting.Reference`.

        Where a layer assigns to a parameter, or a gradient comes as rows, the update starts from the step's own
        forward and backward pass; such rows are moved to where their sum is the given gradient.
        """
        given = tuple(name for name in self._parameters if name in gradients)
        if given not in self._updates:
            self._updates[given] = self._update_of(given)
        batch, noise = (self._batch, self._noise) if self._whole else ([], [])
        update = self._updates[given]
        update([*(values[n] for n in batch), *(gradients[n] for n in given)], [values[n] for n in noise], values)
        statistics = {v.next.name for v in self._workload.buffers}  # the forward pass makes them, not the optimizer
        carried = {v.next.name for v in self._workload.carried("training")} - statistics
        return {name: value for name, value in self._new(update).items() if name in carried}

    def _update_of(self, given: tuple[str, ...]) -> _Native:
        training = self._described.training
        assert training is not None
        by_name = {self._names[id(native(p))]: p for p in training.parameters}
        batch = [s for s in self._workload.batch_inputs(self._mode) if self._whole]

        def apply(*tensors: tf.Tensor) -> None:
            with tf.name_scope("step"):
                made: dict[str, Any] = dict(zip(given, tensors[len(batch) :], strict=True))
                own: list[Any] = [None] * len(by_name)
                if self._whole:
                    _, own = training.value_and_gradients(dict(zip(self._batch, tensors, strict=False)))
                rows = dict(zip(by_name, own, strict=True))
                training.update([_moved(rows[name], made.get(name)) for name in by_name])

        specs = [tf.TensorSpec(s.shape, s.dtype) for s in batch]
        specs += [tf.TensorSpec(by_name[name].shape, by_name[name].dtype) for name in given]
        function = tf.function(apply, autograph=False).get_concrete_function(*specs)
        return self._native(function, len(specs), len(self._noise) if self._whole else 0)


def _moved(own: Any, given: tf.Tensor | None) -> Any:
    """A gradient that is given, as rows where the step's own are rows."""
    if not isinstance(own, tf.IndexedSlices) or given is None:
        return own if isinstance(own, tf.IndexedSlices) else given
    missing = given - tf.convert_to_tensor(own)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(own.values), own.indices, given.shape[0])
    share = tf.gather(missing / tf.maximum(counts, 1.0), own.indices)
    return tf.IndexedSlices(own.values + share, own.indices, own.dense_shape)
