"""A graph read in float64: what its nodes say, without the rounding of float32.

A :class:`~fathom_onnx.graph.Graph` comes in; :class:`DoubleGraph` gives its outputs and gradients in float64. Every
float32 of the graph is made float64 (:mod:`.widening`), and it is run by onnx's reference evaluator with operators of
our own (:mod:`.kernels`) where the evaluator's are wrong, slow, or in float32 whatever they are given.
"""

from .evaluator import DoubleGraph
from .numbers import HELD, exactly, exactly_once
from .widening import widened

__all__ = ["HELD", "DoubleGraph", "exactly", "exactly_once", "widened"]
