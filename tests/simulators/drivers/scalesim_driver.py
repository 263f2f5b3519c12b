"""What SCALE-Sim makes of a topology: its layers, their multiply-accumulates and, with ``--run``, their cycles.

A file is a table of matrix products where its header says so (``Layer,M,N,K,``), of convolutions otherwise.
"""

from __future__ import annotations

import csv
import importlib.metadata
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from answer import Answer, answer

RUN = "--run" in sys.argv

ARCHITECTURE = """[general]
run_name = run
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 512
FilterSramSzkB: 512
OfmapSramSzkB: 256
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 64
Dataflow: ws
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
"""A 32 x 32 weight-stationary array, enough memory bandwidth to be bound by the array."""


def is_gemm(path: str) -> bool:
    """Whether a topology's rows are matrix products."""
    with Path(path).open() as file:
        return [cell.strip() for cell in file.readline().split(",")][1:4] == ["M", "N", "K"]


def look(path: str) -> Answer:
    """Read a topology with SCALE-Sim's own reader and, if asked to, simulate it."""
    from scalesim.topology_utils import topologies

    gemm, table = is_gemm(path), topologies()
    table.load_arrays(path, mnk_inputs=gemm)
    layers: dict[str, int] = {}
    for number in range(table.get_num_layers()):
        name = table.get_layer_name(number) if hasattr(table, "get_layer_name") else str(number)
        windows = math.prod(table.get_layer_ofmap_dims(number))
        layers[name] = windows * table.get_layer_window_size(number) * table.get_layer_num_filters(number)
    found: Answer = {"macs": sum(layers.values()), "layers": layers}
    return {**found, "cycles": simulate(path, gemm)} if RUN else found


def simulate(path: str, gemm: bool) -> list[dict[str, Any]]:
    """Run the simulator; its compute report, a row a layer."""
    from scalesim.scale_sim import scalesim

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "architecture.cfg"
        config.write_text(ARCHITECTURE)
        # a layout file is opened even where no layout is wanted
        layout = Path(folder) / "layout.csv"
        layout.write_text("Layer name,\n")
        simulator = scalesim(
            save_disk_space=True,
            verbose=False,
            config=str(config),
            topology=path,
            layout=str(layout),
            input_type_gemm=gemm,
        )
        simulator.run_scale(top_path=folder)
        (report,) = Path(folder).rglob("COMPUTE_REPORT.csv")
        rows = list(csv.reader(report.open()))
    header = [cell.strip() for cell in rows[0] if cell.strip()]
    return [dict(zip(header, (float(cell) for cell in row if cell.strip()), strict=True)) for row in rows[1:]]


if __name__ == "__main__":
    if RUN:
        sys.argv.remove("--run")
    sys.exit(answer(look, importlib.metadata.version("scalesim")))
