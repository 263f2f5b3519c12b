"""From a captured TensorFlow graph to an ``onnx_ir`` model, by tf2onnx's conversion and handlers of our own.

In comes a :class:`~fathom_exporters.tensorflow.capture.Captured` step; out goes a model for
:func:`fathom_exporters.lowering.finish`, in which gradients are canonical ops and every node has its tag.

Of tf2onnx only the conversion itself is used. Its pattern rewriters look for loops, cells and quantisation that a
captured step does not have, take time that grows faster than the graph, and make nodes of unknown origin. Its
optimizers merge independent random draws.
"""

from .convert import translate

__all__ = ["translate"]
