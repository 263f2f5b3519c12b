"""Image models of transformers, further zoo: classes, scenes, boxes, pixels that are masked."""

from __future__ import annotations

from typing import Any

import torch

from ..first_parts.transformers_vision import PATCHES
from ..registry import BATCH, Zoo, images

__all__ = ["YOLOS", "detr_sizes", "fill", "maskformer_sizes"]

_CLASSIFIER = {**PATCHES, "num_labels": 5}
_HEAD = "ForImageClassification"


def _scenes() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(BATCH, 3, 64, 64), "labels": torch.randint(0, 5, (BATCH, 64, 64))}


def _depths() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(BATCH, 3, 32, 32), "depth": torch.rand(BATCH, 64, 64)}


def _pictures() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(BATCH, 3, 32, 32)}


def _masked() -> dict[str, torch.Tensor]:
    return {**_pictures(), "bool_masked_pos": torch.arange(16).remainder(3).eq(0).expand(BATCH, -1).clone()}


def _noisy() -> dict[str, torch.Tensor]:
    return {**_pictures(), "noise": torch.rand(BATCH, 16)}


def _boxes() -> dict[str, Any]:
    targets = [{"class_labels": torch.tensor([1, 3]), "boxes": torch.rand(2, 4) / 2 + 0.1} for _ in range(BATCH)]
    return {"pixel_values": torch.randn(BATCH, 3, 64, 64), "labels": targets}


def _painted() -> dict[str, torch.Tensor]:
    return {
        "pixel_values": torch.randn(BATCH, 3, 32, 32),
        "prompt_pixel_values": torch.randn(BATCH, 3, 32, 32),
        "prompt_masks": torch.randn(BATCH, 3, 32, 32),
        "labels": torch.randn(BATCH, 3, 32, 32),
        "bool_masked_pos": torch.arange(32).ge(16).expand(BATCH, -1).clone(),
    }


def _segments() -> dict[str, Any]:
    return {
        "pixel_values": torch.randn(BATCH, 3, 64, 64),
        "mask_labels": [torch.randint(0, 2, (2, 64, 64)).float() for _ in range(BATCH)],
        "class_labels": [torch.tensor([0, 2]) for _ in range(BATCH)],
    }


def fill(zoo: Zoo) -> None:
    """Add them."""
    _attention(zoo)
    _convolution(zoo)
    _pixels(zoo)


def _attention(zoo: Zoo) -> None:
    zoo.transformers("beit", "Beit", _HEAD, images(), **_CLASSIFIER, use_relative_position_bias=True)
    zoo.transformers("data2vec-vision", "Data2VecVision", _HEAD, images(), **_CLASSIFIER)
    zoo.transformers("vit-msn", "ViTMSN", _HEAD, images(), **_CLASSIFIER)
    zoo.transformers("ijepa", "IJepa", _HEAD, images(), **_CLASSIFIER)
    zoo.transformers(
        "cvt",
        "Cvt",
        _HEAD,
        images(),
        embed_dim=[16, 24, 32],
        num_heads=[1, 2, 2],
        depth=[1, 2, 3],
        drop_path_rate=[0.0, 0.0, 0.0],
        num_labels=5,
    )
    zoo.transformers(
        "pvt",
        "Pvt",
        _HEAD,
        images(64),
        image_size=64,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        num_labels=5,
    )
    zoo.transformers(
        "pvt-v2",
        "PvtV2",
        _HEAD,
        images(64),
        image_size=64,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
        num_labels=5,
    )
    zoo.transformers(
        "levit",
        "Levit",
        _HEAD,
        images(64),
        image_size=64,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 2, 2],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
        num_labels=5,
    )
    zoo.transformers(
        "mobilevit",
        "MobileViT",
        _HEAD,
        images(64),
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
        initializer_range=0.2,
        num_labels=5,
    )
    zoo.transformers(
        "mobilevit-v2",
        "MobileViTV2",
        _HEAD,
        images(64),
        image_size=64,
        width_multiplier=0.25,
        initializer_range=0.2,
        num_labels=5,
    )
    windows = {
        "embed_dim": 16,
        "depths": [2, 2],
        "num_heads": [2, 4],
        "window_size": 4,
        "image_size": 32,
        "patch_size": 4,
    }
    zoo.transformers("swin-v2", "Swinv2", _HEAD, images(), **windows, num_labels=5)
    zoo.transformers(
        "focalnet",
        "FocalNet",
        _HEAD,
        images(),
        image_size=32,
        embed_dim=16,
        depths=[1, 1],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
        hidden_sizes=[16, 32],
        num_labels=5,
    )
    zoo.transformers(
        "hiera",
        "Hiera",
        _HEAD,
        images(64),
        image_size=[64, 64],
        embed_dim=16,
        depths=[1, 1, 1],
        num_heads=[1, 2, 4],
        query_stride=[2, 2],
        masked_unit_size=[4, 4],
        num_query_pool=2,
        num_labels=5,
    )
    zoo.transformers(
        "vit-mae",
        "ViTMAE",
        "ForPreTraining",
        _noisy,
        **PATCHES,
        decoder_hidden_size=32,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=64,
    )
    zoo.transformers("vit-masked", "ViT", "ForMaskedImageModeling", _masked, **PATCHES, encoder_stride=8)
    zoo.transformers(
        "vivit",
        "Vivit",
        "ForVideoClassification",
        lambda: {"pixel_values": torch.randn(BATCH, 4, 3, 32, 32), "labels": torch.randint(0, 5, (BATCH,))},
        **{k: v for k, v in _CLASSIFIER.items() if k != "patch_size"},
        tubelet_size=[2, 8, 8],
        num_frames=4,
    )
    zoo.transformers(
        "timesformer",
        "Timesformer",
        "ForVideoClassification",
        lambda: {"pixel_values": torch.randn(BATCH, 4, 3, 32, 32), "labels": torch.randint(0, 5, (BATCH,))},
        **_CLASSIFIER,
        num_frames=4,
    )
    zoo.transformers(
        "imagegpt",
        "ImageGPT",
        "ForImageClassification",
        lambda: {"input_ids": torch.randint(0, 15, (BATCH, 16)), "labels": torch.randint(0, 5, (BATCH,))},
        vocab_size=16,
        n_positions=16,
        n_embd=32,
        n_layer=2,
        n_head=4,
        num_labels=5,
    )


