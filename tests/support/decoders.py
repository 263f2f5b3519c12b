"""Decoders in NumPy, one head and one token at a time, and what makes transformers' models compute in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["InDouble", "attended", "rms_norm", "rotated", "set_in_double", "transformers_name", "values_of"]


def values_of(made: Workload, mode: Mode = "inference", seed: int = 3) -> dict[str, np.ndarray]:
    """Float64 values with parameters large enough that every part matters, and tokens."""
    rng = np.random.default_rng(seed)
    values = {p.name: rng.normal(0.0, 0.3, p.shape) for p in made.parameters}
    values |= {name: 1 + value for name, value in values.items() if "norm" in name}
    specs = made.batch_inputs(mode)
    return values | {s.name: rng.integers(0, made.config.vocabulary, s.shape) for s in specs}


def rms_norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    """Rows over their root mean square."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def rotated(x: np.ndarray, theta: float) -> np.ndarray:
    """[T, size] at places 0 to T - 1, as complex numbers: the pair (i, i + size / 2) times exp(i * angle)."""
    half = x.shape[1] // 2
    angles = np.arange(len(x))[:, None] * theta ** (-2 * np.arange(half) / x.shape[1])
    turned = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], 1)


def attended(x: np.ndarray, v: dict[str, np.ndarray], block: str, c: Any) -> np.ndarray:
    """The attention of one sequence of normalised rows [T, width], one query head and one token at a time."""
    size = c.width // c.heads
    q, k, u = (x @ v[f"{block}.{part}.weight"].T for part in ("query", "key", "value"))
    read = np.zeros_like(q)
    for head in range(c.heads):
        own, shared = (slice(h * size, (h + 1) * size) for h in (head, head // (c.heads // c.kv_heads)))
        query, key = rotated(q[:, own], c.theta), rotated(k[:, shared], c.theta)
        for t in range(len(x)):
            scores = np.exp(key[: t + 1] @ query[t] / np.sqrt(size))
            read[t, own] = scores / scores.sum() @ u[: t + 1, shared]
    return read @ v[f"{block}.output.weight"].T


class InDouble:
    """PyTorch for a module that asks for float32 whatever the type of its model: it gets float64."""

    def __getattr__(self, name: str) -> object:
        import torch

        return torch.float64 if name in ("float32", "float") else getattr(torch, name)


_PARTS = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "attention_norm": "input_layernorm",
    "feed_norm": "post_attention_layernorm",
    **{ours: f"self_attn.{x}_proj" for ours, x in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o"))},
    **{ours: f"mlp.{ours}_proj" for ours in ("gate", "up", "down")},
}


def transformers_name(name: str) -> str:
    """What transformers calls a parameter."""
    *block, part, weight = name.split(".")
    at = f"model.layers.{int(block[0].removeprefix('block')) - 1}." if block else ""
    return f"{at}{_PARTS[part]}.{weight}"


def set_in_double(rotary: Any, c: Any) -> None:
    """Give transformers' rotary embedding angles in float64; its own are in float32 whatever the type of its model."""
    import torch

    def angles(x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = c.width // c.heads
        half = position_ids[..., None] * c.theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        both = torch.cat([half, half], -1)
        return both.cos(), both.sin()

    rotary.forward = angles
