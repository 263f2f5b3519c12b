"""From a framework's translated graph to standard ONNX: lower, simplify, label, check.

The one entry point is :func:`finish`. A translator hands it an ``onnx_ir`` model in which

* every node has a :class:`Tag` in its metadata,
* graph inputs and outputs have the interface's names, order, shapes and types,
* gradients stand as the private ops of :mod:`fathom_exporters.lowering.canonical`.
"""

from .canonical import CANONICAL, DOMAIN, VERSION, register_schemas
from .finish import finish
from .tags import Tag

__all__ = ["CANONICAL", "DOMAIN", "VERSION", "Tag", "finish", "register_schemas"]
