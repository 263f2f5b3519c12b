"""What AccelForge makes of a workload file: its einsums and the computations it counts by itself."""

from __future__ import annotations

import importlib.metadata
import sys

from answer import Answer, answer


def look(path: str) -> Answer:
    """Read a workload; nothing is mapped."""
    from accelforge.frontend.workload import Workload

    workload = Workload.from_yaml(path, top_key="workload")
    layers = {str(name): int(workload.n_computes(name)) for name in workload.einsum_names}
    return {"macs": sum(layers.values()), "layers": layers}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("accelforge")))
