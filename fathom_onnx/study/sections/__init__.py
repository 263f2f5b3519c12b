"""The sections, pages and tables of a study's report.

A :class:`~fathom_onnx.study.result.StudyResult` comes in; values of :mod:`fathom_onnx.analysis.report.page` that the
report puts together, and tables, go out.
"""

from .compiled_sections import compiled_sections
from .framework_sections import framework_sections
from .movement_sections import movement_sections
from .noise_sections import noise_sections
from .overview import study_overview
from .paper_sections import paper_sections
from .tables import study_tables
from .trained_sections import trained_sections
from .workload_pages import workload_pages

__all__ = [
    "compiled_sections",
    "framework_sections",
    "movement_sections",
    "noise_sections",
    "paper_sections",
    "study_overview",
    "study_tables",
    "trained_sections",
    "workload_pages",
]
