"""aten operations that are replaced by simpler ones while a step is recorded.

One table holds them all (:func:`decomposition_table`): PyTorch's own decompositions where nothing translates the
operation as it is, and by subject those that are written here, because PyTorch has none or one that ONNX cannot
express.
"""

from .listed import DECOMPOSITIONS
from .table import decomposition_table

__all__ = ["DECOMPOSITIONS", "decomposition_table"]
