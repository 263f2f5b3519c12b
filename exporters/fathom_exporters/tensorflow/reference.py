"""A workload's step as TensorFlow itself runs it, by its CPU kernels in their NHWC layout, with its kinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import Kink, StepResult
from fathom_onnx.workloads.contract import Array, Mode, TensorSpec, Workload

from .models import Model
from .step import run_step

__all__ = ["TensorFlowReference"]

_Compiled = Callable[[dict[str, tf.Tensor], dict[str, tf.Tensor]], Any]


class TensorFlowReference:
    """A workload's step in TensorFlow; an implementation of :class:`fathom_onnx.exporting.Reference`."""

    def __init__(self, workload: Workload, model: Model, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._model, self._mode = workload, model, mode
        self._dtype = dtype
        self._inputs = workload.interface(mode, "input").inputs
        self._compiled: _Compiled = tf.function(self._step, autograph=False)
        self._traced_kinks: dict[str, Kink] = {}

    def _step(
        self, values: dict[str, tf.Tensor], branches: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """The traced step: its outputs, and value and branches of each kink."""
        outputs, kinks = run_step(
            self._workload, self._model, self._mode, values, data_format="NHWC", branches=branches, record=True
        )
        self._traced_kinks = kinks
        return outputs, {key: (kink.value, kink.branches) for key, kink in kinks.items()}

    def _tensor(self, spec: TensorSpec, values: Mapping[str, Array]) -> tf.Tensor:
        if spec.name not in values:
            raise UnknownNameError("input value", spec.name, values)
        dtype = self._dtype if np.issubdtype(np.dtype(spec.dtype), np.floating) else spec.dtype
        return tf.constant(values[spec.name], dtype, spec.shape)

    def step(self, values: Mapping[str, Array], branches: Mapping[str, Array] | None = None) -> StepResult:
        """Run one step; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: An input of the interface has no value, or branches are prescribed for an unknown layer.
        """
        layers = {layer.name for layer in self._workload.layers}
        for layer in (key.partition("#")[0] for key in branches or {}):
            if layer not in layers:
                raise UnknownNameError("layer", layer, layers)
        inputs = {spec.name: self._tensor(spec, values) for spec in self._inputs}
        prescribed = {key: tf.constant(array) for key, array in (branches or {}).items()}
        outputs, kinks = self._compiled(inputs, prescribed)
        return StepResult(
            outputs={name: np.asarray(value) for name, value in outputs.items()},
            kinks={
                key: Kink(self._traced_kinks[key].op, np.asarray(value), np.asarray(branch))
                for key, (value, branch) in kinks.items()
            },
        )
