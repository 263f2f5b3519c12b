"""Models that the exporter was not developed with."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is also loaded by its path

import torch

from models.registry import Zoo

__all__ = ["ZOO", "build"]

ZOO = Zoo()
"""The zoo."""

for _family in ("text", "vision", "media", "generative", "networks", "sequences", "learning", "matched", "habits"):
    importlib.import_module(f"models.further_parts.{_family}").fill(ZOO)


def _started(attention: str, dropout: float) -> Any:
    """I-BERT once its first batch has given the ranges of activations, which later batches only average."""
    model, batch, loss = ZOO.makers["ibert"](attention, dropout)
    with torch.no_grad():
        model(**batch)
    return model, batch, loss


ZOO.add("ibert-started", _started)


def build(name: str, optimizer: str = "", attention: str = "eager", dropout: float = 0.0) -> tuple[Any, Any, Any, Any]:
    """Make a recipe: a model, an example batch, a loss and an optimizer."""
    return ZOO.build(name, optimizer, attention, dropout)
