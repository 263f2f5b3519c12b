"""vit: sizes, work, and the model beside PyTorch's own encoder layers and transformers' vision transformer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch import models
from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Address
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import AdamW, Gradients
from support.graphs.exports import FRAMEWORKS


def test_published_sizes() -> None:
    spec = workload("vit")
    block = 4 * (768 * 768 + 768) + 768 * 3072 + 3072 + 3072 * 768 + 768 + 4 * 768
    patches, tokens = 768 * 3 * 16 * 16 + 768, 768 + 197 * 768
    count = patches + tokens + 12 * block + 2 * 768 + 768 * 1000 + 1000
    assert sum(p.elements for p in spec.parameters) == count == 86_567_656  # torchvision's vit_b_16
    assert spec.optimizer == AdamW(3e-3, 0.9, 0.999, 1e-8, 0.3)
    assert spec.gradients == Gradients(clip_global_norm=1.0)
    kinds = [layer.kind for layer in spec.layers]
    assert (kinds.count("attention"), kinds.count("gelu"), kinds.count("layer norm")) == (12, 12, 25)
    assert kinds.count("dropout") == len(spec.noise["training"]) == 1 + 12 * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "20"}, "image side 20 is not a multiple of the patch side 8"),
        ({"heads": "5"}, "width 32 is not a multiple of 5 heads"),
        ({"dropout": "1"}, "dropout 1.0 keeps nothing"),
    ],
)
def test_impossible_configurations(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        workload("vit", "tiny", changes)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_macs(tiny, framework) -> None:
    c = workload("vit", "tiny").config
    tokens, width = 5, 32
    of_block = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * c.mlp
    image = 4 * 3 * 8 * 8 * width + 2 * of_block + width * 10
    costs = graph_costs(tiny("vit", framework, "inference"))
    assert sum(cost.macs or 0 for cost in costs) == c.batch * image


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_normalisations_activations_and_attention_have_one_name(tiny, framework) -> None:
    addresses = list(tiny("vit", framework, "training").addresses.values())
    spec = workload("vit", "tiny")
    for kind, forward, backward in (
        ("layer norm", "LayerNorm", "LayerNormGrad"),
        ("gelu", "Gelu", "GeluGrad"),
        ("attention", "Softmax", "SoftmaxGrad"),
    ):
        layers = {layer.name for layer in spec.layers if layer.kind == kind}
        assert {(a.phase, a.scope) for a in addresses if a.op == forward} == {("forward", name) for name in layers}
        assert {(a.phase, a.scope) for a in addresses if a.op == backward} == {("backward", name) for name in layers}


def test_the_frameworks_differ_in_the_loss_alone(tiny) -> None:
    """In its layers each op that is more than movement is in both."""
    seen = []
    for framework in FRAMEWORKS:
        addresses = tiny("vit", framework, "training").addresses.values()
        seen.append({a for a in addresses if a.phase in ("forward", "backward") and a.scope != "loss"})
    first, second = ({Address(a.phase, a.scope, a.op, "") for a in s if a.op != "Reshape"} for s in seen)
    assert first == second


def model(seed: int = 0) -> tuple[nn.Module, dict[str, Tensor]]:
    """The tiny model in float64 with drawn parameters, in evaluation, and a batch."""
    spec = workload("vit", "tiny")
    made = models.make(spec).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in made.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            p.copy_(centre + 0.3 * torch.randn(p.shape, generator=random, dtype=p.dtype))
    images = torch.randn(4, 3, 16, 16, generator=random, dtype=torch.float64)
    return made, {"images": images, "labels": torch.eye(10, dtype=torch.float64)[torch.tensor([1, 3, 3, 0])]}


def own_layers(p: dict[str, Tensor], count: int) -> nn.Sequential:
    """PyTorch's encoder layers with the parameters of a model."""
    layers = []
    for number in range(count):
        at = f"encoder.{number}"
        layer = nn.TransformerEncoderLayer(
            32, 2, 64, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True, dtype=torch.float64
        )
        names = ("query", "key", "value")
        state = {f"self_attn.in_proj_{kind}": torch.cat([p[f"{at}.{n}.{kind}"] for n in names]) for kind in KINDS}
        renamed = {"self_attn.out_proj": "output", "linear1": "mlp1", "linear2": "mlp2", "norm1": "norm1"}
        for theirs, ours in {**renamed, "norm2": "norm2"}.items():
            state |= {f"{theirs}.{kind}": p[f"{at}.{ours}.{kind}"] for kind in KINDS}
        layer.load_state_dict(state)
        layers.append(layer)
    return nn.Sequential(*layers)


KINDS = ("weight", "bias")


def test_the_encoder_is_pytorch_s_own() -> None:
    """Logits, and the gradient of the images, beside nn.TransformerEncoderLayer in float64."""
    ours, batch = model()
    p = dict(ours.named_parameters())
    encoder = own_layers(p, 2).train()  # in evaluation PyTorch has a fused kernel
    images = batch["images"].clone().requires_grad_(True)
    # patches by hand: each 8x8 square of all channels, row by row, is a row of a matrix
    squares = images.reshape(4, 3, 2, 8, 2, 8).permute(0, 2, 4, 1, 3, 5).reshape(4, 4, -1)
    tokens = squares @ p["patches.weight"].reshape(32, -1).T + p["patches.bias"]
    x = torch.cat([p["class_token.weight"].expand(4, -1, -1), tokens], 1) + p["positions.weight"]
    x = F.layer_norm(encoder(x)[:, 0], (32,), p["norm.weight"], p["norm.bias"], 1e-6)
    expected = x @ p["head.weight"].T + p["head.bias"]
    own = batch["images"].clone().requires_grad_(True)
    found = ours({"images": own})["logits"]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [
        torch.autograd.grad(F.cross_entropy(y, batch["labels"]), i)[0] for y, i in ((found, own), (expected, images))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


_TRANSFORMERS = {
    "attention.attention.query": "query",
    "attention.attention.key": "key",
    "attention.attention.value": "value",
    "attention.output.dense": "output",
    "intermediate.dense": "mlp1",
    "output.dense": "mlp2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
}


def test_the_logits_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=8,
        num_labels=10,
        layer_norm_eps=1e-6,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    theirs = transformers.ViTForImageClassification(config).double().eval()
    ours, batch = model()
    p = dict(ours.named_parameters())
    state = {
        "vit.embeddings.cls_token": p["class_token.weight"],
        "vit.embeddings.position_embeddings": p["positions.weight"],
    }
    pairs = {"vit.embeddings.patch_embeddings.projection": "patches", "vit.layernorm": "norm", "classifier": "head"}
    for number in range(2):
        pairs |= {f"vit.encoder.layer.{number}.{t}": f"encoder.{number}.{o}" for t, o in _TRANSFORMERS.items()}
    state |= {f"{t}.{kind}": p[f"{o}.{kind}"] for t, o in pairs.items() for kind in KINDS}
    if set(theirs.state_dict()) != set(state):
        pytest.skip("this version of transformers names the parts otherwise")
    theirs.load_state_dict(state)
    with torch.no_grad():
        expected, found = theirs(batch["images"]).logits, ours(batch)["logits"]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_graph_computes_the_model(tiny, framework) -> None:
    ours, batch = model()
    values = {name: p.detach().numpy().astype(np.float32) for name, p in ours.named_parameters()}
    values["images"] = batch["images"].numpy().astype(np.float32)
    found = Evaluator(tiny("vit", framework, "inference")).step(values).outputs["logits"]
    with torch.no_grad():
        expected = ours(batch)["logits"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
