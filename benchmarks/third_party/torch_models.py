"""Models in plain PyTorch, exported by both of its exporters; counted by ``torch.utils.flop_counter`` and by hand."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .truth import Maker, Truth

__all__ = ["MODELS", "counted", "export", "quietly", "randomise"]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Exporters talk on both streams; the benchmark's table is all that is to be read."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def counted(model: nn.Module, inputs: Sequence[Any], more_macs: int = 0, **named: Any) -> Truth:
    """PyTorch's own count of a model: the products that its FLOP counter sees run, and the parameters that it uses.

    Args:
        model: The model.
        inputs: Its inputs.
        more_macs: MACs by hand of what the counter does not know (recurrent layers).
        named: Further inputs, by name.
    """
    # attention by plain products: the counter does not know the fused kernel
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(*inputs, **named)
    outputs = model(*inputs, **named)
    sum(output.float().sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
    parameters = sum(p.numel() for p in model.parameters() if p.grad is not None)
    return Truth(counter.get_total_flops() // 2 + more_macs, parameters, "torch.utils.flop_counter")


def randomise(model: nn.Module) -> nn.Module:
    """Give every parameter and running statistic values of its own: exporters merge tensors that are equal."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.1, 0.1)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return model


def export(model: nn.Module, inputs: tuple[Any, ...], path: Path, dynamo: bool, names: Sequence[str] = ()) -> None:
    """Export by PyTorch's newer exporter (``dynamo``) or by the older one."""
    labels = list(names) or [f"input_{i}" for i in range(len(inputs))]
    torch.backends.mha.set_fastpath_enabled(False)  # one fused kernel, which neither exporter nor counter knows
    with quietly(), torch.no_grad():
        if dynamo:
            torch.onnx.export(model, inputs, path, dynamo=True, opset_version=20, input_names=labels, verbose=False)
        else:
            torch.onnx.export(model, inputs, str(path), dynamo=False, opset_version=17, input_names=labels)


class Residual(nn.Module):
    """A block with a shortcut."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.short = nn.Conv2d(into, out, 1, stride, bias=False)

    def forward(self, x: Any) -> Any:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.short(x))


class Inverted(nn.Module):
    """An inverted residual with squeeze and excitation (MobileNetV3)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(inner, inner, 5, 1, 2, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.Hardswish()
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, inner // 4, 1), nn.ReLU(), nn.Conv2d(inner // 4, inner, 1)
        )
        self.project = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        y = self.depth(self.expand(x))
        return x + self.project(y * functional.hardsigmoid(self.squeeze(y)))


class UNet(nn.Module):
    """Two levels down, two levels up, with a transposed convolution and a resize."""

    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2, self.m = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 1, 1), nn.Conv2d(32, 64, 3, 1, 1)
        self.u2, self.c2 = nn.ConvTranspose2d(64, 32, 2, 2), nn.Conv2d(64, 32, 3, 1, 1)
        self.u1, self.c1 = nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(48, 16, 3, 1, 1)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: Any) -> Any:
        a = functional.relu(self.d1(x))
        b = functional.relu(self.d2(functional.max_pool2d(a, 2)))
        m = functional.relu(self.m(functional.max_pool2d(b, 2)))
        b = functional.relu(self.c2(torch.cat([self.u2(m), b], 1)))
        return self.head(functional.relu(self.c1(torch.cat([self.u1(b), a], 1))))


class Recurrent(nn.Module):
    """An embedding, a recurrent layer, a classifier of its last output."""

    def __init__(self, cell: type[nn.Module], **settings: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(500, 32)
        self.rnn = cell(32, 64, batch_first=True, **settings)
        self.head = nn.Linear(128 if settings.get("bidirectional") else 64, 10)

    def forward(self, ids: Any) -> Any:
        return self.head(self.rnn(self.embed(ids))[0][:, -1])


class Attention(nn.Module):
    """Scaled dot-product attention by Einsum, with a relative bias."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(64, 64) for _ in range(3))
        self.bias = nn.Parameter(torch.zeros(4, 20, 20))

    def forward(self, x: Any) -> Any:
        q, k, v = (f(x).reshape(x.shape[0], x.shape[1], 4, 16) for f in (self.q, self.k, self.v))
        p = (torch.einsum("blhd,bshd->bhls", q, k) / 4 + self.bias).softmax(-1)
        return torch.einsum("bhls,bshd->blhd", p, v).flatten(2)


class Mixer(nn.Module):
    """Patches, products over tokens and over channels (MLP-Mixer)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 48, 8, 8)
        self.n1, self.n2 = nn.LayerNorm(48), nn.LayerNorm(48)
        self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))
        self.head = nn.Linear(48, 10)

    def forward(self, x: Any) -> Any:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = y + self.tokens(self.n1(y).transpose(1, 2)).transpose(1, 2)
        return self.head((y + self.channels(self.n2(y))).mean(1))


