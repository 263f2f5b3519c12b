"""The table from aten operations to canonical ops, which the exporter and native profiles share."""

from __future__ import annotations

import operator

from torch import fx

from fathom_onnx.errors import ExportError
from fathom_onnx.vocabulary import OPS

__all__ = ["ATEN", "canonical_op"]

_GROUPS: dict[str, str] = {
    "Abs": "abs",
    "Activation": "elu elu_backward hardsigmoid hardswish leaky_relu leaky_relu_backward mish prelu selu "
    "_prelu_kernel glu celu",
    "Add": "add add_ lerp",
    "ArgMax": "argmax argmin topk",
    "AvgPool": "_adaptive_avg_pool2d adaptive_avg_pool2d avg_pool2d avg_pool3d _adaptive_avg_pool3d "
    "adaptive_avg_pool3d",
    "AvgPoolGrad": "_adaptive_avg_pool2d_backward avg_pool2d_backward avg_pool3d_backward "
    "_adaptive_avg_pool3d_backward",
    "BatchNorm": "_native_batch_norm_legit_no_training",
    "BatchNormGrad": "native_batch_norm_backward",
    "BatchNormTraining": "_native_batch_norm_legit_functional _native_batch_norm_legit native_batch_norm",
    "Cast": "_to_copy convert_element_type to type_as",
    "Clip": "clamp clamp_max clamp_min hardtanh relu6",
    "ClipGrad": "hardtanh_backward",
    "Compare": "eq ge gt isinf isnan le lt ne allclose isclose isfinite isneginf isposinf signbit any all "
    "bucketize searchsorted",
    "Concat": "cat stack roll",
    "Conv2D": "conv2d convolution mkldnn_convolution",
    "CrossEntropy": "nll_loss_backward nll_loss_forward",
    "CumSum": "cumsum logcumsumexp cummax cummin cumprod",
    "Div": "div floor_divide fmod remainder true_divide",
    "Dropout": "native_dropout native_dropout_backward feature_dropout",
    "Erf": "erf erfc erf_inv special_erfcx",
    "Exp": "exp expm1 cosh exp2 sinh",
    "Fill": "arange empty empty_like full full_like new_empty_strided new_full new_zeros new_ones ones ones_like "
    "scalar_tensor zeros zeros_like fill _efficientzerotensor empty_permuted empty_strided eye iota linspace "
    "new_empty tril_indices triu_indices",
    "Gather": "embedding gather index index_select im2col",
    "GatherGrad": "embedding_dense_backward",
    "Gelu": "gelu",
    "GeluGrad": "gelu_backward",
    "GroupNorm": "native_group_norm",
    "GroupNormGrad": "native_group_norm_backward",
    "Identity": "alias clone contiguous detach lift_fresh_copy copy",
    "LayerNorm": "native_layer_norm",
    "LayerNormGrad": "native_layer_norm_backward",
    "Log": "log log10 log2 logaddexp logit xlogy",
    "Log1p": "log1p",
    "LogSoftmax": "_log_softmax",
    "LogSoftmaxGrad": "_log_softmax_backward_data",
    "Logical": "bitwise_and bitwise_not bitwise_or bitwise_xor logical_and logical_not logical_or logical_xor "
    "bitwise_left_shift bitwise_right_shift __lshift__ __rshift__",
    "MatMul": "addmm addmv baddbmm bmm dot linear matmul mm mv addbmm addr",
    "Max": "amax max logsumexp",
    "MaxPool": "max_pool2d max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d",
    "MaxPoolGrad": "max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward "
    "adaptive_max_pool3d_backward",
    "Maximum": "maximum",
    "Mean": "mean",
    "Min": "amin min",
    "Minimum": "minimum",
    "Mul": "mul cross deg2rad linalg_cross rad2deg",
    "Neg": "neg",
    "Norm": "hypot linalg_vector_norm norm var var_mean std _cdist_forward _cdist_backward",
    "OneHot": "one_hot",
    "Pad": "constant_pad_nd pad reflection_pad2d replication_pad2d reflection_pad1d reflection_pad3d "
    "replication_pad1d replication_pad3d reflection_pad1d_backward reflection_pad2d_backward "
    "reflection_pad3d_backward replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward "
    "tril triu",
    "Pow": "pow",
    "Prod": "prod",
    "RandomNormal": "normal normal_functional randn randn_like normal_",
    "RandomUniform": "bernoulli rand rand_like uniform multinomial randint randint_like randperm exponential",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "ReluGrad": "threshold_backward",
    "Reshape": "_unsafe_view flatten reshape squeeze unsqueeze view",
    "Resize": "pixel_shuffle upsample_bilinear2d upsample_nearest2d upsample_nearest1d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
    "upsample_nearest1d_backward upsample_nearest2d_backward upsample_nearest3d_backward "
    "_upsample_nearest_exact1d_backward _upsample_nearest_exact2d_backward "
    "_upsample_nearest_exact3d_backward upsample_linear1d_backward upsample_bilinear2d_backward "
    "upsample_trilinear3d_backward upsample_bicubic2d_backward _upsample_bilinear2d_aa_backward "
    "_upsample_bicubic2d_aa_backward pixel_unshuffle channel_shuffle grid_sampler_2d grid_sampler_3d "
    "grid_sampler_2d_backward grid_sampler_3d_backward affine_grid_generator",
    "Round": "ceil floor round trunc",
    "Rsqrt": "rsqrt",
    "Scatter": "index_put scatter select_scatter slice_scatter max_unpool2d max_unpool3d col2im index_reduce put "
    "scatter_add scatter_reduce masked_scatter",
    "Select": "masked_fill where",
    "Sigmoid": "log_sigmoid_forward sigmoid",
    "SigmoidGrad": "log_sigmoid_backward sigmoid_backward",
    "Sign": "copysign sgn sign",
    "Silu": "silu",
    "SiluGrad": "silu_backward",
    "Sin": "acos asin atan atan2 cos sin tan blackman_window hamming_window hann_window acosh asinh atanh",
    "Slice": "as_strided narrow select slice split split_with_sizes unbind chunk diagonal unfold flip unsafe_split",
    "SliceGrad": "select_backward slice_backward",
    "Softmax": "_softmax",
    "SoftmaxGrad": "_softmax_backward_data",
    "Softplus": "softplus",
    "SoftplusGrad": "softplus_backward",
    "Sort": "nonzero sort argsort kthvalue median mode nanmedian",
    "Sqrt": "sqrt",
    "Square": "square",
    "Sub": "rsub sub",
    "Sum": "sum",
    "Tanh": "tanh",
    "TanhGrad": "tanh_backward",
    "Tile": "expand repeat repeat_interleave tile",
    "Transpose": "movedim numpy_T permute t transpose",
}

ATEN: dict[str, str] = {name: op for op, names in _GROUPS.items() for name in names.split()}
"""aten operation (without overload) to canonical op. A convolution's backward is not in it: it is two ops."""

if not set(_GROUPS) <= set(OPS):
    raise ValueError(f"not canonical ops: {sorted(set(_GROUPS) - set(OPS))}")

_SEVERAL = {"convolution_backward": "Conv2DBackInput"}
"""Operations that become several canonical ops: the one that their nodes have unless the translation says otherwise."""


def canonical_op(node: fx.Node) -> str:
    """The canonical op of a recorded operation.

    Raises:
        ExportError: The operation is not in the table.
    """
    target = node.target
    if target is operator.getitem:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        return canonical_op(source)
    name = str(target).removeprefix("aten.").removeprefix("prims.").partition(".")[0]
    if name == "constant_pad_nd" and all(isinstance(n, int) and n <= 0 for n in node.args[1]):  # type: ignore[union-attr]
        return "Slice"  # the gradient of zeros around a tensor cuts them off
    op = ATEN.get(name) or _SEVERAL.get(name)
    if op is None:
        raise ExportError(
            f"PyTorch operation '{target}' has no canonical op", "add it to exporters/fathom_exporters/torch/aten.py"
        )
    return op
