"""From a framework's translated graph to standard ONNX: lower, clean up, label, check.

The one entry point is :func:`finish`. In comes an ``onnx_ir`` model in which

* every node has a :class:`Tag` in its metadata,
* graph inputs and outputs have the interface's names, order, shapes and types,
* gradients are private ops, those of :mod:`fathom_exporters.lowering.canonical`.

Out goes the model of a graph file: standard ops in the form that suits its purpose, every node named by its address,
all shapes static, metadata written, the contract of a graph file checked.
"""

from .canonical import CANONICAL, DOMAIN, VERSION, register_schemas
from .finish import OPSET, finish
from .tags import REPEATED, Tag

__all__ = ["CANONICAL", "DOMAIN", "OPSET", "REPEATED", "VERSION", "Tag", "finish", "register_schemas"]
