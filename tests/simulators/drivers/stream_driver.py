"""What Stream makes of a graph: its computation nodes, of which ``counted`` multiply and accumulate.

Stream does not say how many multiply-accumulates a node has before it is mapped, so ``macs`` is None.
"""

from __future__ import annotations

import importlib.metadata
import sys

from answer import Answer, answer


def look(path: str) -> Answer:
    """Parse a graph with Stream's own parser; nothing is scheduled."""
    from stream.parser.onnx.model import ONNXModelParser
    from stream.workload.utils import is_mac_operator_type
    from stream.workload.workload import ComputationNode

    parser = ONNXModelParser(path)
    parser.run()
    nodes = [node for node in parser.workload.nodes() if isinstance(node, ComputationNode)]
    return {"counted": [n.name for n in nodes if is_mac_operator_type(n.type)], "operations": len(nodes)}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("stream-dse")))
