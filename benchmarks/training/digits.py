"""A picture of what autoenc learned: held-out digits, reconstructions and samples, by the graph of each framework."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lessons import LESSONS
from PIL import Image

from fathom_onnx.data import batches_for
from fathom_onnx.exporting import ExportRequest, export_graph, usual_frameworks
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Array

__all__ = ["draw_digits"]

_SHOWN = 24
_ENLARGED = 3


def draw_digits(path: Path) -> None:
    """Train the tiny autoenc of each framework, and draw rows of images: those held out; each framework's two."""
    spec, settings = workload("autoenc", "tiny", {"batch": _SHOWN}), SessionSettings(threads=1)
    held_out = next(batches_for(spec, "training", 0, split="held-out"))["images"]
    rows = [held_out]
    for framework in usual_frameworks():
        graph = export_graph(framework, ExportRequest(spec, "training", purpose="onnxruntime"))
        inference = export_graph(framework, ExportRequest(spec, "inference", "input", "onnxruntime"))
        values = train(
            graph, batches_for(spec, "training", 0, split="training"), LESSONS["autoenc"].steps, settings
        ).values
        noise = np.zeros((_SHOWN, spec.config.latent), "float32")  # the mean of what the encoder gives
        fed: dict[str, Any] = {**values, "images": held_out, "noise": noise}
        rows += [Evaluator(inference).step(fed).outputs["reconstruction"], _samples(values, spec.config.latent)]
    side = spec.config.image
    tiles = [[row[k].reshape(side, side) for k in range(_SHOWN)] for row in rows]
    grid = np.concatenate([np.concatenate([np.pad(tile, 1) for tile in row], 1) for row in tiles])
    grey = np.clip(255 * grid, 0, 255).astype("uint8").repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    Image.fromarray(grey).save(path)


def _samples(values: Mapping[str, Array], latent: int) -> Array:
    """What the decoder makes of draws from the prior."""
    drawn = np.random.default_rng(0).normal(size=(_SHOWN, latent))
    hidden = np.logaddexp(0, drawn @ values["decoder.hidden.weight"].T + values["decoder.hidden.bias"])
    found: Array = 1 / (1 + np.exp(-(hidden @ values["decoder.output.weight"].T + values["decoder.output.bias"])))
    return found
