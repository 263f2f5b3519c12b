"""Operators for onnx's reference evaluator where its own are wrong for float64, slow or missing."""

from . import convolution, indexing, normalisation, pointwise, pooling, resampling

__all__ = ["KERNELS"]

KERNELS = (
    *convolution.OPERATORS,
    *indexing.OPERATORS,
    *normalisation.OPERATORS,
    *pointwise.OPERATORS,
    *pooling.OPERATORS,
    *resampling.OPERATORS,
)
"""All of them, as the evaluator takes them."""
