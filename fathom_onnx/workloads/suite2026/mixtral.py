"""mixtral: the Mixtral 8x7B language model (Jiang et al. 2024, arXiv:2401.04088), a sparse mixture of experts.

A decoder (:mod:`.decoder`) whose feed-forward part is chosen for each token: a router gives each of E experts, which
are SwiGLU networks, a probability, the two likeliest experts work on the token, and their results are added, weighted
by the two probabilities over their sum.

**Capacity.** An expert has C slots, so that all shapes are static (Shazeer et al. 2017; Lepikhin et al. 2021, GShard,
algorithm 1). Slots go to the tokens whose first choice the expert is, in their order, then to those whose second choice
it is; where no slot is left, that choice is dropped, and its part of the result is zero. With ``e[n, k]`` the unit
vector of token n's k-th choice, ``s[n, k]`` that of its slot (zero where dropped) and ``g[n, k]`` its weight,

    dispatch[n] = sum_k e[n, k] s[n, k]^T       combine[n] = sum_k g[n, k] e[n, k] s[n, k]^T       [E, C]
    inputs[e, c] = sum_n dispatch[n, e, c] x[n]     y[n] = sum_ec combine[n, e, c] expert_e(inputs[e, c])

which are matrix products.

**Balance.** To the cross-entropy is added, of each block, ``E * sum_e f_e p_e``: f_e the share of choices that fall on
expert e, p_e the mean of its probability (Shazeer et al. 2017; Fedus et al. 2022), times a coefficient, as a mean over
blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Layer, Workload
from fathom_onnx.workloads.stack import Stack

from .decoder import SPREAD, decoder, linear

__all__ = ["CHOICES", "DEFINITION", "MixtralConfig", "build"]

CHOICES = 2
"""Experts that work on a token (Jiang et al. 2024, table 1: top_k_experts)."""

_TABLE = "Jiang et al. 2024, table 1"
_RELEASED = "mistralai/Mixtral-8x7B-v0.1, config"
_LLAMA = "not published; as of llama"


@dataclass(frozen=True)
class MixtralConfig:
    """Hyper-parameters of mixtral."""

    batch: int = setting(1, "ours: one sequence")
    length: int = setting(2048, "ours: tokens of a sequence; the released model takes 32,768")
    vocabulary: int = setting(32_000, f"{_TABLE}: vocab_size")
    width: int = setting(4096, f"{_TABLE}: dim")
    layers: int = setting(32, f"{_TABLE}: n_layers")
    heads: int = setting(32, f"{_TABLE}: n_heads")
    kv_heads: int = setting(8, f"{_TABLE}: n_kv_heads")
    hidden: int = setting(14_336, f"{_TABLE}: hidden_dim")
    experts: int = setting(8, f"{_TABLE}: num_experts")
    capacity: float = setting(1.25, "Fedus et al. 2022, section 2.2: capacity factor; slots over choices")
    balance: float = setting(0.02, f"{_RELEASED}: router_aux_loss_coef")
    theta: float = setting(1e6, f"{_RELEASED}: rope_theta")
    epsilon: float = setting(1e-5, f"{_RELEASED}: rms_norm_eps")
    learning_rate: float = setting(3e-4, _LLAMA)
    beta1: float = setting(0.9, _LLAMA)
    beta2: float = setting(0.95, _LLAMA)
    adam_epsilon: float = setting(1e-5, _LLAMA)
    weight_decay: float = setting(0.1, _LLAMA)
    clip: float = setting(1.0, f"{_LLAMA}: global norm")

    @property
    def slots(self) -> int:
        """Slots of an expert."""
        tokens = self.batch * self.length
        return min(math.ceil(self.capacity * tokens * CHOICES / self.experts), tokens)


def build(preset: str, config: MixtralConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The sizes of heads do not divide, or there are fewer experts than a token has.
    """
    c = config
    if c.experts < CHOICES:
        raise ValueError(f"a token cannot have {CHOICES} of {c.experts} experts")

    def of_experts(stack: Stack, name: str, inputs: int, outputs: int) -> None:
        stack.add(Layer(name, "linear of each expert"), SPREAD, weight=(c.experts, outputs, inputs))

    def feed(stack: Stack, block: str) -> None:
        linear(stack, f"{block}.router", c.width, c.experts)
        stack.plain(f"{block}.choice", "top-2 choice of experts and slots")
        stack.plain(f"{block}.balance", "load balance")
        stack.plain(f"{block}.dispatch", "dispatch to experts")
        of_experts(stack, f"{block}.gate", c.width, c.hidden)
        of_experts(stack, f"{block}.up", c.width, c.hidden)
        stack.plain(f"{block}.swiglu", "gated activation")
        of_experts(stack, f"{block}.down", c.hidden, c.width)
        stack.plain(f"{block}.combine", "weighted sum of experts")

    return decoder("mixtral", preset, c, feed)


_PAPER = MixtralConfig()
_SMALL = replace(
    _PAPER, batch=4, length=128, vocabulary=1024, width=128, layers=2, heads=4, kv_heads=2, hidden=448, experts=4
)
_TINY = replace(_PAPER, batch=2, length=8, vocabulary=48, width=16, layers=2, heads=4, kv_heads=2, hidden=24, experts=4)

DEFINITION = Definition(
    name="mixtral",
    summary="Mixtral decoder: a mixture of experts with two for each token",
    presets={"paper": _PAPER, "small": _SMALL, "tiny": _TINY},
    build=build,
    fidelity="Mixtral drops no token: an expert works on as many as chose it, by sparse kernels whose sizes "
    "depend on the "
    "data. Here an expert has a fixed number of slots, 1.25 times its even share of choices, as in GShard, and "
    "what finds none is dropped; unlike there all tokens of a batch are one group, and the second choice is "
    "always taken. Moving tokens to slots is a product with a matrix of zeros and ones, 5 % of the experts' own "
    "at the published size, each way. How Mixtral was trained is not published: AdamW, its rates and the clipping "
    "are those of llama. The balance is that of each block, where the released code takes the tokens of all "
    "blocks together, and counts choices before any is dropped. All arithmetic is in float32. A sequence has 2048 "
    "tokens.",
    papers=(
        "Jiang et al., Mixtral of Experts, 2024, arXiv:2401.04088",
        "Shazeer et al., Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer, ICLR 2017, "
        "arXiv:1701.06538",
        "Lepikhin et al., GShard, ICLR 2021, arXiv:2006.16668",
        "Fedus et al., Switch Transformers, JMLR 2022, arXiv:2101.03961",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
