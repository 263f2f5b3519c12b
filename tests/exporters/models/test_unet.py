"""unet: sizes, work, and both frameworks' graphs against the network and its diffusion process in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.data import batches_for_graph
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training.loop import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Adam, Gradients
from fathom_onnx.workloads.suite2026.unet import levels, schedule
from support.graphs.exports import FRAMEWORKS

Values = dict[str, np.ndarray]


def test_published_sizes() -> None:
    spec = workload("unet")

    def conv(i: int, o: int, kernel: int = 3) -> int:
        return i * o * kernel**2 + o

    def block(i: int, o: int) -> int:
        shortcut = conv(i, o, 1) if i != o else 0
        return 2 * i + conv(i, o) + 512 * o + o + 2 * o + conv(o, o) + shortcut

    attention = 2 * 256 + 4 * conv(256, 256, 1)
    time = 128 * 512 + 512 + 512 * 512 + 512
    down = block(128, 128) * 2 + conv(128, 128)
    down += block(128, 256) + block(256, 256) + 2 * attention + conv(256, 256)
    down += block(256, 256) * 2 + conv(256, 256) + block(256, 256) * 2
    middle = 2 * block(256, 256) + attention
    up = 3 * block(512, 256) + conv(256, 256)  # 4x4
    up += 3 * block(512, 256) + conv(256, 256)  # 8x8
    up += 2 * block(512, 256) + block(384, 256) + 3 * attention + conv(256, 256)  # 16x16
    up += block(384, 128) + 2 * block(256, 128)  # 32x32
    count = time + conv(3, 128) + down + middle + up + 2 * 128 + conv(128, 3)
    # "our CIFAR10 model has 35.7 million parameters" (Ho et al. 2020, appendix B)
    assert sum(p.elements for p in spec.parameters) == count == 35_746_307
    assert spec.optimizer == Adam(2e-4, 0.9, 0.999, 1e-8)
    assert spec.gradients == Gradients(clip_global_norm=1.0)
    kinds = [layer.kind for layer in spec.layers]
    # two blocks of four resolutions, two in the middle, three of four resolutions; attention at 16x16 and in the middle
    assert kinds.count("dropout") == len(spec.noise["training"]) - 1 == 8 + 2 + 12
    assert kinds.count("attention") == 2 + 1 + 3


def test_the_schedule_is_the_published_one() -> None:
    betas, kept = schedule(workload("unet").config)
    assert (len(betas), betas[0], betas[-1]) == (1000, 1e-4, 0.02)
    np.testing.assert_allclose(np.diff(betas), (0.02 - 1e-4) / 999, rtol=1e-9)
    assert kept[1] == pytest.approx((1 - betas[0]) * (1 - betas[1]))
    # nothing is left of the image in the end: the prior's divergence is about 1e-5 bits a dimension (section 3.1)
    variance, mean_square = 1 - kept[-1], kept[-1]
    assert (variance + mean_square - 1 - np.log(variance)) / (2 * np.log(2)) < 5e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "9"}, "image side 9 cannot be halved 1 times"),
        ({"groups": "3"}, "width 8 is not a multiple of 3 groups"),
        ({"dropout": "1"}, "dropout 1.0 keeps nothing"),
    ],
)
def test_impossible_configurations(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        workload("unet", "tiny", changes)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_macs(tiny, framework) -> None:
    c = workload("unet", "tiny").config
    time = 8 * 32 + 32 * 32

    def conv(side: int, i: int, o: int, kernel: int = 3) -> int:
        return side**2 * i * o * kernel**2

    def block(side: int, i: int, o: int) -> int:
        return conv(side, i, o) + 32 * o + conv(side, o, o) + (conv(side, i, o, 1) if i != o else 0)

    attention = 4 * conv(4, 16, 16, 1) + 2 * 16**2 * 16  # 16 pixels of 16 channels
    down = conv(8, 3, 8) + block(8, 8, 8) + conv(4, 8, 8) + block(4, 8, 16) + attention
    middle = 2 * block(4, 16, 16) + attention
    up = block(4, 16 + 16, 16) + block(4, 16 + 8, 16) + 2 * attention + conv(8, 16, 16)
    up += block(8, 16 + 8, 8) + block(8, 8 + 8, 8) + conv(8, 8, 3)
    costs = graph_costs(tiny("unet", framework, "inference"))
    assert sum(cost.macs or 0 for cost in costs) == c.batch * (time + down + middle + up)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_normalisations_activations_and_attention_have_one_name(tiny, framework) -> None:
    addresses = list(tiny("unet", framework, "training").addresses.values())
    spec = workload("unet", "tiny")
    for kind, forward, backward in (
        ("group norm", "GroupNorm", "GroupNormGrad"),
        ("silu", "Silu", "SiluGrad"),
        ("attention", "Softmax", "SoftmaxGrad"),
        ("nearest neighbours", "Resize", "Resize"),
    ):
        layers = {layer.name for layer in spec.layers if layer.kind == kind}
        assert {a.scope for a in addresses if (a.phase, a.op) == ("forward", forward)} == layers
        assert {a.scope for a in addresses if (a.phase, a.op) == ("backward", backward)} == layers


def test_the_frameworks_differ_in_the_loss_alone(tiny) -> None:
    """In its layers each op that is more than movement is in both."""
    seen = []
    for framework in FRAMEWORKS:
        addresses = tiny("unet", framework, "training").addresses.values()
        of_layers = (a for a in addresses if a.phase in ("forward", "backward") and a.scope != "loss")
        seen.append({(a.phase, a.scope, a.op) for a in of_layers if a.op not in ("Reshape", "Transpose")})
    assert seen[0] == seen[1]


# the network in numpy


def conv(v: Values, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
    """Stride 1 with zeros on all sides; stride 2 with a row and a column of zeros at the end."""
    weight = v[f"{name}.weight"]
    kernel = weight.shape[2]
    before = kernel // 2 if stride == 1 else 0
    x = np.pad(x, ((0, 0), (0, 0), (before, kernel // 2), (before, kernel // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, weight) + v[f"{name}.bias"][:, None, None]


def linear(v: Values, name: str, x: np.ndarray) -> np.ndarray:
    return x @ v[f"{name}.weight"].T + v[f"{name}.bias"]


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def norm(v: Values, name: str, x: np.ndarray) -> np.ndarray:
    """Four groups of channels, one after the other."""
    parts = []
    for part in np.split(x, 4, 1):
        mean = part.mean((1, 2, 3), keepdims=True)
        parts.append((part - mean) / np.sqrt(((part - mean) ** 2).mean((1, 2, 3), keepdims=True) + 1e-6))
    return np.concatenate(parts, 1) * v[f"{name}.weight"][:, None, None] + v[f"{name}.bias"][:, None, None]


def block(v: Values, name: str, x: np.ndarray, time: np.ndarray) -> np.ndarray:
    y = conv(v, f"{name}.conv1", silu(norm(v, f"{name}.norm1", x)))
    y = silu(norm(v, f"{name}.norm2", y + linear(v, f"{name}.time", silu(time))[:, :, None, None]))
    if f"{name}.dropout.noise" in v:
        y = np.where(v[f"{name}.dropout.noise"] < 0.1, 0, y / 0.9)
    y = conv(v, f"{name}.conv2", y)
    return y + (conv(v, f"{name}.shortcut", x) if f"{name}.shortcut.weight" in v else x)


def attention(v: Values, name: str, x: np.ndarray) -> np.ndarray:
    y = norm(v, f"{name}.norm", x)
    q, k, value = (conv(v, f"{name}.{part}", y) for part in ("query", "key", "value"))
    scores = np.exp(np.einsum("nchw,ncij->nhwij", q, k) / np.sqrt(16))
    read = np.einsum("nhwij,ncij->nchw", scores / scores.sum((3, 4), keepdims=True), value)
    return x + conv(v, f"{name}.output", read)


def noise_in(v: Values, x: np.ndarray, timesteps: np.ndarray) -> np.ndarray:
    """The tiny network: two resolutions with one block each on the way down and two on the way up."""
    angles = np.array([[t / 10_000 ** (i / 3) for i in range(4)] for t in timesteps])
    time = linear(v, "time.linear1", np.concatenate([np.sin(angles), np.cos(angles)], 1))
    time = linear(v, "time.linear2", silu(time))
    a = conv(v, "conv_in", x)
    b = block(v, "down0.0", a, time)
    c = conv(v, "down0.resample", b, 2)
    d = attention(v, "down1.0.attention", block(v, "down1.0", c, time))
    y = block(v, "middle.1", attention(v, "middle.0.attention", block(v, "middle.0", d, time)), time)
    y = attention(v, "up1.0.attention", block(v, "up1.0", np.concatenate([y, d], 1), time))
    y = attention(v, "up1.1.attention", block(v, "up1.1", np.concatenate([y, c], 1), time))
    y = conv(v, "up1.resample", y.repeat(2, 2).repeat(2, 3))
    y = block(v, "up0.0", np.concatenate([y, b], 1), time)
    y = block(v, "up0.1", np.concatenate([y, a], 1), time)
    return conv(v, "conv_out", silu(norm(v, "norm_out", y)))


def drawn(mode: str) -> Values:
    """Values of all inputs, noise among them; one image is at the first step and one at a late one."""
    spec = workload("unet", "tiny")
    rng = np.random.default_rng(3)
    values = spec.initial_values(mode, 3)
    for p in spec.parameters:
        values[p.name] = (values[p.name] + rng.normal(0, 0.2, p.shape)).astype("float32")
    for s in (*spec.batch_inputs(mode), *(n.spec for n in spec.noise[mode])):
        values[s.name] = s.draw.sample(s.shape, s.dtype, rng)
    return {**values, "timesteps": np.array([0, 37])}


def in_double(values: Values) -> Values:
    return {name: value.astype(float) for name, value in values.items() if name != "timesteps"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_step_of_denoising(tiny, framework) -> None:
    given = drawn("inference")
    got = Evaluator(tiny("unet", framework, "inference", "input")).step(given).outputs["denoised"]
    v, betas = in_double(given), np.linspace(1e-4, 0.02, 50)
    predicted = noise_in(v, v["images"], given["timesteps"])
    for image, t in enumerate(given["timesteps"]):
        kept = np.prod(1 - betas[: t + 1])
        expected = v["images"][image] - betas[t] / np.sqrt(1 - kept) * predicted[image]
        expected = expected / np.sqrt(1 - betas[t]) + (np.sqrt(betas[t]) * v["noise"][image] if t else 0)
        np.testing.assert_allclose(got[image], expected, rtol=1e-4, atol=1e-4)
    assert abs(predicted).max() > 0.5


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_loss_is_the_mean_square_of_what_the_prediction_lacks(tiny, framework) -> None:
    given = drawn("training")
    got = Evaluator(tiny("unet", framework, "training", "input")).step(given).outputs["loss"]
    v, betas = in_double(given), np.linspace(1e-4, 0.02, 50)
    kept = np.array([np.prod(1 - betas[: t + 1]) for t in given["timesteps"]]).reshape(-1, 1, 1, 1)
    noisy = np.sqrt(kept) * v["images"] + np.sqrt(1 - kept) * v["noise"]
    expected = ((noise_in(v, noisy, given["timesteps"]) - v["noise"]) ** 2).mean()
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_denoising_by_the_true_noise_gives_back_the_image() -> None:
    """At the first step x_0 is what x_1 and its noise say it is."""
    import torch

    from fathom_exporters.torch.models.suite2026.unet import Blend, Denoise

    c = workload("unet", "tiny").config
    image, noise, none = (torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(3))
    first = torch.tensor([0, 0])
    noisy, _ = Blend(c)(image, first, noise)
    torch.testing.assert_close(Denoise(c)(noisy, noise, first, none), image, rtol=1e-12, atol=1e-12)


def test_steps_down_pad_as_the_authors_do() -> None:
    """Their strided convolutions have TensorFlow's padding "SAME", in its own layout."""
    tf = pytest.importorskip("tensorflow")
    import torch

    from fathom_exporters.torch.models.suite2026.unet import Down

    down = Down(5).double()
    x = torch.randn(2, 5, 6, 8, dtype=torch.float64)
    filters = down.weight.detach().permute(2, 3, 1, 0).numpy()
    theirs = tf.nn.conv2d(x.permute(0, 2, 3, 1).numpy(), filters, 2, "SAME").numpy() + down.bias.detach().numpy()
    np.testing.assert_allclose(down(x).detach().numpy(), theirs.transpose(0, 3, 1, 2), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_attention_is_pytorch_s_own(data_format) -> None:
    """One head over pixels, in both frameworks and layouts, beside scaled_dot_product_attention."""
    tf = pytest.importorskip("tensorflow")
    import torch
    import torch.nn.functional as F

    from fathom_exporters.tensorflow.models.suite2026.unet import read
    from fathom_exporters.tensorflow.net import Net
    from fathom_exporters.torch.models.suite2026.unet import Read

    images = [torch.randn(2, 6, 3, 4, dtype=torch.float64) for _ in range(3)]
    tokens = (x.flatten(2).transpose(1, 2) for x in images)
    expected = F.scaled_dot_product_attention(*tokens).transpose(1, 2).reshape(2, 6, 3, 4)
    torch.testing.assert_close(Read()(*images), expected, rtol=1e-12, atol=1e-12)
    net = Net({}, "inference", data_format)
    found = net.nchw(read(net, "read", *(net.image(tf.constant(x.numpy())) for x in images)))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12, atol=1e-12)


def test_blocks_of_the_published_model() -> None:
    made = {level.name: level for level in levels(workload("unet").config)}
    assert list(made) == ["down0", "down1", "down2", "down3", "middle", "up3", "up2", "up1", "up0"]
    channels = {name: [(b.channels_in, b.channels) for b in level.blocks] for name, level in made.items()}
    assert channels["down1"] == [(128, 256), (256, 256)]
    assert channels["up1"] == [(512, 256), (512, 256), (384, 256)]
    assert channels["up0"] == [(384, 128), (256, 128), (256, 128)]
    attending = [b.name for level in made.values() for b in level.blocks if b.attention]
    assert attending == ["down1.0", "down1.1", "middle.0", "up1.0", "up1.1", "up1.2"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_lowers_the_loss(tiny, framework) -> None:
    graph = tiny("unet", framework, "training")
    losses = train(graph, batches_for_graph(graph, 0), 200, SessionSettings(threads=1)).losses
    assert np.mean(losses[:5]) > 1.1  # noise has the mean square 1, and what is predicted at first another
    assert np.mean(losses[-40:]) < 0.8
