"""Small configurations of transformers' own models, exported by both of PyTorch's exporters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from .torch_models import counted, export, randomise
from .truth import Maker, Truth

__all__ = ["MODELS"]

_TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 300,
}


class First(nn.Module):
    """A model with one input that gives the first of its outputs."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x: Any) -> Any:
        return self.model(**{self.name: x}, return_dict=False)[0]


def _text(config: str, model: str, **changes: Any) -> tuple[Any, str, Any]:
    settings = {**_TEXT, **changes}
    pooled = {"add_pooling_layer": False} if model in ("BertModel", "RobertaModel", "AlbertModel") else {}
    built = getattr(transformers, model)(getattr(transformers, config)(**settings), **pooled)
    return built, "input_ids", torch.randint(1, 300, (2, 16))


def _llama() -> tuple[Any, str, Any]:
    return _text("LlamaConfig", "LlamaForCausalLM", num_key_value_heads=2, use_cache=False, pad_token_id=0)


def _gpt2() -> tuple[Any, str, Any]:
    config = transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=300, n_positions=32, use_cache=False)
    return transformers.GPT2LMHeadModel(config), "input_ids", torch.randint(1, 300, (2, 16))


def _distilbert() -> tuple[Any, str, Any]:
    config = transformers.DistilBertConfig(dim=64, n_layers=2, n_heads=4, hidden_dim=128, vocab_size=300)
    return transformers.DistilBertModel(config), "input_ids", torch.randint(1, 300, (2, 16))


def _t5() -> tuple[Any, str, Any]:
    config = transformers.T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=300)
    return transformers.T5EncoderModel(config), "input_ids", torch.randint(1, 300, (2, 16))


def _vision(config: str, model: str, size: int = 32, **changes: Any) -> tuple[Any, str, Any]:
    pooled = {"add_pooling_layer": False} if model == "ViTModel" else {}
    built = getattr(transformers, model)(getattr(transformers, config)(**changes), **pooled)
    return built, "pixel_values", torch.randn(2, 3, size, size)


_VIT = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}

_CASES: dict[str, Callable[[], tuple[Any, str, Any]]] = {
    "bert": lambda: _text("BertConfig", "BertModel"),
    "roberta": lambda: _text("RobertaConfig", "RobertaModel", pad_token_id=0),
    "distilbert": _distilbert,
    "gpt-2": _gpt2,
    "llama, grouped queries": _llama,
    "t5 encoder": _t5,
    "albert, shared layers": lambda: _text("AlbertConfig", "AlbertModel", embedding_size=32),
    "vit": lambda: _vision("ViTConfig", "ViTModel", **_VIT),
    "convnext": lambda: _vision("ConvNextConfig", "ConvNextModel", hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1]),
    "resnet of transformers": lambda: _vision(
        "ResNetConfig", "ResNetModel", embedding_size=16, hidden_sizes=[32, 64, 64, 64], depths=[1, 1, 1, 1]
    ),
    "segformer": lambda: _vision(
        "SegformerConfig",
        "SegformerModel",
        size=64,
        hidden_sizes=[16, 32, 32, 64],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
    ),
}


_DYNAMO_ONLY = ("gpt-2", "llama, grouped queries")
"""Cases with operators that the older exporter does not have."""

_MASK = "the mask of who attends to whom, 2 x 1 x 16 x 16, is a constant"
_TABLES = "what depends on the length alone is a constant"
_EXPORTED: dict[tuple[str, bool], tuple[int, str]] = {
    **{(name, True): (512, _MASK) for name in ("bert", "roberta")},
    ("distilbert", True): (512, _MASK),
    ("gpt-2", True): (512 + 16 * 64 - 32 * 64, f"{_MASK}; 16 rows of the 32 positions are"),
    ("llama, grouped queries", True): (512 + 2 * 256, f"{_MASK}; {_TABLES}: cosines and sines"),
    ("t5 encoder", True): (
        512 + 4 * 256 - 32 * 4,
        f"{_MASK}; {_TABLES}: the bias of positions, 4 x 16 x 16 for 32 x 4",
    ),
    ("albert, shared layers", True): (
        512 + 32_768,
        f"{_MASK}; the weights of products are stored once for each of two layers",
    ),
    ("vit", True): (
        2 * 17 * 17 + 48,
        f"the mask, 2 x 1 x 17 x 17, is a constant; {_TABLES}: the class token for each image",
    ),
    **{("resnet of transformers", dynamo): (-576, "batch normalisation becomes a bias") for dynamo in (True, False)},
}
"""Case and exporter to the elements that the file has more than the model, and why."""


def _make(name: str, dynamo: bool, path: Path) -> Truth:
    torch.manual_seed(0)
    built, label, value = _CASES[name]()
    built.config._attn_implementation = "eager"
    model = First(randomise(built.eval()), label)
    export(model, (value,), path, dynamo, [label])
    return replace(counted(model, (value,)), exporter=_EXPORTED.get((name, dynamo), (0, "")))


MODELS: dict[str, Maker] = {
    f"{name}, torch {'dynamo' if dynamo else 'script'}": partial(_make, name, dynamo)
    for name in _CASES
    for dynamo in (True, False)
    if dynamo or name not in _DYNAMO_ONLY
}
"""Name to what writes the graph."""
