"""Models in plain JAX with optax, as they are written by its users: pytrees of every kind, scans, keys, state.

Everything is drawn from a seed, so that a recipe is the same at each call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is also loaded by its path

import optax

from fathom_onnx.recipes import Recipe
from models.jax_parts.networks import NETWORKS
from models.jax_parts.objectives import OBJECTIVES

__all__ = ["MODELS", "OPTIMIZERS", "build", "optimizer_of"]

MODELS = {**NETWORKS, **OBJECTIVES}
"""Name to what makes the parts of a recipe."""

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optax.sgd(0.01),
    "momentum": lambda: optax.sgd(0.01, momentum=0.9),
    "nesterov": lambda: optax.sgd(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    "rmsprop": lambda: optax.rmsprop(1e-3),
    "adagrad": lambda: optax.adagrad(0.01),
    "adafactor": lambda: optax.adafactor(1e-3, min_dim_size_to_factor=4),
    "lamb": lambda: optax.lamb(1e-3),
    "lion": lambda: optax.lion(1e-4),
}
"""Name to an optimizer; the models take them in turn."""


def optimizer_of(name: str) -> str:
    """The optimizer whose turn it is at a model."""
    return list(OPTIMIZERS)[list(MODELS).index(name) % len(OPTIMIZERS)]


def build(name: str, optimizer: str = "") -> Recipe:
    """Make a recipe, the same at each call."""
    if name not in MODELS:
        raise ValueError(f"no model {name}; there are {', '.join(sorted(MODELS))}")
    params, batch, function, *state = MODELS[name]()
    return Recipe(
        params, batch, function, OPTIMIZERS[optimizer or optimizer_of(name)](), state=state[0] if state else None
    )
