"""The times of a run on the nodes of its graph, for graph viewers.

Input: a run and the graph that it ran. Output: a copy of the graph or a data file for Netron, a data file for Model
Explorer, or the run's timeline for Perfetto, and a report of what the viewer shows.
"""

from .model_explorer import node_data
from .netron import attachment, describe_nodes, name_nodes
from .overlay import (
    GraphTimes,
    NodeTime,
    OverlayCoverage,
    copy_timeline,
    coverage,
    graph_times,
    node_times,
    read_graph,
    write_copy,
)

__all__ = [
    "GraphTimes",
    "NodeTime",
    "OverlayCoverage",
    "attachment",
    "copy_timeline",
    "coverage",
    "describe_nodes",
    "graph_times",
    "name_nodes",
    "node_data",
    "node_times",
    "read_graph",
    "write_copy",
]
