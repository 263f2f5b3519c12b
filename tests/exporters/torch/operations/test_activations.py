"""Activations: values and gradients of the exported graph against PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.operations import Case, compare, tensors

X, Y = tensors((4, 6), (4, 6))
WIDE = tensors((5, 8), seed=1, low=-30, high=30)[0]
KINKS = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0])
P = tensors((4, 6), seed=2, low=0.02, high=0.98)[0]
IMAGE = tensors((2, 3, 2, 4), seed=3)[0]
SLOPES = torch.tensor([0.1, 0.2, 0.3])
MASK = torch.tensor([[True, False, True, True, False, True]] * 4)

FUNCTIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "elu alpha": lambda x: F.elu(x, 0.5),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 1.5),
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardtanh": lambda x: F.hardtanh(x, -0.7, 1.2),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardshrink": F.hardshrink,
    "hardshrink at": lambda x: F.hardshrink(x, 1.1),
    "softshrink": F.softshrink,
    "softshrink at": lambda x: F.softshrink(x, 0.9),
    "tanhshrink": F.tanhshrink,
    "softsign": F.softsign,
    "threshold": lambda x: F.threshold(x, 0.3, -2.0),
    "threshold 0": lambda x: F.threshold(x, 0.0, 0.0),
    "threshold negative": lambda x: F.threshold(x, -0.6, 5.0),
    "softplus": F.softplus,
    "softplus beta": lambda x: F.softplus(x, 2.0, 3.0),
    "softplus small threshold": lambda x: F.softplus(x, 1.0, 0.5),
    "logsigmoid": F.logsigmoid,
    "glu": F.glu,
    "glu first": lambda x: F.glu(x.t().contiguous() if x.dim() == 2 else x, 0),
    "swiglu": lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
    "rrelu eval": lambda x: F.rrelu(x, training=False),
    "softmax": lambda x: F.softmax(x, -1),
    "softmax first": lambda x: F.softmax(x, 0),
    "softmin": lambda x: F.softmin(x, -1),
    "log softmax": lambda x: F.log_softmax(x, -1),
    "log softmax first": lambda x: F.log_softmax(x, 0),
    "relu in place": lambda x: F.relu_(x * 2),
    "silu in place": lambda x: F.silu(x * 2, inplace=True),
    "normalize": lambda x: F.normalize(x, dim=0),
    "normalize p1": lambda x: F.normalize(x, p=1.0, dim=0),
    "squared relu": lambda x: F.relu(x) ** 2,
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
}
CASES = [
    Case(f"{name} {kind}", function, (x,))
    for name, function in FUNCTIONS.items()
    for kind, x in (("usual", X), ("wide", WIDE), ("kinks", KINKS))
]
CASES += [
    Case("prelu", lambda x, w: F.prelu(x, w), (X, torch.tensor([0.25]))),
    Case("prelu channels", lambda x, w: F.prelu(x, w), (IMAGE, SLOPES)),
    Case("prelu kinks", lambda x, w: F.prelu(x, w), (KINKS, torch.tensor([0.25]))),
    Case("softmax image", lambda x: F.softmax(x, 1), (IMAGE,)),
    Case("softmax2d", nn.Softmax2d(), (IMAGE,)),
    Case("masked softmax", lambda x, m: F.softmax(x.masked_fill(~m, float("-inf")), -1), (X, MASK)),
    Case("masked log softmax", lambda x, m: F.log_softmax(x.masked_fill(~m, -1e9), -1), (X, MASK)),
    Case("gumbel softmax of drawn noise", lambda x, u: F.softmax((x - (-u.log()).log()) / 0.7, -1), (X, P)),
    Case("softmax in another type", lambda x: F.softmax(x, -1, dtype=x.dtype), (X,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
