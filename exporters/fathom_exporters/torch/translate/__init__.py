"""From a recorded step to an ``onnx_ir`` model whose gradients are canonical ops.

In comes a :class:`~fathom_exporters.torch.recorded.Capture`; out goes a model for
:func:`fathom_exporters.lowering.finish`, each node with its tag. Operations are written by :data:`TRANSLATIONS` and,
where that has nothing, by the functions of PyTorch's own exporter (``torch.onnx``).
"""

from .convert import translate
from .registry import TRANSLATIONS, registry, translated_operations
from .rows import keep_rows

__all__ = ["TRANSLATIONS", "keep_rows", "registry", "translate", "translated_operations"]
