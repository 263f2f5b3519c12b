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
from dataclasses import replace
from pathlib import Path
from typing import Any

__all__ = ["PRODUCTS", "RECIPES", "measure"]

RECIPES = {
    "first": "models.first",
    "further": "models.further",
    "jax": "models.jax_models",
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
    from fathom_onnx.recipes.recipe import recipe_from

    zoo = importlib.import_module(RECIPES[job["zoo"]])
    make = zoo.build
    build: Callable[[], Any] = lambda: make(job["name"], **job.get("options", {}))  # noqa: E731
    recipe = recipe_from(build(), job["name"])
    # transformations of optax are all of one class
    row["optimizer"] = zoo.optimizer_of(job["name"]) if job["zoo"] == "jax" else type(recipe.optimizer).__name__
    if job["zoo"] in ("first", "further"):
        from .counting import eager_macs

        row["macs_eager"], row["macs_left_out"], row["not_counted"] = eager_macs(*build()[:3])
    row.at("export", before_mb=_peak_mb())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "step.onnx") if job["zoo"] != "large" or job["name"] != "llama-8b" else None
        started = time.perf_counter()
        graph = fathom_onnx.export_step(
            recipe.model,
            recipe.batch,
            recipe.loss,
            recipe.optimizer,
            purpose=job["purpose"],
            path=path,
            specialise=job.get("specialise", False),
            state=recipe.state,
        )
        row.at("check", seconds=round(time.perf_counter() - started, 2), export_mb=_peak_mb())
        row.update(nodes=len(graph.model.graph.node), kb=round(graph.model.ByteSize() / 1024))
        onnx.checker.check_model(str(path) if path else graph.model, full_check=True)
        row.at("count")
        _count(graph, row)
        if job.get("run", True):
            row.at("run")
            results = fathom_onnx.run_step(graph, recipe.batch)
            row["loss"] = float(results["loss"])
            if not math.isfinite(row["loss"]):
                raise ValueError(f"the loss is {row['loss']}")
            if job.get("options", {}).get("optimizer") == "plain":
                row.at("compare")
                _compare(build, results, row)
    if job.get("verify", True):
        row.at("verify")
        _verify(build(), job.get("specialise", False), row)
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


def _compare(build: Callable[[], Any], results: Any, row: Row) -> None:
    """Gradients read off plain SGD's change, and the eager step's in float32, against an eager step in float64.

    The float64 step is the module's own after ``double()``; nothing of the project has a part in it.
    """
    import torch

    from .counting import eager_loss

    found: dict[Any, dict[str, torch.Tensor]] = {}
    for kind in (torch.float32, torch.float64):
        model, batch, loss, optimizer = build()
        model.to(kind)
        wide = {k: v.to(kind) if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in batch.items()}
        eager_loss(model, wide, loss).backward()
        found[kind] = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
        rate = optimizer.param_groups[0]["lr"]
    before = {n: p.detach().double() for n, p in build()[0].named_parameters()}
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    largest = max(float(g.abs().max()) for g in found[torch.float64].values())
    for name, expected in found[torch.float64].items():
        got = (before[name] - torch.from_numpy(results[f"{name}.next"]).double()) / rate
        rounding = float(before[name].abs().max()) * 2.0**-23 / rate
        size = max(float(expected.abs().max()), 1e-3 * largest) + rounding
        ours[name] = float((got - expected).abs().max()) / size
        theirs[name] = (float((found[torch.float32][name] - expected).abs().max()) + rounding) / size
    worst = max(ours, key=lambda name: ours[name])
    row.update(plain_error=ours[worst], plain_eager=max(theirs.values()), plain_worst=worst, plain_tensors=len(ours))


def _verify(parts: Any, specialise: bool, row: Row) -> None:
    """The project's own judgement, in float64."""
    from fathom_onnx.exporting import read_recipe
    from fathom_onnx.recipes.recipe import recipe_from
    from fathom_onnx.verification import verify

    started = time.perf_counter()
    workload = read_recipe(replace(recipe_from(parts, "build"), specialise=specialise))
    row.update(
        verify(workload, workload.framework, "training").json(), verify_seconds=round(time.perf_counter() - started, 2)
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    measure(json.loads(sys.argv[1]))
