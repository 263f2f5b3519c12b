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
    pointwise,
    pooling,
)
from .gradients import (
    polyphase as phases,
)

__all__ = ["RULES", "Rule"]

Rule = Callable[[Builder, ir.Node], list[ir.Value]]
"""Makes the nodes of one private op and returns the values that take the place of its outputs."""

_ONNXRUNTIME: dict[str, Rule] = {
    "Conv2DBackFilter": convolution.back_filter,
    "Conv2DBackInput": convolution.back_input,
    "MaxPoolGrad": pooling.max_pool_grad,
    "ReluGrad": pointwise.relu_grad,
    "ClipGrad": pointwise.clip_grad,
    "SigmoidGrad": pointwise.sigmoid_grad,
    "TanhGrad": pointwise.tanh_grad,
    "SoftplusGrad": pointwise.softplus_grad,
    "LogSoftmaxGrad": pointwise.log_softmax_grad,
    "SoftmaxGrad": pointwise.softmax_grad,
    "CrossEntropy": pointwise.cross_entropy,
    "BatchNormTraining": normalisation.batch_norm_training,
    "BatchNormGrad": normalisation.batch_norm_grad,
    "GatherGrad": movement.gather_grad,
    "SliceGrad": movement.slice_grad,
    "LRNGrad": local_response.lrn_grad,
}

_SIMULATORS: dict[str, Rule] = {
    **_ONNXRUNTIME,
    "Conv2DBackInput": phases.back_input,
    "MaxPoolGrad": phases.max_pool_grad,
}

_CUDA: dict[str, Rule] = {**_ONNXRUNTIME, "Conv2DBackInput": cuda.back_input}

RULES: dict[Purpose, dict[str, Rule]] = {"simulators": _SIMULATORS, "onnxruntime": _ONNXRUNTIME, "cuda": _CUDA}
"""Purpose of a graph to its rules.

``simulators`` is what ``graphs/`` holds and what most consumers read: convolutions and their gradients are Conv or
Gemm, no transposed convolution, no pooling indices. ``onnxruntime`` takes the forms that onnxruntime's CPU kernels run
fastest. ``cuda`` differs from it in the input gradient of a convolution: a transposed convolution with even padding,
the only ones that onnxruntime has CUDA kernels for. All ops of ``simulators`` and ``cuda`` have them; which is faster
there was not measured yet."""