class Branches(nn.Module):
    """A trunk that is called by two heads, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(64, 128), nn.Linear(128, 10), nn.Linear(128, 64)
        self.b.weight = nn.Parameter(self.trunk.weight.T.clone())
        self.tied = nn.Linear(64, 128)
        self.tied.weight = self.trunk.weight

    def forward(self, x: Any) -> Any:
        return self.a(self.trunk(x).relu()), self.b(self.trunk(2 * x).sigmoid()) @ self.tied.weight.T


def _sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def _ids(*shape: int, below: int = 500) -> Any:
    return torch.randint(0, below, shape)


def _lstm_macs(steps: int, batch: int) -> int:
    """MACs of an LSTM of 32 inputs and 64 units: 4 gates x hidden x (inputs + hidden) a step, by hand."""
    return steps * batch * 4 * 64 * (32 + 64)


def _image(size: int = 32, channels: int = 3, batch: int = 2) -> Any:
    return torch.randn(batch, channels, size, size)


_CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Any, ...]], int]] = {
    "residual block": (
        lambda: _sequential(
            nn.Conv2d(3, 16, 3, 1, 1), Residual(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
        ),
        lambda: (_image(),),
        0,
    ),
    "inverted residual": (lambda: _sequential(nn.Conv2d(3, 24, 3, 2, 1), Inverted(24, 96)), lambda: (_image(),), 0),
    "u-net": (UNet, lambda: (_image(),), 0),
    "lstm": (lambda: Recurrent(nn.LSTM), lambda: (_ids(2, 12),), _lstm_macs(12, 2)),
    "gru, two ways, two layers": (
        lambda: Recurrent(nn.GRU, bidirectional=True, num_layers=2),
        lambda: (_ids(2, 12),),
        0,
    ),
    "einsum attention": (Attention, lambda: (torch.randn(2, 20, 64),), 0),
    "mlp-mixer": (Mixer, lambda: (_image(),), 0),
    "transformer encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2, enable_nested_tensor=False
        ),
        lambda: (torch.randn(2, 10, 64),),
        0,
    ),
    "3-d convolutions": (
        lambda: _sequential(nn.Conv3d(2, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 12, 3, groups=4)),
        lambda: (torch.randn(1, 2, 8, 16, 16),),
        0,
    ),
    "1-d convolutions": (
        lambda: _sequential(
            nn.Conv1d(4, 16, 7, 2, 3), nn.GELU(), nn.Conv1d(16, 16, 3, dilation=4, groups=16), nn.Conv1d(16, 8, 1)
        ),
        lambda: (torch.randn(2, 4, 200),),
        0,
    ),
    "generator": (
        lambda: _sequential(
            nn.ConvTranspose2d(32, 16, 4, 1, 0),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1, groups=2),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(8, 3, 3, 2, 1, 1, dilation=1),
            nn.Tanh(),
        ),
        lambda: (torch.randn(2, 32, 1, 1),),
        0,
    ),
    "pixel shuffle": (
        lambda: _sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.PReLU(16), nn.Conv2d(16, 12, 3, 1, 1), nn.PixelShuffle(2)),
        lambda: (_image(),),
        0,
    ),
    "two heads, shared weights": (Branches, lambda: (torch.randn(8, 64),), 0),
}


_FUSED = "batch normalisation becomes a bias of the convolution before it: scale and shift go, a bias comes"
_COPIED = "a weight that two products take, one of them transposed, is stored in both forms"
_EXPORTED: dict[tuple[str, bool], tuple[int, str]] = {
    **{("residual block", dynamo): (-2 * 32, _FUSED) for dynamo in (True, False)},
    **{("inverted residual", dynamo): (-(96 + 96 + 24), _FUSED) for dynamo in (True, False)},
    ("generator", True): (-2 * 16, f"{_FUSED}, which has one already"),
    **{("two heads, shared weights", dynamo): (64 * 128, _COPIED) for dynamo in (True, False)},
}
"""Case and exporter to the elements that the file has more than the model, and why."""


def _make(name: str, dynamo: bool, path: Path) -> Truth:
    build, draw, by_hand = _CASES[name]
    torch.manual_seed(0)
    model, inputs = randomise(build().eval()), draw()
    export(model, inputs, path, dynamo)
    return replace(counted(model, inputs, by_hand), exporter=_EXPORTED.get((name, dynamo), (0, "")))


MODELS: dict[str, Maker] = {
    f"{name}, torch {'dynamo' if dynamo else 'script'}": partial(_make, name, dynamo)
    for name in _CASES
    for dynamo in (True, False)
}
"""Name to what writes the graph."""
