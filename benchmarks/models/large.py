"""Models of real sizes, whose export is timed: with random weights, and one with none at all.

``llama-8b`` is made of fake tensors: shapes and types without storage, since its weights alone would take 32 GB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is also loaded by its path

import torch
from torch import nn, optim

__all__ = ["MODELS", "build"]

Parts = tuple[Any, Any, Any, Any]


def _text(vocabulary: int, batch: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, vocabulary, (batch, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def _adamw(model: nn.Module) -> optim.Optimizer:
    return optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)


def _bert() -> Parts:
    from transformers import BertConfig, BertForMaskedLM

    model = BertForMaskedLM(BertConfig(attn_implementation="eager"))
    return model, _text(30522, 8, 128), None, _adamw(model)


def _gpt2() -> Parts:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(attn_implementation="eager", use_cache=False))
    return model, _text(50257, 8, 128), None, _adamw(model)


def _resnet() -> Parts:
    from transformers import ResNetConfig, ResNetForImageClassification

    model = ResNetForImageClassification(ResNetConfig(num_labels=1000))
    batch = {"pixel_values": torch.randn(8, 3, 224, 224), "labels": torch.randint(0, 1000, (8,))}
    return model, batch, None, optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def _llama() -> Parts:
    from torch._subclasses import FakeTensorMode
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rope_theta=500_000.0,
        attn_implementation="eager",
        use_cache=False,
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = LlamaForCausalLM(config)
        batch = _text(128_256, 1, 512)
    return model, batch, None, _adamw(model)


MODELS: dict[str, Callable[[], Parts]] = {
    "bert-base": _bert,
    "gpt2-small": _gpt2,
    "resnet-50": _resnet,
    "llama-8b": _llama,
}
"""Name to what makes the recipe."""


def build(name: str) -> Parts:
    """Make a recipe: a model, an example batch, a loss and an optimizer."""
    if name not in MODELS:
        raise ValueError(f"no model {name}; there are {', '.join(MODELS)}")
    torch.manual_seed(0)
    return MODELS[name]()
