"""Image models of transformers, first zoo."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from ..registry import BATCH, SIZES, Zoo, images, tokens

__all__ = ["PATCHES", "fill"]

PATCHES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
"""Fields that ViT and its kin share."""

_CLASSIFIER = {**PATCHES, "num_labels": 5}


def _scenes() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(BATCH, 3, 64, 64), "labels": torch.randint(0, 5, (BATCH, 64, 64))}


def _captions() -> dict[str, torch.Tensor]:
    ids = tokens(labels=False, mask=False)["input_ids"]
    return {"input_ids": ids, "pixel_values": torch.randn(BATCH, 3, 32, 32)}


def _films() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(BATCH, 4, 3, 32, 32), "labels": torch.randint(0, 5, (BATCH,))}


def _pairs(outputs: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(outputs.logits_per_text, torch.arange(BATCH))


def _cubed(outputs: Any, batch: Any) -> torch.Tensor:
    return outputs.last_hidden_state.sin().pow(3).mean()


def fill(zoo: Zoo) -> None:
    """Add them."""
    head = "ForImageClassification"
    zoo.transformers("vit", "ViT", head, images(), **_CLASSIFIER)
    zoo.transformers("deit", "DeiT", head, images(), **_CLASSIFIER)
    without = {k: v for k, v in _CLASSIFIER.items() if k != "intermediate_size"}
    zoo.transformers("dinov2", "Dinov2", head, images(), **without, mlp_ratio=2)
    windows = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
    zoo.transformers("swin", "Swin", head, images(64), image_size=64, patch_size=4, **windows, num_labels=5)
    zoo.transformers(
        "convnext", "ConvNext", head, images(), hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_labels=5
    )
    stages = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1], "num_labels": 5}
    zoo.transformers("resnet", "ResNet", head, images(), **stages)
    zoo.transformers("regnet", "RegNet", head, images(), **stages, groups_width=8)
    zoo.transformers(
        "mobilenet-v2", "MobileNetV2", head, images(64), image_size=64, depth_multiplier=0.25, num_labels=5
    )
    thin = {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320, "initializer_range": 0.3}
    zoo.transformers("efficientnet", "EfficientNet", head, images(64), image_size=64, **thin, num_labels=5)
    zoo.transformers(
        "segformer",
        "Segformer",
        "ForSemanticSegmentation",
        _scenes,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 2],
        decoder_hidden_size=16,
        num_labels=5,
    )
    text = {**SIZES, "max_position_embeddings": 32, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    zoo.transformers(
        "clip", "CLIP", "Model", _captions, _pairs, text_config=text, vision_config=PATCHES, projection_dim=16
    )
    zoo.transformers(
        "videomae", "VideoMAE", "ForVideoClassification", _films, **_CLASSIFIER, num_frames=4, tubelet_size=2
    )
    zoo.transformers(
        "sam-vision",
        "SamVision",
        "Model",
        lambda: {"pixel_values": torch.randn(BATCH, 3, 64, 64)},
        _cubed,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=64,
        patch_size=8,
        window_size=4,
        global_attn_indexes=[1],
        initializer_range=0.02,
        output_channels=16,
        mlp_dim=64,
    )
