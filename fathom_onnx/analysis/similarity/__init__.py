"""How alike workloads are: op mixes, their distances, the framework question, clusters, nearest workloads.

Runs (or graphs that did not run) come in, as op mixes or as summaries. What goes out: distances and clusters of
workloads, an assessment of whether the framework matters, and the workloads nearest to a graph.

Public: :class:`OpMix` with :func:`run_op_mix`, :func:`native_op_mix` and :func:`structure_op_mix`;
:func:`framework_effect`, :func:`assess` and :class:`FrameworkLevel`; :func:`centroid_linkage`;
:func:`nearest_workloads`.
"""

from .clusters import centroid_linkage
from .distances import assess
from .levels import FrameworkLevel
from .nearest import NearestWorkloads, nearest_workloads
from .op_mix import OpMix, native_op_mix, run_op_mix, structure_op_mix
from .similarity import RunLabel, framework_effect

__all__ = [
    "FrameworkLevel",
    "NearestWorkloads",
    "OpMix",
    "RunLabel",
    "assess",
    "centroid_linkage",
    "framework_effect",
    "native_op_mix",
    "nearest_workloads",
    "run_op_mix",
    "structure_op_mix",
]
