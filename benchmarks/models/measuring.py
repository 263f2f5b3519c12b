"""One model of a zoo measured, in a process of its own: ``python -m models.measuring '{"zoo": ..., "name": ...}'``.

A line of JSON goes out after every stage, so that a process that is ended has said how far it came.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PRODUCTS", "RECIPES", "measure"]

RECIPES = {
    "first": "models.first",
    "further": "models.further",
    "keras": "models.keras_models",
    "large": "models.large",
}
"""Zoo to the module whose ``build`` makes its recipes."""

PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "Attention", "MatMulInteger")
"""Ops whose MACs are compared with those of an eager step."""


def _peak_mb() -> int:
    """The most memory that this process has held, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _text(error: BaseException, length: int = 500) -> str:
    return " ".join(str(error).split())[:length]


class Row(dict[str, Any]):
    """What is known of a model so far."""

    def at(self, stage: str, **known: Any) -> None:
        """Say it, and which stage comes now."""
        self.update(known, stage=stage)
        print("ROW " + json.dumps(self), flush=True)


def measure(job: dict[str, Any]) -> Row:
    """Export, check, run and verify one recipe.

    Args:
        job: ``zoo``, ``name``, ``purpose`` and what else ``build`` takes under ``options``; ``verify`` and ``run`` say
            whether to do so.
    """
    row = Row(job)
    row.at("build")
    try:
        _measured(job, row)
    except Exception as error:
        import fathom_onnx

        kind = "refused" if isinstance(error, fathom_onnx.FathomError) else "failed"
        row.at(row["stage"], **{kind: f"{type(error).__name__}: {_text(error)}"}, trace=traceback.format_exc()[-4000:])
    return row


def _measured(job: dict[str, Any], row: Row) -> None:
    import onnx

    import fathom_onnx

    make = importlib.import_module(RECIPES[job["zoo"]]).build
    build: Callable[[], Any] = lambda: make(job["name"], **job.get("options", {}))  # noqa: E731
    model, batch, loss, optimizer = build()
    row["optimizer"] = type(optimizer).__name__
    if job["zoo"] in ("first", "further"):
        from .counting import eager_macs

        row["macs_eager"], row["macs_left_out"], row["not_counted"] = eager_macs(*build()[:3])
    row.at("export", before_mb=_peak_mb())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "step.onnx") if job["zoo"] != "large" or job["name"] != "llama-8b" else None
        started = time.perf_counter()
        graph = fathom_onnx.export_step(
            model, batch, loss, optimizer, purpose=job.get("purpose", "simulators"), path=path
        )
        row.at("check", seconds=round(time.perf_counter() - started, 2), export_mb=_peak_mb())
        row.update(nodes=len(graph.model.graph.node), kb=round(graph.model.ByteSize() / 1024))
        onnx.checker.check_model(str(path) if path else graph.model, full_check=True)
        row.at("count")
        _count(graph, row)
        if job.get("run", True):
            row.at("run")
            results = fathom_onnx.run_step(graph, batch)
            row["loss"] = float(results["loss"])
            if not math.isfinite(row["loss"]):
                raise ValueError(f"the loss is {row['loss']}")
    if job.get("verify", True):
        row.at("verify")
        _verify(build(), row)
    row.at("done", peak_mb=_peak_mb())


def _count(graph: Any, row: Row) -> None:
    """MACs of the graph's products, and by op."""
    from fathom_onnx.analysis.cost import graph_costs

    costs = graph_costs(graph)
    by_op: dict[str, int] = {}
    unknown = 0
    for node, cost in zip(graph.model.graph.node, costs, strict=True):
        if cost.macs is None:
            unknown += node.op_type in PRODUCTS
        elif cost.macs:
            by_op[node.op_type] = by_op.get(node.op_type, 0) + cost.macs
    row.update(macs=sum(by_op.values()), macs_by_op=by_op, macs_unknown=unknown)


def _verify(parts: Any, row: Row) -> None:
    """The project's own judgement, in float64."""
    from fathom_onnx.recipe_exporting import read_recipe

    import fathom_onnx
    from fathom_onnx.recipes import Recipe

    started = time.perf_counter()
    check = fathom_onnx.verify(read_recipe(Recipe(*parts)))
    row.update(check.json(), verify_seconds=round(time.perf_counter() - started, 2))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    measure(json.loads(sys.argv[1]))
