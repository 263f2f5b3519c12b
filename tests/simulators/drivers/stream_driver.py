"""What Stream makes of a graph: a workload of computation nodes; contractions' iterations are multiply-accumulates."""

from __future__ import annotations

import importlib.metadata
import sys

from answer import Answer, answer


def look(path: str) -> Answer:
    """Parse a graph with Stream's own parser; nothing is scheduled."""
    from stream.parser.onnx.model import ONNXModelParser

    parser = ONNXModelParser(path)
    parser.run()
    return {"macs": None, "operations": parser.workload.number_of_nodes()}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("stream-dse")))
