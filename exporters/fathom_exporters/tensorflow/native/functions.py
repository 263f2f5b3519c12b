"""A workload's step as a ``tf.function`` over variables, by TensorFlow's executor or compiled by XLA."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import tensorflow as tf

from fathom_exporters.tensorflow.step import gradient_name, run_step
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .users import apply_kernels, kernel_slots, treated

__all__ = ["FunctionStep"]

Tensors = Mapping[str, tf.Tensor]


def _padded_max_pool(own: Callable[..., Any]) -> Callable[..., Any]:
    """``tf.nn.max_pool2d`` for XLA, which has no pool with padding of its own: the image is padded before it."""

    def max_pool(x: Any, ksize: Any, strides: Any, padding: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(padding, str):
            x, padding = tf.pad(x, padding, constant_values=x.dtype.min), "VALID"
        return own(x, ksize, strides, padding, *args, **kwargs)

    return max_pool


@contextlib.contextmanager
def _scope(name: str) -> Iterator[None]:
    with tf.name_scope(f"optimizer/{name}/"):
        yield


class FunctionStep:
    """A step with its state in variables; images are in NHWC."""

    def __init__(self, workload: Workload, model: Any, mode: Mode, *, xla: bool = False, kernels: bool = True) -> None:
        """Make the variables and the function.

        Args:
            workload: The workload.
            model: Its model.
            mode: Its mode.
            xla: Whether XLA compiles the step.
            kernels: Whether parameters are updated by TensorFlow's kernels for a whole update; otherwise in elementwise
                operations, as Keras writes its updates.
        """
        self._workload, self._mode = workload, mode
        variables = workload.variables(mode)
        held = {v.name: tf.Variable(tf.zeros(v.shape, v.dtype)) for v in variables}
        further = kernel_slots(workload) if kernels and mode == "training" else {}
        held |= {name: tf.Variable(tf.zeros(parameter.shape)) for name, parameter in further.items()}
        self._held = held
        pool = _padded_max_pool(tf.nn.max_pool2d) if xla else tf.nn.max_pool2d

        def step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            values = {**batch, **{v.name: held[v.name].read_value() for v in variables}}
            with mock.patch.object(tf.nn, "max_pool2d", pool):
                outputs = run_step(workload, model, mode, values, data_format="NHWC", update=not kernels)
            if mode == "training" and kernels:
                names = [p.name for p in workload.parameters]
                found = {name: outputs[gradient_name(name)] for name in names}
                handles = {name: variable.handle for name, variable in held.items()}
                apply_kernels(workload, handles, treated(workload.gradients, found, batch, _scope), batch, _scope)
            for variable in workload.carried(mode):
                if variable.next.name in outputs:
                    held[variable.name].assign(outputs[variable.next.name])
            results = [Workload.LOSS] if mode == "training" else [o.name for o in workload.outputs]
            return {name: outputs[name] for name in results}

        self._step: Callable[[dict[str, tf.Tensor]], Any] = tf.function(step, jit_compile=xla, autograph=False)

    def load(self, values: Mapping[str, Array]) -> None:
        """Store starting values; the variables that only the kernels have start at zero."""
        for name, variable in self._held.items():
            variable.assign(values.get(name, tf.zeros(variable.shape)))

    def run(self, batch: Tensors) -> dict[str, Array]:
        """Run one step: the loss or, in inference, the outputs.

        They are read: TensorFlow may return before it is done.
        """
        return {name: value.numpy() for name, value in self._step(dict(batch)).items()}
