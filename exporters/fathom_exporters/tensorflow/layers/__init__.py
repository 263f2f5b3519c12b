"""Layers as functions, which the models are written with, by subject."""

from .activations import elu, gelu, silu, tanh
from .attention import heads_attention
from .basic import (
    add,
    batch_norm,
    classifier,
    constant,
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
from .norms import group_norm, layer_norm, rms_norm
from .segments import segment_softmax, segment_sum
from .tables import embedding_bag

__all__ = [
    "add",
    "batch_norm",
    "classifier",
    "constant",
    "conv2d",
    "dropout",
    "elu",
    "embedding_bag",
    "flatten",
    "gelu",
    "global_average_pool",
    "group_norm",
    "heads_attention",
    "huber",
    "layer_norm",
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
