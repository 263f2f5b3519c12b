"""Layers as functions, which the models are written with.

A layer takes the variables, its own name (a layer of the workload) and its input; its parameters are the variables
``<name>.weight`` and so on, in the workload's layout: linear [out, in], convolution OIHW, images NCHW.
"""

from __future__ import annotations

from collections.abc import Callable

from jax import Array

from .contract import Tensors, layer

__all__ = ["apply", "linear"]


def linear(variables: Tensors, name: str, x: Array) -> Array:
    """``x W^T + b``: [..., in] -> [..., out]."""
    with layer(name):
        return x @ variables[f"{name}.weight"].T + variables[f"{name}.bias"]


def apply(name: str, function: Callable[..., Array], *args: Array) -> Array:
    """A function without parameters as a layer: ``apply("relu1", marks.relu, x)``."""
    with layer(name):
        return function(*args)
