"""Exporting: the interface of an exporter, how one is found, and from a workload or a recipe to its graph.

A workload, or a recipe of a user's own model, and a request come in; a :class:`~fathom_onnx.graph.Graph` or its file
goes out, made by the exporter of a framework (:mod:`.contract`). This package never imports a framework itself.
"""

from .contract import (
    DEFAULT_FRAMEWORK,
    ENTRY_POINT_GROUP,
    FURTHER_FRAMEWORKS,
    OPSET,
    OPSETS,
    PURPOSES,
    Exporter,
    ExportRequest,
    Gap,
    Purpose,
    Reference,
    StepResult,
    find_exporter,
    frameworks,
    one_gap,
    purpose_for,
    usual_frameworks,
)
from .graphs import Exported, export_file, export_graph, graph_path
from .of_recipes import find_gaps, read_recipe, recipe_name

__all__ = [
    "DEFAULT_FRAMEWORK",
    "ENTRY_POINT_GROUP",
    "FURTHER_FRAMEWORKS",
    "OPSET",
    "OPSETS",
    "PURPOSES",
    "ExportRequest",
    "Exported",
    "Exporter",
    "Gap",
    "Purpose",
    "Reference",
    "StepResult",
    "export_file",
    "export_graph",
    "find_exporter",
    "find_gaps",
    "frameworks",
    "graph_path",
    "one_gap",
    "purpose_for",
    "read_recipe",
    "recipe_name",
    "usual_frameworks",
]
