"""The rules for each purpose: canonical gradient op to the rule that writes it in standard ONNX."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from fathom_onnx.exporting import Purpose

from .builder import Builder
from .gradients import (
    convolution,
    cuda,
    local_response,
    movement,
    normalisation,
    norms,
    pointwise,
    polyphase,
    pooling,
)
from .gradients.fast import convolution as fast_convolution
from .gradients.fast import local_response as fast_local_response
from .gradients.fast import pointwise as fast_pointwise
from .gradients.fast import pooling as fast_pooling
from .gradients.fast import tables

__all__ = ["RULES", "Rule"]

Rule = Callable[[Builder, ir.Node], list[ir.Value]]
"""Builds the nodes that replace one private op and returns the values that replace its outputs."""

_PLAIN: dict[str, Rule] = {
    "Conv2DBackFilter": convolution.back_filter,
    "Conv2DBackInput": convolution.back_input,
    "MaxPoolGrad": pooling.max_pool_grad,
    "ReluGrad": pointwise.relu_grad,
    "ClipGrad": pointwise.clip_grad,
    "SigmoidGrad": pointwise.sigmoid_grad,
    "TanhGrad": pointwise.tanh_grad,
    "SoftplusGrad": pointwise.softplus_grad,
    "GeluGrad": pointwise.gelu_grad,
    "SiluGrad": pointwise.silu_grad,
    "LogSoftmaxGrad": pointwise.log_softmax_grad,
    "SoftmaxGrad": pointwise.softmax_grad,
    "CrossEntropy": pointwise.cross_entropy,
    "BatchNormTraining": normalisation.batch_norm_training,
    "BatchNormGrad": normalisation.batch_norm_grad,
    "LayerNormGrad": norms.layer_norm_grad,
    "GroupNormGrad": norms.group_norm_grad,
    "GatherGrad": movement.gather_grad,
    "ScatterAdd": movement.scatter_add,
    "SliceGrad": movement.slice_grad,
    "LRNGrad": local_response.lrn_grad,
}

_ONNXRUNTIME: dict[str, Rule] = {
    **_PLAIN,
    "Conv2DBackFilter": fast_convolution.back_filter,
    "Conv2DBackInput": fast_convolution.back_input,
    "MaxPoolGrad": fast_pooling.max_pool_grad,
    "ReluGrad": fast_pointwise.relu_grad,
    "ClipGrad": fast_pointwise.clip_grad,
    "GatherGrad": tables.gather_grad,
    "LRNGrad": fast_local_response.lrn_grad,
}

_SIMULATORS: dict[str, Rule] = {
    **_PLAIN,
    "Conv2DBackInput": polyphase.back_input,
    "MaxPoolGrad": polyphase.max_pool_grad,
}

_CUDA: dict[str, Rule] = {**_PLAIN, "Conv2DBackInput": cuda.back_input}

RULES: dict[Purpose, dict[str, Rule]] = {"simulators": _SIMULATORS, "onnxruntime": _ONNXRUNTIME, "cuda": _CUDA}
"""Purpose of a graph to its rules.

``simulators`` are the forms of the files in ``graphs/``, which most consumers read: convolutions and their gradients
are Conv or Gemm, no transposed convolution, no pooling indices. ``onnxruntime`` are the forms that onnxruntime's CPU
kernels run fastest. ``cuda`` differs from them in the input gradient of a convolution: a transposed convolution with
even padding, the only kind that onnxruntime has CUDA kernels for. All ops of ``simulators`` and ``cuda`` have CUDA
kernels; which of the two is faster there has not been measured."""
