"""Losses: values and gradients of the exported graph against PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.operations import Case, compare, tensors

X, Y = tensors((4, 5), (4, 5))
P, Q = tensors((4, 5), (4, 5), seed=1, low=0.05, high=0.95)
LABELS = torch.tensor([1, 4, 0, 2])
IGNORED = torch.tensor([1, -100, 0, -100])
IMAGE, IMAGE_P = tensors((2, 3, 2, 2), (2, 3, 2, 2), seed=2, low=0.05, high=0.95)
IMAGE_LABELS = torch.tensor([[[0, 2], [1, 1]], [[2, 2], [0, -100]]])
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5])
WEIGHT3 = torch.tensor([0.5, 1.0, 2.0])
SIGNS = torch.tensor([1.0, -1.0, -1.0, 1.0])
A, B, C = tensors((4, 5), (4, 5), (4, 5), seed=3)
MULTI = torch.tensor([[3, 0, -1, 1, 2], [0, 1, 2, 3, 4], [-1, 0, 1, 2, 3], [2, -1, 0, 0, 0]])
BINARY = torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
LOG_P = torch.log_softmax(tensors((6, 2, 5), seed=4)[0], 2)
ONE = torch.tensor([2.0])

CASES = []
for r in ("none", "mean", "sum"):
    CASES += [
        Case(f"cross_entropy {r}", lambda x, r=r: F.cross_entropy(x, LABELS, reduction=r), (X,)),
        Case(
            f"cross_entropy weight {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, WEIGHT.to(x.dtype), reduction=r),
            (X, LABELS),
        ),
        Case(f"cross_entropy ignored {r}", lambda x, t, r=r: F.cross_entropy(x, t, reduction=r), (X, IGNORED)),
        Case(
            f"cross_entropy ignore 2 {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, ignore_index=2, reduction=r),
            (X, LABELS),
        ),
        Case(
            f"cross_entropy smooth {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, reduction=r, label_smoothing=0.1),
            (X, IGNORED),
        ),
        Case(
            f"cross_entropy smooth weight {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, WEIGHT.to(x.dtype), reduction=r, label_smoothing=0.1),
            (X, IGNORED),
        ),
        Case(f"cross_entropy probabilities {r}", lambda x, t, r=r: F.cross_entropy(x, t, reduction=r), (X, P)),
        Case(
            f"cross_entropy probabilities all {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, WEIGHT.to(x.dtype), reduction=r, label_smoothing=0.2),
            (X, P),
        ),
        Case(f"cross_entropy image {r}", lambda x, t, r=r: F.cross_entropy(x, t, reduction=r), (IMAGE, IMAGE_LABELS)),
        Case(
            f"cross_entropy image weight {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, WEIGHT3.to(x.dtype), reduction=r, label_smoothing=0.1),
            (IMAGE, IMAGE_LABELS),
        ),
        Case(
            f"cross_entropy image probabilities {r}",
            lambda x, t, r=r: F.cross_entropy(x, t, WEIGHT3.to(x.dtype), reduction=r),
            (IMAGE, IMAGE_P),
        ),
        Case(f"nll {r}", lambda x, t, r=r: F.nll_loss(x, t, WEIGHT.to(x.dtype), reduction=r), (X, IGNORED)),
        Case(f"nll image {r}", lambda x, t, r=r: F.nll_loss(x, t, reduction=r), (IMAGE, IMAGE_LABELS)),
        Case(
            f"nll sequence {r}",
            lambda x, t, r=r: F.nll_loss(x.flatten(2), t.flatten(1), reduction=r),
            (IMAGE, IMAGE_LABELS),
        ),
        Case(f"bce {r}", lambda x, t, r=r: F.binary_cross_entropy(x, t, reduction=r), (P, Q)),
        Case(
            f"bce weight {r}",
            lambda x, t, r=r: F.binary_cross_entropy(x, t, WEIGHT.to(x.dtype), reduction=r),
            (P, BINARY),
        ),
        Case(f"bce logits {r}", lambda x, t, r=r: F.binary_cross_entropy_with_logits(x, t, reduction=r), (X, Q)),
        Case(
            f"bce logits weights {r}",
            lambda x, t, r=r: F.binary_cross_entropy_with_logits(
                x, t, WEIGHT.to(x.dtype), reduction=r, pos_weight=2 * WEIGHT.to(x.dtype)
            ),
            (X, Q),
        ),
        Case(f"kl {r}", lambda x, t, r=r: F.kl_div(x, t, reduction=r), (X, P)),
        Case(f"kl log target {r}", lambda x, t, r=r: F.kl_div(x, t, reduction=r, log_target=True), (X, Y)),
        Case(f"kl zeros {r}", lambda x, r=r: F.kl_div(x, BINARY.to(x.dtype), reduction=r), (X,)),
        Case(f"mse {r}", lambda x, y, r=r: F.mse_loss(x, y, reduction=r), (X, Y)),
        Case(f"l1 {r}", lambda x, y, r=r: F.l1_loss(x, y, reduction=r), (X, Y)),
        Case(f"smooth l1 {r}", lambda x, y, r=r: F.smooth_l1_loss(x, y, reduction=r), (X, Y)),
        Case(f"smooth l1 beta 0 {r}", lambda x, y, r=r: F.smooth_l1_loss(x, y, reduction=r, beta=0.0), (X, Y)),
        Case(f"smooth l1 beta 0.4 {r}", lambda x, y, r=r: F.smooth_l1_loss(x, y, reduction=r, beta=0.4), (X, Y)),
        Case(f"huber {r}", lambda x, y, r=r: F.huber_loss(x, y, reduction=r, delta=0.7), (X, Y)),
        Case(f"poisson {r}", lambda x, y, r=r: F.poisson_nll_loss(x, y, reduction=r), (X, P)),
        Case(
            f"poisson full {r}",
            lambda x, r=r: F.poisson_nll_loss(x, 3 * P.to(x.dtype), log_input=False, full=True, reduction=r),
            (Q,),
        ),
        Case(f"gaussian {r}", lambda x, y, v, r=r: F.gaussian_nll_loss(x, y, v, full=True, reduction=r), (X, Y, P)),
        Case(f"soft margin {r}", lambda x, r=r: F.soft_margin_loss(x, 2 * BINARY.to(x.dtype) - 1, reduction=r), (X,)),
        Case(
            f"hinge embedding {r}",
            lambda x, r=r: F.hinge_embedding_loss(x, 2 * BINARY.to(x.dtype) - 1, margin=0.6, reduction=r),
            (X,),
        ),
        Case(
            f"margin ranking {r}",
            lambda x, y, r=r: F.margin_ranking_loss(x, y, 2 * BINARY.to(x.dtype) - 1, margin=0.3, reduction=r),
            (X, Y),
        ),
        Case(
            f"cosine embedding {r}",
            lambda x, y, s, r=r: F.cosine_embedding_loss(x, y, s, margin=0.1, reduction=r),
            (X, Y, SIGNS),
        ),
        Case(f"triplet {r}", lambda a, b, c, r=r: F.triplet_margin_loss(a, b, c, margin=2.0, reduction=r), (A, B, C)),
        Case(
            f"triplet swap p1 {r}",
            lambda a, b, c, r=r: F.triplet_margin_loss(a, b, c, p=1, swap=True, reduction=r),
            (A, B, C),
        ),
        Case(
            f"triplet by distance {r}",
            lambda a, b, c, r=r: F.triplet_margin_with_distance_loss(
                a, b, c, distance_function=nn.CosineSimilarity(), reduction=r
            ),
            (A, B, C),
        ),
        Case(f"multi margin {r}", lambda x, r=r: F.multi_margin_loss(x, LABELS, reduction=r), (X,)),
        Case(
            f"multi margin p 2 {r}",
            lambda x, r=r: F.multi_margin_loss(x, LABELS, p=2, margin=0.7, weight=WEIGHT.to(x.dtype), reduction=r),
            (X,),
        ),
        Case(f"multilabel margin {r}", lambda x, t, r=r: F.multilabel_margin_loss(x, t, reduction=r), (X, MULTI)),
        Case(
            f"multilabel soft margin {r}",
            lambda x, r=r: F.multilabel_soft_margin_loss(x, BINARY.to(x.dtype), WEIGHT.to(x.dtype), reduction=r),
            (X,),
        ),
        Case(
            f"ctc {r}",
            lambda x, r=r: F.ctc_loss(
                x, torch.tensor([[1, 2, 2], [3, 0, 0]]), torch.tensor([6, 5]), torch.tensor([3, 1]), reduction=r
            ),
            (LOG_P,),
        ),
    ]
CASES += [
    Case("kl batchmean", lambda x, t: F.kl_div(x, t, reduction="batchmean"), (X, P)),
    Case("pairwise distance", lambda a, b: F.pairwise_distance(a, b, p=3, keepdim=True), (A, B)),
    Case("cosine similarity", lambda a, b: F.cosine_similarity(a, b), (A, B)),
    Case("pdist", F.pdist, (A,)),
    Case("cross_entropy one row", lambda x: F.cross_entropy(x, torch.tensor(3)), (X[0],)),
    Case("adaptive log softmax", lambda x: F.log_softmax(x, -1).gather(1, LABELS.view(-1, 1)), (X,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
