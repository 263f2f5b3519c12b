"""Layers as functions, which the models are written with, by subject."""

from .activations import silu, tanh
from .basic import (
    add,
    batch_norm,
    classifier,
    conv2d,
    dropout,
    flatten,
    global_average_pool,
    huber,
    linear,
    local_response_norm,
    max_pool,
    relu,
    sigmoid,
    softmax_cross_entropy,
    softplus,
)
from .norms import rms_norm
from .tables import embedding_bag

__all__ = [
    "add",
    "batch_norm",
    "classifier",
    "conv2d",
    "dropout",
    "embedding_bag",
    "flatten",
    "global_average_pool",
    "huber",
    "linear",
    "local_response_norm",
    "max_pool",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "softmax_cross_entropy",
    "softplus",
    "tanh",
]
