"""A workload's step as TensorFlow itself runs it, by its CPU kernels in their NHWC layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, TensorSpec, Workload

from . import optimizers
from .models import Model
from .net import Net
from .step import gradient_name, run_step

__all__ = ["TensorFlowReference"]

_Compiled = Callable[[dict[str, tf.Tensor]], Any]


class TensorFlowReference:
    """A workload's step in TensorFlow; an implementation of :class:`fathom_onnx.exporting.Reference`."""

    def __init__(self, workload: Workload, model: Model, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._model, self._mode = workload, model, mode
        self._dtype = dtype
        self._inputs = workload.interface(mode, "input").inputs
        self._compiled: _Compiled = tf.function(self._step, autograph=False)

    def _step(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return run_step(self._workload, self._model, self._mode, values, data_format="NHWC")

    def _tensor(self, spec: TensorSpec, values: Mapping[str, Array]) -> tf.Tensor:
        if spec.name not in values:
            raise UnknownNameError("input value", spec.name, values)
        dtype = self._dtype if np.issubdtype(np.dtype(spec.dtype), np.floating) else spec.dtype
        return tf.constant(values[spec.name], dtype, spec.shape)

    def step(self, values: Mapping[str, Array]) -> StepResult:
        """Run one step; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: An input of the interface has no value.
        """
        inputs = {spec.name: self._tensor(spec, values) for spec in self._inputs}
        results = {name: np.asarray(value) for name, value in self._compiled(inputs).items()}
        trained = [p.name for p in self._workload.parameters] if self._mode == "training" else []
        gradients = {name: results.pop(gradient_name(name)) for name in trained}
        return StepResult(results, gradients)

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the update rule makes of given gradients; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: A variable has no value, or a parameter no gradient.
        """
        workload = self._workload
        inputs = {spec.name: self._tensor(spec, values) for spec in self._inputs}
        given = {p.name: self._tensor(workload.gradient(p), gradients) for p in workload.parameters}
        noise = {n.name: n for n in workload.noise.get(self._mode, ())}
        net = Net(
            variables=inputs,
            mode=self._mode,
            data_format="NHWC",
            given_noise={name: inputs[name] for name in noise},
            noise=noise,
        )
        new = optimizers.apply(net, workload, inputs, given)
        del net, inputs, given  # of a large model several GB, which its new state needs
        return {f"{name}.next": np.asarray(new.pop(name)) for name in list(new)}
