"""From a recorded step to an ``onnx_ir`` model whose gradients are canonical ops.

In comes a :class:`~fathom_exporters.torch.capture.Capture`; out goes a model for
:func:`fathom_exporters.lowering.finish`, each node with its tag. PyTorch's own exporter (``torch.onnx``) does the
conversion, with :data:`TRANSLATIONS` in place of its table where that has nothing or something less plain.
"""

from .convert import TRANSLATIONS, translate

__all__ = ["TRANSLATIONS", "translate"]
