"""Products, attention, recurrent layers: values and gradients of the exported graph against PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.operations import Case, compare, tensors

A, B = tensors((3, 4), (4, 5))
BA, BB = tensors((2, 3, 4), (2, 4, 5), seed=1)
V, W = tensors((4,), (4,), seed=2)
C = tensors((3, 5), seed=3)[0]
SQ = tensors((4, 4), seed=4)[0]
Q, K, VAL = tensors((2, 4, 3, 6), (2, 4, 5, 6), (2, 4, 5, 6), seed=5, low=-1, high=1)
KG, VG = tensors((2, 2, 5, 6), (2, 2, 5, 6), seed=6)
MASK = torch.tensor([[True, True, False, True, False], [True] * 5, [False, True, True, False, False]])
NOTHING = torch.tensor([[True, True, False, True, False], [False] * 5, [False, True, True, False, False]])
BIAS = tensors((3, 5), seed=7)[0]
SEQ = tensors((3, 2, 4), seed=8)[0]
torch.manual_seed(0)


def module(made, *arguments, **options):
    made = made.double()
    names = [n for n, _ in made.named_parameters()]
    values = tuple(p.detach().float() for p in made.parameters())

    def run(x, *parameters):
        with torch.backends.mkldnn.flags(enabled=False):
            made.to(x.dtype)
            out = torch.func.functional_call(made, dict(zip(names, parameters, strict=True)), (x, *arguments), options)
        flat = []
        for o in out if isinstance(out, tuple) else (out,):
            flat += list(o) if isinstance(o, tuple) else [o]
        return [o for o in flat if o is not None]

    return run, values


def layer(name, made, x, *arguments, **options):
    run, values = module(made, *arguments, **options)
    return Case(name, run, (x, *values))


CASES = [
    Case("mm", torch.mm, (A, B)),
    Case("matmul", torch.matmul, (BA, BB)),
    Case("matmul broadcast", torch.matmul, (BA, B)),
    Case("matmul left", torch.matmul, (A, BB)),
    Case("bmm", torch.bmm, (BA, BB)),
    Case("matmul vector", torch.matmul, (BA, V)),
    Case("vector matmul", torch.matmul, (V, BB)),
    Case("mv", torch.mv, (A, V)),
    Case("dot", torch.dot, (V, W)),
    Case("vdot", torch.vdot, (V, W)),
    Case("outer", torch.outer, (V, W)),
    Case("inner", torch.inner, (A, V)),
    Case("addmm", lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), (C, A, B)),
    Case("addmm row", torch.addmm, (C[0], A, B)),
    Case("baddbmm", lambda c, a, b: torch.baddbmm(c, a, b, beta=0.3, alpha=2), (C[None].repeat(2, 1, 1), BA, BB)),
    Case("addbmm", torch.addbmm, (C, BA, BB)),
    Case("addmv", lambda c, a, v: torch.addmv(c, a, v, alpha=2), (C[:, 0], A, V)),
    Case("addr", lambda c, a, b: torch.addr(c, a, b, beta=2, alpha=0.5), (SQ, V, W)),
    Case("baddbmm beta 0", lambda c, a, b: torch.baddbmm(c, a, b, beta=0), (C[None].repeat(2, 1, 1), BA, BB)),
    Case("linear", F.linear, (BA, A)),
    Case("linear bias", F.linear, (BA, A, C[:, 0])),
    Case("bilinear", F.bilinear, (A, C, tensors((2, 4, 5), seed=9)[0])),
    Case("einsum", lambda a, b: torch.einsum("bij,bjk->bik", a, b), (BA, BB)),
    Case("einsum outer", lambda a, b: torch.einsum("i,j->ij", a, b), (V, W)),
    Case("einsum diagonal", lambda a: torch.einsum("ii->i", a), (SQ,)),
    Case("einsum trace", lambda a: torch.einsum("ii->", a), (SQ,)),
    Case("einsum heads", lambda q, k: torch.einsum("bhqd,bhkd->bhqk", q, k), (Q, K)),
    Case("einsum three", lambda a, b, c: torch.einsum("ij,jk,ik->i", a, b, c), (A, B, C)),
    Case("tensordot", lambda a, b: torch.tensordot(a, b, dims=([2], [1])), (BA, BB)),
    Case("trace", torch.trace, (SQ,)),
    Case("cross", lambda a, b: torch.linalg.cross(a, b), (SQ[:, :3], BA[0].t())),
    Case("kron", torch.kron, (A, C)),
    Case("multi_dot", lambda a, b, c: torch.linalg.multi_dot([a, b, c]), (A, B, C.t())),
    Case("matrix_power", lambda a: torch.linalg.matrix_power(a, 3), (SQ,)),
    Case("chain", lambda a: a @ a.t() @ a, (A,)),
    Case("cdist", lambda a, b: torch.cdist(a, b), (A, SQ)),
    Case("cdist p1", lambda a, b: torch.cdist(a, b, p=1), (A, SQ)),
    Case("cdist inf", lambda a, b: torch.cdist(a, b, p=float("inf")), (A, SQ)),
    Case("cdist p3", lambda a, b: torch.cdist(a, b, p=3.0), (A, SQ)),
    Case("cdist by products", lambda a, b: torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist"), (A, SQ)),
    Case("cdist batch", lambda a: torch.cdist(a, a + 1), (BA,)),
    Case("mm of integers", lambda a: a.long() @ a.long().t(), (A * 3,)),
    Case("mm of 0 rows", lambda a, b: (a[:0] @ b).sum(), (A, B)),
    Case("attention", F.scaled_dot_product_attention, (Q, K, VAL)),
    Case("attention causal", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), (Q, K, VAL)),
    Case("attention mask", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), (Q, K, VAL, MASK)),
    Case(
        "attention row masked out", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), (Q, K, VAL, NOTHING)
    ),
    Case("attention bias", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=0.3), (Q, K, VAL, BIAS)),
    Case("attention grouped", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), (Q, KG, VG)),
    Case("self attention", lambda x: F.scaled_dot_product_attention(x, x, x), (SEQ,)),
]


def multihead(weights, **options):
    made = nn.MultiheadAttention(4, 2, **options)
    names = [n for n, _ in made.named_parameters()]

    def run(x, *parameters):
        made.to(x.dtype)
        out = torch.func.functional_call(
            made, dict(zip(names, parameters, strict=True)), (x, x, x), {"need_weights": weights}
        )
        return [o for o in out if o is not None]

    return Case(f"multihead {weights} {options}", run, (SEQ, *[p.detach() for p in made.parameters()]))


CASES += [
    multihead(True),
    multihead(False),
    multihead(True, batch_first=True),
    multihead(False, add_bias_kv=True, add_zero_attn=True),
    layer("LSTM", nn.LSTM(4, 3), SEQ),
    layer("LSTM deep", nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True), SEQ),
    layer("LSTM projected", nn.LSTM(4, 3, proj_size=2), SEQ),
    layer("GRU", nn.GRU(4, 3, bidirectional=True), SEQ),
    layer("RNN", nn.RNN(4, 3, 2), SEQ),
    layer("RNN relu", nn.RNN(4, 3, nonlinearity="relu"), SEQ),
    layer("LSTMCell", nn.LSTMCell(4, 3), SEQ[0]),
    layer("GRUCell", nn.GRUCell(4, 3), SEQ[0]),
    layer("RNNCell", nn.RNNCell(4, 3), SEQ[0]),
    layer("encoder", nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), SEQ),
    layer(
        "encoder norm first", nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, norm_first=True, activation="gelu"), SEQ
    ),
    layer("weight norm", nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), SEQ),
    layer("weight norm dim 1", nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=1), SEQ),
    layer("weight norm all", nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=None), SEQ),
    Case("dropout in evaluation", lambda x: F.dropout(x, 0.5, False), (A,)),
    Case("dropout of nothing", lambda x: F.dropout(x, 0.0, True) * 2, (A,)),
    Case("dropout of all", lambda x: F.dropout(x, 1.0, True), (A,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
