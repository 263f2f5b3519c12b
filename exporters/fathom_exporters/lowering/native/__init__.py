"""The ops of opset 23 in the place of the standard ones that they stand for.

In comes a lowered, cleaned-up graph; out goes one in which forward nodes are written natively, where they are what such
an op computes: :class:`WriteNativeOps`. Each module finds one op's pattern and writes it. What the backward pass reads
of the nodes that went, and the op does not give, stays beside it.
"""

from .write import WriteNativeOps

__all__ = ["WriteNativeOps"]
