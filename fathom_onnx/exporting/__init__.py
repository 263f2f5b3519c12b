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
    ReferenceInParts,
    StepResult,
    find_exporter,
    frameworks,
    one_gap,
    purpose_for,
    refuse_no_marks,
    usual_frameworks,
)
from .graphs import Exported, export_file, export_graph, graph_path
from .of_recipes import find_gaps, read_recipe, recipe_name
from .stablehlo import BYTECODE, TEXT, StableHlo, export_stablehlo, refuse_no_stablehlo

__all__ = [
    "BYTECODE",
    "DEFAULT_FRAMEWORK",
    "ENTRY_POINT_GROUP",
    "FURTHER_FRAMEWORKS",
    "OPSET",
    "OPSETS",
    "PURPOSES",
    "TEXT",
    "ExportRequest",
    "Exported",
    "Exporter",
    "Gap",
    "Purpose",
    "Reference",
    "ReferenceInParts",
    "StableHlo",
    "StepResult",
    "export_file",
    "export_graph",
    "export_stablehlo",
    "find_exporter",
    "find_gaps",
    "frameworks",
    "graph_path",
    "one_gap",
    "purpose_for",
    "read_recipe",
    "recipe_name",
    "refuse_no_marks",
    "refuse_no_stablehlo",
    "usual_frameworks",
]
