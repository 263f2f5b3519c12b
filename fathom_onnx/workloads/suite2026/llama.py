"""llama: the Llama 3 8B language model (Grattafiori et al. 2024, arXiv:2407.21783), in three graphs.

A decoder (:mod:`.decoder`) whose feed-forward part is SwiGLU (Shazeer 2020): ``down(silu(gate(x)) * up(x))``.

**Training** is one step on whole sequences: the mean cross-entropy of each next token, and AdamW after the gradients'
global norm is clipped. **Prefill**, the inference of ``llama``, reads whole sequences and gives the logits and what a
cache holds after them: the rotated keys and the values of each block. **Decoding** is the workload ``llama-decode``:
one token a sequence, the caches as state. A step writes keys and values at the position, attends to the places up to
it, and moves it on; after the last place it is 0 again, where the next sequences begin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Workload
from fathom_onnx.workloads.stack import Stack

from .decoder import caches, decoder, linear, logits, token_input

__all__ = ["DECODE_DEFINITION", "DEFINITION", "LlamaConfig", "build", "build_decode"]

_TABLE = "Grattafiori et al. 2024, table 3 (8B)"
_LLAMA_2 = "Touvron et al. 2023, Llama 2, section 2.2"


@dataclass(frozen=True)
class LlamaConfig:
    """Hyper-parameters of llama and llama-decode."""

    batch: int = setting(1, "ours: one sequence; Grattafiori et al. train on 4 to 16 million tokens a step")
    length: int = setting(2048, "ours: tokens of a sequence, or places of the cache; the released model takes 8192")
    vocabulary: int = setting(128_256, "meta-llama/Meta-Llama-3-8B, config; 128K in table 3")
    width: int = setting(4096, f"{_TABLE}: model dimension")
    layers: int = setting(32, f"{_TABLE}: layers")
    heads: int = setting(32, f"{_TABLE}: attention heads")
    kv_heads: int = setting(8, f"{_TABLE}: key/value heads")
    hidden: int = setting(14_336, f"{_TABLE}: FFN dimension")
    theta: float = setting(500_000.0, f"{_TABLE}: RoPE theta")
    epsilon: float = setting(1e-5, f"{_LLAMA_2} code: norm_eps of RMSNorm")
    learning_rate: float = setting(3e-4, f"{_TABLE}: peak learning rate")
    beta1: float = setting(0.9, f"{_LLAMA_2}: AdamW")
    beta2: float = setting(0.95, f"{_LLAMA_2}: AdamW")
    adam_epsilon: float = setting(1e-5, f"{_LLAMA_2}: AdamW")
    weight_decay: float = setting(0.1, f"{_LLAMA_2}: weight decay")
    clip: float = setting(1.0, f"{_LLAMA_2}: gradient clipping, global norm")


def build(preset: str, config: LlamaConfig) -> Workload:
    """Training and prefill at one configuration.

    Raises:
        ValueError: The sizes of heads do not divide.
    """
    c = config

    def feed(stack: Stack, block: str) -> None:
        linear(stack, f"{block}.gate", c.width, c.hidden)
        linear(stack, f"{block}.up", c.width, c.hidden)
        stack.plain(f"{block}.swiglu", "gated activation")
        linear(stack, f"{block}.down", c.hidden, c.width)

    return decoder("llama", preset, c, feed)


def build_decode(preset: str, config: LlamaConfig) -> Workload:
    """Decoding at one configuration.

    Raises:
        ValueError: The sizes of heads do not divide.
    """
    c = config
    whole = build(preset, c)
    return replace(
        whole,
        name="llama-decode",
        features=(token_input(c, "tokens", 1, "the token at the position, of each sequence"),),
        targets=(),
        outputs=(logits(c, 1),),
        modes=("inference",),
        caches=caches(c),
    )


_PAPER = LlamaConfig()
_SMALL = replace(_PAPER, batch=4, length=128, vocabulary=1024, width=128, layers=4, heads=4, kv_heads=2, hidden=448)
_TINY = replace(_PAPER, batch=2, length=8, vocabulary=48, width=16, layers=2, heads=4, kv_heads=2, hidden=24)
_PRESETS = {"paper": _PAPER, "small": _SMALL, "tiny": _TINY}

_PAPERS = (
    "Grattafiori et al., The Llama 3 Herd of Models, 2024, arXiv:2407.21783",
    "Touvron et al., LLaMA: Open and Efficient Foundation Language Models, 2023, arXiv:2302.13971",
)

_COMMON = (
    "All arithmetic is in float32, where the authors train in bfloat16. Rotary pairs are (i, i + d/2) as in the "
    "released weights' Hugging Face form, not neighbours as in the authors' code; the two differ by an order of rows. "
)

DEFINITION = Definition(
    name="llama",
    summary="Llama 3 decoder: training and prefill",
    presets=_PRESETS,
    build=build,
    fidelity=_COMMON
    + "A step has one sequence of 2048 tokens, not millions of tokens. The learning rate is constant at "
    "its peak, where the authors warm up and decay. Weight decay is on all parameters, norms included. Nothing keeps "
    "documents of one sequence apart. Matrices start normal with deviation 0.02.",
    papers=_PAPERS,
)
"""Training and prefill."""

DECODE_DEFINITION = Definition(
    name="llama-decode",
    summary="Llama 3 decoder: one token with its key and value caches",
    presets=_PRESETS,
    build=build_decode,
    fidelity=_COMMON + "All sequences of a batch are at one position. A cache is of fixed length, and a step makes it "
    "anew by a choice between the old value and the new at each place, where programs write one place; attention is "
    "over all places, those after the position masked.",
    papers=_PAPERS,
)
"""Decoding with caches."""
