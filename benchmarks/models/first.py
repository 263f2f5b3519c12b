"""The models that the exporter was developed with, 61 of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is also loaded by its path

from models.first_parts import audio_and_series, by_hand, transformers_text, transformers_vision
from models.registry import Zoo

__all__ = ["ZOO", "build"]

ZOO = Zoo()
"""The zoo."""

for _family in (transformers_text, transformers_vision, audio_and_series, by_hand):
    _family.fill(ZOO)


def build(name: str, optimizer: str = "", attention: str = "eager", dropout: float = 0.0) -> tuple[Any, Any, Any, Any]:
    """Make a recipe: a model, an example batch, a loss and an optimizer."""
    return ZOO.build(name, optimizer, attention, dropout)
