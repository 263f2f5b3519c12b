"""Arithmetic of recurrent layers, and of linear attention, which is computed token by token as well."""

from __future__ import annotations

import math

from .call import Arithmetic, Call, Formula, NotKnown
from .products import ACTIVATIONS

__all__ = ["linear_attention", "recurrent"]

_POINTWISE: dict[int, tuple[int, int, int, int]] = {
    # gates: sigmoid-like activations, tanh-like activations, other FLOPs, bias additions
    4: (3, 2, 4, 4),  # c = f c + i g; h = o tanh(c)
    3: (2, 1, 5, 3),  # r times the candidate's state; h = (1 - z) g + z h
    1: (0, 1, 0, 1),
}


def _gate_flops(call: Call, gates: int, directions: int) -> list[int]:
    """FLOPs an element of the hidden state and step beside the products, for each direction."""
    smooth, curved, other, bias = _POINTWISE[gates]
    usual = ["sigmoid"] * bool(smooth) + ["tanh"] * (2 if gates == 4 else 1)
    raw = call.attributes.get("activations")
    named = [a.decode(errors="replace").lower() for a in raw] if isinstance(raw, list) and raw else usual * directions
    if len(named) == len(usual):
        named = named * directions
    if len(named) != len(usual) * directions or any(a not in ACTIVATIONS for a in named):
        raise NotKnown("its activations are in no table")
    flops = []
    for start in range(0, len(named), len(usual)):
        each = [ACTIVATIONS[a] for a in named[start : start + len(usual)]]
        active = smooth * each[0] + sum(each[1:]) if smooth else curved * each[0]
        peephole = 6 if gates == 4 and call.has(7) else 0
        flops.append(active + other + peephole + (bias if call.has(3) else 0))
    return flops


def recurrent(gates: int) -> Formula:
    """LSTM (4 gates), GRU (3) or RNN (1)."""

    def formula(call: Call) -> Arithmetic:
        """MACs = steps x (W + R elements), where the steps are sequence x batch, or the sum of known lengths.

        Beside these the gates' biases, activations and products, for each step and element of the hidden state.
        Sequences of unknown length count in full.
        """
        first, second, _ = call.matrix(0, 3)
        weights, state = call.matrix(1, 3), call.matrix(2, 3)
        hidden = call.integer("hidden_size", state[2])
        if gates * hidden not in state[1:] or hidden not in state[1:]:
            raise NotKnown("the recurrent weights do not fit the number of gates")
        lengths = call.value(4)
        steps = first * second if lengths is None else int(lengths.sum())
        macs = steps * (math.prod(weights) + math.prod(state))
        return macs, 2 * macs + steps * hidden * sum(_gate_flops(call, gates, state[0]))

    return formula


def linear_attention(call: Call) -> Arithmetic:
    """A state of d_k x d_v a head, token by token: MACs = tokens x d_k x d_v x (writes a kv head + a read a q head).

    The delta rules read the state before they write it; gated rules scale it (one FLOP an element).
    """
    batch, tokens, width = call.matrix(0, 3)
    heads, groups = call.integer("q_num_heads"), call.integer("kv_num_heads")
    state = (width // heads) * (call.matrix(2, 3)[2] // groups)
    rule = call.text("update_rule", "gated_delta")
    macs = batch * tokens * state * (groups * (2 if "delta" in rule else 1) + heads)
    scaled = batch * tokens * state * groups if "gated" in rule else 0
    return macs, 2 * macs + scaled
