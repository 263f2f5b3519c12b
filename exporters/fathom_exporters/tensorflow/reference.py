"""A workload's step as TensorFlow itself runs it, by its CPU kernels in their NHWC layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from fathom_exporters.shared.reference import StepInParts
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, TensorSpec, Workload

from . import optimizers
from .models import Model
from .net import Net
from .step import gradient_name, run_step

__all__ = ["TensorFlowReference"]

_Compiled = Callable[[dict[str, tf.Tensor], bool], Any]


class TensorFlowReference(StepInParts):
    """A workload's step in TensorFlow; an implementation of :class:`fathom_onnx.exporting.ReferenceInParts`."""

    def __init__(self, workload: Workload, model: Model, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._model, self._mode = workload, model, mode
        self._dtype = dtype
        self._inputs = workload.interface(mode, "input").inputs
        self._compiled: _Compiled = tf.function(self._step, autograph=False)

    def _step(self, values: dict[str, tf.Tensor], update: bool) -> dict[str, tf.Tensor]:
        return run_step(self._workload, self._model, self._mode, values, data_format="NHWC", update=update)

    def _tensor(self, spec: TensorSpec, values: Mapping[str, Array]) -> tf.Tensor:
        if spec.name not in values:
            raise UnknownNameError("input value", spec.name, values)
        dtype = self._dtype if np.issubdtype(np.dtype(spec.dtype), np.floating) else spec.dtype
        return tf.constant(values[spec.name], dtype, spec.shape)

    def _run(self, values: Mapping[str, Array], update: bool) -> StepResult:
        unread = set() if update else {slot.name for slot in self._workload.slots}
        inputs = {spec.name: self._tensor(spec, values) for spec in self._inputs if spec.name not in unread}
        results = {name: np.asarray(value) for name, value in self._compiled(inputs, update).items()}
        trained = [p.name for p in self._workload.parameters] if self._mode == "training" else []
        gradients = {name: results.pop(gradient_name(name)) for name in trained}
        return StepResult(results, gradients)

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the update rule makes of given gradients; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: A variable has no value, or a parameter no gradient.
        """
        parameters = [p.name for p in self._workload.parameters]
        # TensorFlow keeps what memory it ever took, of a large model's parameters and their state in float64 many GB
        pieces = [parameters] if self._workload.gradients.clip_global_norm else [[name] for name in parameters]
        return {k: array for piece in pieces for k, array in self._updated(piece, values, gradients).items()}

    def _updated(
        self, parameters: Sequence[str], values: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> dict[str, Array]:
        """What the update rule makes of some parameters; their arrays are NumPy's own."""
        workload = self._workload
        inputs = _Tensors({spec.name: partial(self._tensor, spec, values) for spec in self._inputs})
        given = {
            p.name: self._tensor(workload.gradient(p), gradients) for p in workload.parameters if p.name in parameters
        }
        noise = {n.name: n for n in workload.noise.get(self._mode, ())}
        net = Net(variables=inputs, mode=self._mode, data_format="NHWC", given_noise=inputs, noise=noise)
        new = optimizers.apply(net, workload, inputs, given)
        return {f"{name}.next": np.array(new.pop(name)) for name in list(new)}


class _Tensors(Mapping[str, tf.Tensor]):
    """Tensors by name, each made anew where it is asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], tf.Tensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> tf.Tensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
