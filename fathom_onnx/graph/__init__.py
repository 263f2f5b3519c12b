"""Graphs as data: loading and checking, names and metadata, tensors, bodies, data flow, labels.

An ONNX file or model comes in (:func:`load`, :func:`load_exported`, :func:`load_structure`, :func:`from_model`); a
:class:`Graph` goes out, whose nodes the modules of this package number (:mod:`.bodies`), follow (:mod:`.dataflow`) and
label (:mod:`.labels`). Nothing here runs a graph.
"""

from .address import Address
from .metadata import GraphMetadata
from .model import Graph, from_model, load, load_exported, load_structure
from .tensors import Tensor

__all__ = ["Address", "Graph", "GraphMetadata", "Tensor", "from_model", "load", "load_exported", "load_structure"]
