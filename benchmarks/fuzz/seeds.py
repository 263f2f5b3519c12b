"""The files that inputs are made of."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import save

from . import corpora

__all__ = ["graphs", "others"]


@cache
def graphs() -> tuple[bytes, ...]:
    """Models: the operator tests of the onnx package, and our own."""
    from onnx.backend.test.case.node import collect_testcases

    from support.graphs.small_models import cnn, control_flow, line_training
    from support.hostile import external, function_bomb, named, plain

    found = {case.name: case.model.SerializeToString() for case in collect_testcases(None) if case.model is not None}
    own = [
        cnn().model,
        control_flow().model,
        line_training().model,
        external("w.bin"),
        function_bomb(4),
        named("a"),
        plain(),
    ]
    tests = [data for _, data in sorted(found.items()) if len(data) < 20_000]
    return (*(model.SerializeToString() for model in own), *tests)


@cache
def others() -> dict[str, tuple[bytes, ...]]:
    """Kind of file to examples of it."""
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.training import CheckpointFolder, CheckpointPlan, train
    from support.graphs.small_models import line_training

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        train(
            line_training(),
            [{"x": np.ones(3, np.float32)}],
            3,
            SessionSettings(threads=1),
            kept=CheckpointPlan(CheckpointFolder(run)),
        )
        (checkpoint,) = [path.read_bytes() for path in run.glob("*.safetensors")]
        losses = (run / "losses.csv").read_bytes()
    weights = save({"line.w": np.ones((2, 3), np.float32), "line.b": np.zeros(2, np.float32)})
    events = [
        {"cat": "Session", "pid": 1, "tid": 1, "dur": 90, "ts": 1, "ph": "X", "name": "model_run", "args": {}},
        {
            **{"cat": "Node", "pid": 1, "tid": 1, "dur": 5, "ts": 2, "ph": "X", "name": "line_kernel_time"},
            "args": {"op_name": "Relu", "provider": "CPUExecutionProvider", "node_index": "0"},
        },
    ]
    return {
        "trace": (json.dumps(events).encode(),),
        "checkpoint": (checkpoint, weights),
        "losses": (losses,),
        **corpora.seeds(),
    }


def model(data: bytes) -> onnx.ModelProto:
    """A seed as a model."""
    return onnx.load_model_from_string(data)
