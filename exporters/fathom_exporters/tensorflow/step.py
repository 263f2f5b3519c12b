"""A workload's step as one pure function of its interface's inputs, by TensorFlow's own autodiff.

All operations are in name scopes: ``forward/<layer>/``, ``loss/loss/``, ``optimizer/<parameter>/``. The gradient tape
names its operations ``gradient_tape/`` and the name of the forward operation, so that the backward phase has layers
too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Mode, Workload

from . import optimizers
from .models import Model
from .net import DataFormat, Net

__all__ = ["gradient_name", "run_step"]


def gradient_name(parameter: str) -> str:
    """The name under which a step gives the gradient of a parameter, before any treatment."""
    return f"gradient of {parameter}"


def run_step(
    workload: Workload,
    model: Model,
    mode: Mode,
    values: Mapping[str, tf.Tensor],
    *,
    data_format: DataFormat = "NCHW",
    update: bool = True,
) -> dict[str, tf.Tensor]:
    """One step: the outputs of the interface by name; in training the gradients too (:func:`gradient_name`).

    Args:
        workload: The workload.
        model: Its model.
        mode: Inference is the forward pass; training is forward, loss, gradients, optimizer.
        values: The inputs of the interface by name; noise that is not among them is drawn.
        data_format: The layout of images between layers.
        update: Whether a training step has its optimizer; without it, new values of buffers are all the new state.

    Raises:
        ExportError: The loss does not depend on a parameter, or the model lacks an output or the new value of a
            buffer or cache.
    """
    noise = {n.name: n for n in workload.noise.get(mode, ())}
    net = Net(
        variables=values,
        mode=mode,
        data_format=data_format,
        given_noise={name: values[name] for name in noise if name in values},
        noise=noise,
    )
    batch = {spec.name: values[spec.name] for spec in workload.batch_inputs(mode)}
    if mode == "inference":
        outputs = model.forward(net, workload.config, batch)
        names = [spec.name for spec in workload.outputs]
        _refuse_missing("output", [name for name in names if name not in outputs])
        _refuse_missing("new value of cache", [v.name for v in workload.caches if v.name not in net.new_buffers])
        new = {v.next.name: net.new_buffers[v.name] for v in workload.caches}
        return {**{name: outputs[name] for name in names}, **new}
    return _training(workload, model, net, values, batch, update)


def _training(
    workload: Workload,
    model: Model,
    net: Net,
    values: Mapping[str, tf.Tensor],
    batch: Mapping[str, tf.Tensor],
    update: bool,
) -> dict[str, tf.Tensor]:
    """The loss and the new state by interface name, and the gradients."""
    parameters = {p.name: values[p.name] for p in workload.parameters}
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        outputs = model.forward(net, workload.config, batch)
        net.phase = "loss"
        with net.scope(Workload.LOSS):
            loss = model.loss(net, workload.config, outputs, batch)
    gradients = tape.gradient(loss, parameters)
    _refuse_missing("gradient of parameter", [name for name, gradient in gradients.items() if gradient is None])
    _refuse_missing("new value of buffer", [b.name for b in workload.buffers if b.name not in net.new_buffers])
    net.phase = "optimizer"
    for name, gradient in gradients.items():
        if name in workload.row_gradients:
            gradients[name] = _rows(name, gradient)
        elif isinstance(gradient, tf.IndexedSlices):  # rows of an embedding, by index: summed into a dense gradient
            with tf.name_scope(f"gradient_tape/forward/{name.rpartition('.')[0]}/"):
                gradients[name] = tf.convert_to_tensor(gradient)
    new = (optimizers.apply(net, workload, values, gradients) if update else {}) | net.new_buffers
    state = {v.next.name: new[v.name] for v in workload.carried("training") if v.name in new}
    return {Workload.LOSS: loss, **state, **{gradient_name(name): gradient for name, gradient in gradients.items()}}


def _rows(parameter: str, gradient: Any) -> tf.Tensor:
    """The rows of a gradient, in the order in which the step reads them.

    Raises:
        ExportError: The gradient is not of rows: the model does not only read the parameter by index.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        raise ExportError(
            f"the gradient of '{parameter}' is not of rows", "read it by index alone, or leave out its row gradient"
        )
    return gradient.values


def _refuse_missing(kind: str, missing: list[str]) -> None:
    """Refuse a model that lacks something.

    Raises:
        ExportError: Anything is missing.
    """
    if missing:
        raise ExportError(
            f"the TensorFlow model makes no {kind} {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}",
            "the model and the workload must agree",
        )
