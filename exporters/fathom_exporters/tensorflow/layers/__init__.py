"""Layers as functions, which the models are written with, by subject."""

from .activations import elu, silu, tanh
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
from .segments import segment_softmax, segment_sum
from .tables import embedding_bag

__all__ = [
    "add",
    "batch_norm",
    "classifier",
    "conv2d",
    "dropout",
    "elu",
    "embedding_bag",
    "flatten",
    "global_average_pool",
    "huber",
    "linear",
    "local_response_norm",
    "max_pool",
    "relu",
    "rms_norm",
    "segment_softmax",
    "segment_sum",
    "sigmoid",
    "silu",
    "softmax_cross_entropy",
    "softplus",
    "tanh",
]
