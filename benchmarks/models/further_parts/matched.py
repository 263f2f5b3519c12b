"""Detectors whose predictions were matched with their targets before the step: what refusals of the others advise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..first_parts.transformers_vision import PATCHES
from ..registry import BATCH, Zoo
from .vision import YOLOS, detr_sizes, maskformer_sizes

__all__ = ["fill"]


def _pairs(queries: int = 6) -> Tensor:
    """For each image, the queries that its two targets go to."""
    return torch.stack([torch.randperm(queries)[:2] for _ in range(BATCH)])


def _boxes() -> dict[str, Tensor]:
    return {
        "pixel_values": torch.randn(BATCH, 3, 64, 64),
        "pairs": _pairs(),
        "classes": torch.tensor([[1, 3]] * BATCH),
        "boxes": torch.rand(BATCH, 2, 4) / 2 + 0.1,
    }


def _segments() -> dict[str, Tensor]:
    return {
        "pixel_values": torch.randn(BATCH, 3, 64, 64),
        "pairs": _pairs(),
        "classes": torch.tensor([[0, 2]] * BATCH),
        "masks": torch.randint(0, 2, (BATCH, 2, 64, 64)).float(),
    }


def _classified(logits: Tensor, batch: Any) -> Tensor:
    """Cross-entropy of every query; the class of those without a target is the last one."""
    wanted = torch.full(logits.shape[:2], logits.shape[2] - 1).scatter(1, batch["pairs"], batch["classes"])
    return F.cross_entropy(logits.transpose(1, 2), wanted)


def _boxed(outputs: Any, batch: Any) -> Tensor:
    found = outputs.pred_boxes.gather(1, batch["pairs"][:, :, None].expand(-1, -1, 4))
    return _classified(outputs.logits, batch) + 5 * F.l1_loss(found, batch["boxes"])


def _segmented(outputs: Any, batch: Any) -> Tensor:
    every = F.interpolate(outputs.masks_queries_logits, size=(64, 64), mode="bilinear", align_corners=False)
    found = every.gather(1, batch["pairs"][:, :, None, None].expand(-1, -1, 64, 64))
    share = found.sigmoid()
    both = (share * batch["masks"]).sum((2, 3))
    dice = 1 - (2 * both + 1) / (share.sum((2, 3)) + batch["masks"].sum((2, 3)) + 1)
    points = F.binary_cross_entropy_with_logits(found, batch["masks"])
    return _classified(outputs.class_queries_logits, batch) + dice.mean() + 20 * points


def fill(zoo: Zoo) -> None:
    """Add them."""
    boxes = "ForObjectDetection"
    zoo.transformers("yolos-matched", "Yolos", boxes, _boxes, _boxed, **{**PATCHES, **YOLOS})
    zoo.transformers("detr-matched", "Detr", boxes, _boxes, _boxed, **detr_sizes())
    zoo.transformers(
        "maskformer-matched", "MaskFormer", "ForInstanceSegmentation", _segments, _segmented, **maskformer_sizes()
    )
