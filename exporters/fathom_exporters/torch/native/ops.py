"""The names of operations in PyTorch's profiler, and the canonical op of each.

The exporter's table (:mod:`fathom_exporters.torch.aten`) has the operations of a recording. A profile has more: the
composite operations that a recording replaces by their parts.
"""

from __future__ import annotations

from fathom_exporters.torch.aten import ATEN
from fathom_onnx.vocabulary import OPS
from fathom_onnx.workloads.contract import Mode

__all__ = ["COMPOSITE", "CONVOLUTION_BACKWARD", "NATIVE", "PREFIX", "canonical_op", "plain_name"]

PREFIX = "aten::"
"""Start of the names that PyTorch's profiler gives to aten operations."""

CONVOLUTION_BACKWARD = "convolution_backward"
"""One operation for the gradients of a convolution's input, filter and bias."""

_GROUPS: dict[str, str] = {
    "Activation": "huber_loss huber_loss_backward",
    "ApplyAdagrad": "_fused_adagrad",
    "ApplyAdam": "_fused_adam _fused_adamw",
    "ApplyMomentum": "_fused_sgd",
    "BatchNormTraining": "_batch_norm_impl_index batch_norm",
    "Conv2D": "_convolution conv1d",
    "Conv2DBackInput": CONVOLUTION_BACKWARD,
    "CrossEntropy": "binary_cross_entropy_with_logits cross_entropy_loss nll_loss nll_loss_backward nll_loss_forward "
    "nll_loss_nd",
    "Fill": "empty_strided new_empty resize zero",
    "Gather": "_embedding_bag _embedding_bag_forward_only embedding_bag",
    "GatherGrad": "_embedding_bag_backward _embedding_bag_dense_backward embedding_backward index_add "
    "index_select_backward",
    "GroupNorm": "group_norm",
    "Identity": "_indices _local_scalar_dense _sparse_coo_tensor_unsafe _sparse_coo_tensor_with_dims_and_tensors "
    "_values item lift_fresh real resolve_conj resolve_neg result_type",
    "LayerNorm": "layer_norm",
    "LogSoftmax": "log_softmax",
    "Logical": "__and__ __or__ __xor__",
    "Reshape": "_reshape_alias as_strided unflatten",
    "Sigmoid": "log_sigmoid",
    "Softmax": "softmax",
    "Tile": "broadcast_tensors expand_as",
}

NATIVE: dict[str, str] = {**ATEN, **{name: op for op, names in _GROUPS.items() for name in names.split()}}
"""aten operation, without prefix and the underscore of an update in place, to canonical op."""

if not set(_GROUPS) <= set(OPS):
    raise ValueError(f"not canonical ops: {sorted(set(_GROUPS) - set(OPS))}")

_COMPOSITE = (
    "__and__ __or__ __xor__ _batch_norm_impl_index _sparse_coo_tensor_unsafe batch_norm broadcast_tensors chunk "
    "contiguous conv1d conv2d cross_entropy_loss embedding_backward embedding_bag expand_as flatten group_norm "
    "index_select_backward item layer_norm linear log_sigmoid log_softmax matmul max_pool2d narrow nll_loss "
    "nll_loss_nd pad real reshape resolve_conj resolve_neg result_type softmax square to type_as unflatten "
    "upsample_nearest2d"
)

COMPOSITE = frozenset(_COMPOSITE.split()) | {
    # not composite to PyTorch's dispatcher, but it calls operations that have names of their own
    "binary_cross_entropy_with_logits"
}
"""Operations that only call others: each has its own time alone; any other has the time of all it calls too."""


def plain_name(name: str) -> str:
    """``add`` for ``aten::add_``."""
    name = name.removeprefix(PREFIX)
    return name if name.startswith("__") else name.removesuffix("_")


def canonical_op(name: str, mode: Mode) -> str:
    """The canonical op of a plain name, or the name itself where the table has none.

    PyTorch has one operation for batch normalisation by the batch's own statistics and by running ones.
    """
    op = NATIVE.get(name, f"{PREFIX}{name}")
    return "BatchNorm" if op == "BatchNormTraining" and mode == "inference" else op
