"""A workload's step as one pure function of its interface's inputs, by JAX's own derivatives and optax.

Everything is in named scopes: ``forward/<layer>``, ``loss``, ``optimizer``; what JAX derives is in the scope of what it
is derived from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import Array

from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Mode, Workload

from . import marks, optimizers
from .models import Model
from .models.contract import Draw, Tensors

__all__ = ["ANY_KEY", "Made", "draw_from", "run_step"]


ANY_KEY: Any = np.zeros(2, np.uint32)
"""What a recorded step draws from: a random op of a graph has no key. No array of JAX, which would start XLA here."""


@dataclass(frozen=True)
class Made:
    """What a step makes: the outputs of the interface by name and, in training, the gradients by parameter."""

    outputs: dict[str, Array]
    gradients: dict[str, Array] = field(default_factory=dict)


def draw_from(workload: Workload, mode: Mode, values: Tensors, key: Array | None = None) -> Draw:
    """Random tensors by name: those among the values, and drawn from a key the others, of the type of parameters.

    Args:
        workload: The workload.
        mode: The mode.
        values: The inputs of the interface by name.
        key: What is drawn from; a fixed one by default, as for a graph, whose random ops have no key.
    """
    noises = {noise.name: (number, noise) for number, noise in enumerate(workload.noise.get(mode, ()))}
    dtype = next((str(v.dtype) for p in workload.parameters if (v := values.get(p.name)) is not None), "float32")

    def draw(name: str) -> Array:
        if name in values:
            return values[name]
        number, noise = noises[name]
        random = marks.random_normal if noise.distribution == "normal" else marks.random_uniform
        return random(ANY_KEY if key is None else key, noise.shape, dtype, number)

    return draw


def run_step(
    workload: Workload, model: Model, mode: Mode, values: Tensors, noise: Draw, *, update: bool = True
) -> Made:
    """One step.

    Args:
        workload: The workload.
        model: Its model.
        mode: Inference is the forward pass; training is forward, loss, gradients, optimizer.
        values: The inputs of the interface by name; noise may be missing.
        noise: Gives random tensors (:func:`draw_from`).
        update: Whether a training step has its optimizer; without it, new values of buffers are all the new state.

    Raises:
        ExportError: The model lacks an output or the new value of a buffer or cache.
    """
    batch = {spec.name: values[spec.name] for spec in workload.batch_inputs(mode)}
    caches = workload.caches if mode == "inference" else workload.frozen
    variables = {v.name: values[v.name] for v in (*workload.parameters, *workload.buffers, *caches)}
    if mode == "inference":
        with jax.named_scope("forward"):
            outputs, new = model.forward(workload.config, variables, batch, noise, False)
        names = [spec.name for spec in workload.outputs]
        _refuse_missing("output", names, outputs)
        _refuse_missing("new value of cache", [v.name for v in workload.caches], new)
        return Made({**{n: outputs[n] for n in names}, **{v.next.name: new[v.name] for v in workload.caches}})

    def objective(parameters: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        with jax.named_scope("forward"):
            outputs, new = model.forward(workload.config, {**variables, **parameters}, batch, noise, True)
        with jax.named_scope("loss"):
            return model.loss(workload.config, outputs, batch), new

    parameters = {p.name: values[p.name] for p in workload.parameters}
    (loss, new), gradients = jax.value_and_grad(objective, has_aux=True)(parameters)
    _refuse_missing("new value of buffer", [b.name for b in workload.buffers], new)
    if update:
        with jax.named_scope("optimizer"):
            new = {**new, **optimizers.apply(workload, values, gradients, noise)}
    state = {v.next.name: new[v.name] for v in (workload.carried("training") if update else workload.buffers)}
    return Made({Workload.LOSS: loss, **state}, gradients)


def _refuse_missing(kind: str, wanted: list[str], made: Mapping[str, Array]) -> None:
    """Refuse a model that lacks something.

    Raises:
        ExportError: Anything is missing.
    """
    missing = [name for name in wanted if name not in made]
    if missing:
        raise ExportError(
            f"the JAX model makes no {kind} {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}",
            "the model and the workload must agree",
        )