def _convolution(zoo: Zoo) -> None:
    stages = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_labels": 5}
    zoo.transformers("poolformer", "PoolFormer", _HEAD, images(64), **stages)
    zoo.transformers("convnext-v2", "ConvNextV2", _HEAD, images(), **stages)
    zoo.transformers(
        "bit",
        "Bit",
        _HEAD,
        images(),
        embedding_size=8,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        num_groups=4,
        num_labels=5,
    )
    zoo.transformers(
        "mobilenet-v1", "MobileNetV1", _HEAD, images(64), image_size=64, depth_multiplier=0.25, num_labels=5
    )
    zoo.transformers(
        "swiftformer",
        "SwiftFormer",
        _HEAD,
        images(64),
        image_size=64,
        embed_dims=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_labels=5,
    )
    zoo.transformers(
        "textnet",
        "TextNet",
        _HEAD,
        images(64),
        image_size=[64, 64],
        stem_out_channels=8,
        hidden_sizes=[8, 16, 24, 32, 32],
        num_labels=5,
        conv_layer_kernel_sizes=[[[3, 3]], [[3, 1]], [[1, 3]], [[3, 3]]],
        conv_layer_strides=[[2], [2], [2], [2]],
    )


def _pixels(zoo: Zoo) -> None:
    zoo.transformers(
        "dpt",
        "DPT",
        "ForDepthEstimation",
        _depths,
        lambda o, b: (o.predicted_depth - b["depth"]).pow(2).mean(),
        **{**PATCHES, "num_hidden_layers": 4},
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        reassemble_factors=[4, 2, 1, 0.5],
    )
    zoo.transformers(
        "beit-scenes",
        "Beit",
        "ForSemanticSegmentation",
        _scenes,
        **{**_CLASSIFIER, "image_size": 64, "patch_size": 16, "num_hidden_layers": 4},
        out_indices=[1, 2, 3, 4],
        pool_scales=[1, 2],
        auxiliary_channels=16,
    )
    zoo.transformers(
        "mobilevit-scenes",
        "MobileViT",
        "ForSemanticSegmentation",
        _scenes,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
        initializer_range=0.2,
        num_labels=5,
        aspp_out_channels=16,
    )
    zoo.transformers(
        "swin2sr",
        "Swin2SR",
        "ForImageSuperResolution",
        _pictures,
        lambda o, b: o.reconstruction.pow(2).mean(),
        image_size=32,
        embed_dim=16,
        depths=[2],
        num_heads=[2],
        window_size=4,
        upscale=2,
    )
    zoo.transformers(
        "seggpt",
        "SegGpt",
        "ForImageSegmentation",
        _painted,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        mlp_dim=64,
        image_size=[64, 32],
        patch_size=8,
        pretrain_image_size=32,
        merge_index=0,
        intermediate_hidden_state_indices=[0, 1],
        decoder_hidden_size=8,
    )
    zoo.transformers("yolos", "Yolos", "ForObjectDetection", _boxes, **{**PATCHES, **YOLOS})
    zoo.transformers("detr", "Detr", "ForObjectDetection", _boxes, **detr_sizes())
    zoo.transformers("maskformer", "MaskFormer", "ForInstanceSegmentation", _segments, **maskformer_sizes())


YOLOS = {"image_size": [64, 64], "num_detection_tokens": 6, "num_labels": 5}
"""Sizes of a detector without a decoder."""


def detr_sizes() -> dict[str, Any]:
    """Sizes of a detector with a decoder."""
    return {
        "backbone_config": _backbone(),
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "num_queries": 6,
        "num_labels": 5,
    }


def maskformer_sizes() -> dict[str, Any]:
    """Sizes of a detector of masks."""
    return {
        "backbone_config": _windows(),
        "decoder_config": _queries(),
        "fpn_feature_size": 32,
        "mask_feature_size": 32,
        "num_labels": 5,
    }


def _backbone() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], out_features=["stage2"])


def _windows() -> Any:
    from transformers import SwinConfig

    return SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def _queries() -> Any:
    from transformers import DetrConfig

    return DetrConfig(
        backbone_config=_backbone(),
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        num_queries=6,
    )
