"""Write or check the index of the committed graphs.

``--write`` describes the files in ``graphs/`` as they lie: ``index.json`` (hashes) and ``README.md`` (a table).
``--check`` exports every graph anew and compares it with the committed file, byte for byte.
``--hashes WORKLOAD ...`` exports workloads whose graphs are not committed, at the published size, and puts their
hashes into ``2026.json``, beside those that are there. Each export has a process of its own, and prints what it took.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.exporting import ExportRequest, export_file, graph_path
from fathom_onnx.graph import Graph, load
from fathom_onnx.graph.definition import macs_by_definition
from fathom_onnx.graph.files import write_text
from fathom_onnx.workloads import USUAL_SUITE, names, workload
from fathom_onnx.workloads.contract import MODES, Mode

GRAPHS = Path(__file__).resolve().parent.parent / "graphs"
FRAMEWORKS = ("torch", "tensorflow", "jax")
HASHES = GRAPHS / "2026.json"
"""Hashes of graphs of the suite of 2026 at the published size, which are made by a command and are not committed."""

HEAD = """# The graphs

ONNX graphs of the Fathom workloads at the paper preset, without weights: parameters and state are graph inputs, and the
model's metadata holds their initialisers. `<workload>.onnx` is inference, `<workload>-train.onnx` one whole training
step (forward, loss, the framework's own backward pass, optimizer). The files at the top are from PyTorch, those in
`tensorflow/` from TensorFlow and those in `jax/` from JAX; the three of a workload and mode have the same inputs and
outputs and can be swapped.
Opset 18, IR 10, default domain only, no functions, static shapes with value_info for every tensor. Gradients are
written in the ops that most simulators read (`export --for simulators`): convolutions and products, no transposed
convolution, no pooling indices; `export --for onnxruntime` takes the forms that onnxruntime runs fastest instead.

A graph holds no weights, and few constants. Those that JAX computes while it exports, on whatever machine, come from
operations whose result IEEE 754 fixes to the last bit (sums, products, quotients), so that its files are the same
everywhere; a test allows no others.

This table is made by `make graphs`; `make check-graphs` exports everything anew and compares.

The graphs of the suite of 2026 are made by `fathom-onnx export --suite 2026`; `2026.json` has the hashes of some.

A convolution that multiplies zeros around the gradient it reads states the MACs of the gradient's definition in its
metadata (`fathom_onnx.macs_by_definition`); `fathom-onnx inspect` shows both.

| graph | nodes | MACs | by definition | parameters | kB | SHA-256 |
|---|---:|---:|---:|---:|---:|---|
"""


def all_graphs() -> list[tuple[str, str, str, Path]]:
    """(workload, framework, mode, path) of every graph there should be."""
    return [(w, f, m, graph_path(GRAPHS, w, f, m)) for f in FRAMEWORKS for w in names(USUAL_SUITE) for m in MODES]


def macs(graph: Graph) -> tuple[int, int]:
    """Multiply-accumulates of the nodes that have any: as written, and by definition."""
    written = [cost.macs or 0 for cost in graph_costs(graph)]
    stated = [macs_by_definition(node) for node in graph.model.graph.node]
    return sum(written), sum(w if s is None else s for w, s in zip(written, stated, strict=True))


def describe(path: Path, folder: Path = GRAPHS) -> dict[str, object]:
    """One row of the index, with the path in a folder."""
    graph = load(path)
    assert graph.metadata is not None
    written, by_definition = macs(graph)
    held = {v.name: v for v in graph.metadata.variables}
    return {
        "path": path.relative_to(folder).as_posix(),
        "workload": graph.metadata.workload,
        "mode": graph.metadata.mode,
        "framework": graph.metadata.framework,
        "framework_version": graph.metadata.framework_version,
        "nodes": len(graph.model.graph.node),
        "macs": written,
        "macs_by_definition": by_definition,
        "parameters": sum(held[name].elements for name in graph.metadata.parameters),
        "size_bytes": path.stat().st_size,
        "sha256": graph.sha256,
    }


def write() -> int:
    """Write the index and the table."""
    rows = [describe(path) for *_, path in all_graphs()]
    write_text(GRAPHS / "index.json", json.dumps({"schema": "fathom-onnx/graphs/1", "graphs": rows}, indent=1) + "\n")
    lines = [
        f"| [`{r['path']}`]({r['path']}) | {r['nodes']:,} | {r['macs']:,} | {r['macs_by_definition']:,} | "
        f"{r['parameters']:,} | "
        f"{int(str(r['size_bytes'])) / 1000:,.0f} | `{str(r['sha256'])[:16]}` |"
        for r in rows
    ]
    total = sum(int(str(r["size_bytes"])) for r in rows)
    write_text(GRAPHS / "README.md", HEAD + "\n".join(lines) + f"\n\n{len(rows)} files, {total / 1e6:.1f} MB.\n")
    print(f"{len(rows)} graphs, {total / 1e6:.1f} MB")
    return 0


def check() -> int:
    """Export anew and compare; the number of files that differ."""
    index = {row["path"]: row for row in json.loads((GRAPHS / "index.json").read_text())["graphs"]}
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, framework, mode, path in all_graphs():
            made = export_file(framework, ExportRequest(workload(name), mode), Path(folder) / "graph.onnx")
            committed = path.read_bytes() if path.exists() else b""
            shown = path.relative_to(GRAPHS).as_posix()
            if made.path.read_bytes() != committed:
                verdict = "differs from what is exported now"
            elif index.get(shown) != describe(path):
                verdict = "is not as the index says"
            else:
                verdict = ""
            different += bool(verdict)
            print(f"{shown}: {verdict or 'same'} ({made.seconds:.1f} s)", flush=True)
    return 1 if different else 0


def hashed(name: str, framework: str, mode: Mode) -> tuple[dict[str, object], str]:
    """The row of a graph that is exported for it alone, and what the export took, in words."""
    with tempfile.TemporaryDirectory() as place:
        path = graph_path(Path(place), name, framework, mode)
        made = export_file(framework, ExportRequest(workload(name), mode), path)
        used, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        return describe(path, Path(place)), f"{made.seconds:.1f} s, {used:.1f} s of processor time, {peak:.2f} GB"


def write_hashes(workloads: Sequence[str]) -> int:
    """Export workloads from both frameworks, and write the rows of their graphs into the file of hashes."""
    rows = {row["path"]: row for row in json.loads(HASHES.read_text())["graphs"]} if HASHES.exists() else {}
    # a process for each, so that its memory is its own; not a copy of this one, which has threads
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as process:
        for name, framework in itertools.product(workloads, FRAMEWORKS[:2]):
            for mode in workload(name).modes:
                row, took = process.apply(hashed, (name, framework, mode))
                rows[row["path"]] = row
                print(f"{row['path']}: {str(row['sha256'])[:16]} ({took})", flush=True)
    ordered = [rows[path] for path in sorted(rows)]
    write_text(HASHES, json.dumps({"schema": "fathom-onnx/graphs/1", "graphs": ordered}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", action="store_true")
    which.add_argument("--check", action="store_true")
    which.add_argument("--hashes", nargs="+", choices=names("2026"), metavar="WORKLOAD")
    given = parser.parse_args()
    if given.hashes:
        sys.exit(write_hashes(given.hashes))
    sys.exit(write() if given.write else check())
