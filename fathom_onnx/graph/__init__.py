"""Graph files: names, metadata, loading."""

from .address import Address
from .metadata import GraphMetadata
from .model import Graph, Tensor, from_model, load, load_structure

__all__ = ["Address", "Graph", "GraphMetadata", "Tensor", "from_model", "load", "load_structure"]
