"""From a captured TensorFlow graph to an ``onnx_ir`` model, by tf2onnx's conversion and our own handlers.

Only the conversion proper of tf2onnx is used. Its pattern rewriters look for loops, cells and quantisation that a
captured step does not have, take time that grows faster than the graph, and make nodes of unknown origin; its
optimizers merge independent random draws.
"""

from .convert import translate

__all__ = ["translate"]
