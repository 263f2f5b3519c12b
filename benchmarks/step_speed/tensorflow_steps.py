"""A workload's step in TensorFlow: a ``tf.function`` over variables, images in NHWC, compiled by XLA if wanted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import tensorflow as tf

from fathom_exporters.tensorflow.models import TENSORFLOW
from fathom_exporters.tensorflow.net import Net
from fathom_exporters.tensorflow.step import gradient_name, run_step
from fathom_onnx.data import batches_for
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Adam, AdamW, GradientDescent, Gradients, RMSProp, Workload

from .contestants import Case

__all__ = ["TensorFlowStep", "set_threads"]

_BATCHES = 2
_Variables = Mapping[str, tf.Variable]


def set_threads(count: int) -> None:
    """Set the threads of this process, in which nothing ran yet."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


class _LibraryCTC:
    """The model of speech with TensorFlow's own kernel for the loss, as its users write it; XLA does not know it."""

    def __init__(self, model: Any) -> None:
        self.forward = model.forward

    def loss(self, net: Net, config: Any, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        """Mean over the batch of the losses of the kernel, whose blank is the last class as in our formula."""
        lengths = batch["label_lengths"]
        inside = tf.where(tf.sequence_mask(lengths, batch["labels"].shape[1]))
        labels = tf.SparseTensor(
            inside, tf.cast(tf.gather_nd(batch["labels"], inside), tf.int32), tf.shape(batch["labels"], tf.int64)
        )
        lengths = tf.cast(batch["feature_lengths"], tf.int32)
        return tf.reduce_mean(tf.compat.v1.nn.ctc_loss(labels, outputs["logits"], lengths))


def _padded_max_pool(own: Callable[..., Any]) -> Callable[..., Any]:
    """``tf.nn.max_pool2d`` for XLA, which has no pool with padding of its own: the image is padded before it."""

    def max_pool(x: Any, ksize: Any, strides: Any, padding: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(padding, str):
            x, padding = tf.pad(x, padding, constant_values=x.dtype.min), "VALID"
        return own(x, ksize, strides, padding, *args, **kwargs)

    return max_pool


def _treated(rule: Gradients, gradients: Mapping[str, Any]) -> dict[str, Any]:
    treated = dict(gradients)
    if rule.clip_global_norm:
        clipped, _ = tf.clip_by_global_norm(list(treated.values()), rule.clip_global_norm)
        treated = dict(zip(treated, clipped, strict=True))
    rows = dict(rule.zero_rows)
    for name, gradient in treated.items():
        if rule.clip_norm:
            gradient = tf.clip_by_norm(gradient, rule.clip_norm)
        if rule.noise:
            gradient = gradient + rule.noise * tf.random.normal(gradient.shape)
        if name in rows:
            keep = tf.range(gradient.shape[0]) != rows[name]
            gradient = gradient * tf.cast(keep, gradient.dtype)[:, tf.newaxis]
        treated[name] = gradient
    return treated


def _update(definition: Workload, held: _Variables, gradients: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
    """The update of all parameters by TensorFlow's kernels for a whole update."""
    rule, ops = definition.optimizer, tf.raw_ops
    if isinstance(rule, Adam):
        step = held[rule.STEP].read_value() + 1
        powers = {"beta1_power": tf.pow(rule.beta1, step), "beta2_power": tf.pow(rule.beta2, step)}
        held[rule.STEP].assign(step)
    for name, gradient in gradients.items():
        variable = held[name].handle
        slots = () if isinstance(rule, GradientDescent) else [held[slot].handle for slot in rule.slots(name)]
        if isinstance(rule, Adam):
            numbers = {"lr": rule.learning_rate, "beta1": rule.beta1, "beta2": rule.beta2, "epsilon": rule.epsilon}
            if isinstance(rule, AdamW):
                held[name].assign(held[name] * (1 - rule.learning_rate * rule.weight_decay))
            ops.ResourceApplyAdam(var=variable, m=slots[0], v=slots[1], grad=gradient, **powers, **numbers)
        elif isinstance(rule, RMSProp):
            numbers = {"lr": rule.learning_rate, "rho": rule.decay, "momentum": 0.0, "epsilon": rule.epsilon}
            still = held[f"{name} momentum"].handle
            ops.ResourceApplyRMSProp(var=variable, ms=slots[0], mom=still, grad=gradient, **numbers)
        elif name in definition.row_gradients:
            numbers = tf.reshape(batch[definition.row_gradients[name]], [-1])
            ops.ResourceScatterSub(resource=variable, indices=numbers, updates=rule.learning_rate * gradient)
        else:
            ops.ResourceApplyGradientDescent(var=variable, alpha=rule.learning_rate, delta=gradient)


class TensorFlowStep:
    """A step in TensorFlow, for one of the contestants ``tensorflow-...``."""

    def __init__(self, case: Case, contestant: str) -> None:
        definition = workload(case.workload, case.preset)
        xla = contestant == "tensorflow-xla"
        model = TENSORFLOW.model(case.workload)
        if case.workload == "speech" and not xla:
            model = _LibraryCTC(model)
        held = {name: tf.Variable(v) for name, v in definition.initial_values(case.mode, 0).items()}
        kernels = contestant == "tensorflow-kernels"
        if kernels and isinstance(definition.optimizer, RMSProp):
            held |= {f"{p.name} momentum": tf.Variable(tf.zeros(p.shape)) for p in definition.parameters}

        @tf.function(jit_compile=xla, autograph=False)
        def step(batch: dict[str, Any]) -> Any:
            values = {**batch, **{v.name: held[v.name].read_value() for v in definition.variables(case.mode)}}
            with mock.patch.object(
                tf.nn, "max_pool2d", _padded_max_pool(tf.nn.max_pool2d) if xla else tf.nn.max_pool2d
            ):
                outputs = run_step(definition, model, case.mode, values, data_format="NHWC")
            if case.mode == "inference":
                return outputs
            carried = {v.name: v.next.name for v in definition.carried("training")}
            if kernels:
                names = [p.name for p in definition.parameters]
                found = {n: outputs[gradient_name(n)] for n in names}
                _update(definition, held, _treated(definition.gradients, found), batch)
                carried = {b.name: b.next.name for b in definition.buffers}
            for name, new in carried.items():
                held[name].assign(outputs[new])
            return outputs[Workload.LOSS]

        self._held = held
        self._step: Callable[[dict[str, Any]], Any] = step
        drawn = itertools.islice(batches_for(definition, case.mode, 0), _BATCHES)
        self._batches = itertools.cycle([{n: tf.convert_to_tensor(v) for n, v in batch.items()} for batch in drawn])

    def run(self) -> float:
        """Seconds of one step; the loss is read, since TensorFlow may return before it is done."""
        batch = next(self._batches)
        started = time.perf_counter()
        tf.nest.map_structure(lambda tensor: tensor.numpy(), self._step(batch))
        return time.perf_counter() - started

    def optimizer_s(self) -> list[float]:
        """None: a part of a compiled function has no time of its own."""
        return []
