"""The lowering sets: canonical gradient op to the rule that writes it in standard ONNX."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from . import convolution, local_response, movement, normalisation, pointwise, pooling
from .builder import Builder

__all__ = ["LOWERINGS", "Rule"]

Rule = Callable[[Builder, ir.Node], list[ir.Value]]
"""Makes the nodes of one private op and returns the values that take the place of its outputs."""

_PLAIN: dict[str, Rule] = {
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

LOWERINGS: dict[str, dict[str, Rule]] = {"plain": _PLAIN}
"""Name of a lowering set to its rules. ``plain`` keeps convolutions as Conv and their gradients as Conv,
ConvTranspose or Gemm; it is what ``graphs/`` holds and what simulators read."""
