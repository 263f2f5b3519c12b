"""mamba: sizes, work, and both frameworks' graphs against the recurrence, one token after the other in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.data import batches_for_graph
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training.loop import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import AdamW, Gradients
from fathom_onnx.workloads.suite2026.mamba import MambaConfig
from support.graphs.exports import FRAMEWORKS


def test_published_size() -> None:
    spec = workload("mamba")
    inner, state, heads = 1536, 128, 24
    projection = 768 * (2 * inner + 2 * state + heads)
    convolution = (inner + 2 * state) * (4 + 1)
    block = 768 + projection + convolution + 3 * heads + inner + inner * 768
    # state-spaces/mamba2-130m has as many
    assert sum(p.elements for p in spec.parameters) == 50_288 * 768 + 24 * block + 768 == 128_989_632
    assert spec.optimizer == AdamW(6e-4, 0.9, 0.95, 1e-8, weight_decay=0.1)
    assert spec.gradients == Gradients(clip_global_norm=1.0)
    shapes = {p.name: p.shape for p in spec.parameters if p.name.startswith("layers.23.")}
    assert shapes == {
        "layers.23.norm.weight": (768,),
        "layers.23.mixer.dt_bias": (24,),
        "layers.23.mixer.A_log": (24,),
        "layers.23.mixer.D": (24,),
        "layers.23.mixer.in_proj.weight": (3352, 768),
        "layers.23.mixer.conv1d.weight": (1792, 1, 4),
        "layers.23.mixer.conv1d.bias": (1792,),
        "layers.23.mixer.norm.weight": (1536,),
        "layers.23.mixer.out_proj.weight": (768, 1536),
    }


def test_step_sizes_and_decays_start_in_the_published_ranges() -> None:
    start = {v.name: v.initial_value(0) for v in workload("mamba").parameters if v.elements == 24}
    steps = np.concatenate([np.log1p(np.exp(start[f"layers.{n}.mixer.dt_bias"])) for n in range(24)])
    assert 0.00099 < steps.min() < 0.0012
    assert 0.08 < steps.max() < 0.1
    decays = np.concatenate([np.exp(start[f"layers.{n}.mixer.A_log"]) for n in range(24)])
    assert 1 <= decays.min() < 1.1
    assert 14.5 < decays.max() < 16.001


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("head", "5", "16 channels in heads of 5"), ("chunk", "5", "12 tokens in chunks of 5")],
)
def test_impossible_configurations(field: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        workload("mamba", "tiny", {field: value})


def expected_macs(c: MambaConfig) -> int:
    tokens, chunks = c.batch * c.length, c.length // c.chunk
    within = tokens * c.chunk * (c.state + c.inner)  # scores of all heads together, then each head's values
    states = tokens * c.state * c.inner
    between = c.batch * chunks**2 * c.state * c.inner
    projections = tokens * c.width * (c.inner + c.convolved + c.heads) + tokens * c.inner * c.width
    block = projections + tokens * c.convolved * c.kernel + within + states + between + states
    return c.blocks * block + tokens * c.width * c.vocabulary


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_macs_of_inference_are_the_definitions(tiny, framework) -> None:
    costs = graph_costs(tiny("mamba", framework, "inference"))
    assert sum(cost.macs or 0 for cost in costs) == expected_macs(workload("mamba", "tiny").config)


# the recurrence


def recurrence(x: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``state = exp(a) state + b x^T``, ``y = c^T state``, one step after the other."""
    n, length, heads, width = x.shape
    state = np.zeros((n, heads, b.shape[-1], width))
    out = np.zeros_like(x)
    for t in range(length):
        state = np.exp(a[:, t])[:, :, None, None] * state + b[:, t][:, None, :, None] * x[:, t][:, :, None, :]
        out[:, t] = (c[:, t][:, None, :, None] * state).sum(2)
    return out


def chunked(framework: str, chunk: int, *values: np.ndarray) -> np.ndarray:
    if framework == "torch":
        from fathom_exporters.torch.models.suite2026.mamba import StateSpaceDuality

        return StateSpaceDuality(chunk)(*map(torch.tensor, values)).numpy()
    tf = pytest.importorskip("tensorflow")
    from fathom_exporters.tensorflow.models.suite2026.mamba import state_space_duality

    return state_space_duality(*map(tf.constant, values), chunk).numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("length", "chunk"), [(1, 1), (6, 1), (6, 6), (24, 4), (24, 8), (60, 30)])
def test_chunks_compute_the_recurrence(framework, length, chunk) -> None:
    rng = np.random.default_rng(length)
    x, b, c = rng.normal(size=(2, length, 3, 5)), rng.normal(size=(2, length, 4)), rng.normal(size=(2, length, 4))
    for strength in (0.01, 1.0, 60.0):  # a decay of e^-60 a step underflows soon: nothing may be divided by it
        a = -strength * rng.random((2, length, 3))
        np.testing.assert_allclose(chunked(framework, chunk, x, a, b, c), recurrence(x, a, b, c), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sums_of_segments_by_hand(framework) -> None:
    given = np.array([[5.0, 1.0, 2.0, 4.0]])
    if framework == "torch":
        from fathom_exporters.torch.models.suite2026.mamba import segsum

        found = segsum(torch.tensor(given)).numpy()
    else:
        tf = pytest.importorskip("tensorflow")
        from fathom_exporters.tensorflow.models.suite2026.mamba import segsum

        found = segsum(tf.constant(given)).numpy()
    no = -np.inf
    assert found.tolist() == [[[0, no, no, no], [1, 0, no, no], [3, 2, 0, no], [7, 6, 4, 0]]]


# the model


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight


def mixer(c: MambaConfig, v: dict[str, np.ndarray], name: str, u: np.ndarray) -> np.ndarray:
    z, xbc, dt = np.split(u @ v[f"{name}.in_proj.weight"].T, [c.inner, c.inner + c.convolved], 2)
    padded = np.concatenate([np.zeros((c.batch, c.kernel - 1, c.convolved)), xbc], 1)
    taps = v[f"{name}.conv1d.weight"][:, 0]
    xbc = sum(padded[:, k : k + c.length] * taps[:, k] for k in range(c.kernel)) + v[f"{name}.conv1d.bias"]
    x, b, read = np.split(silu(xbc), [c.inner, c.inner + c.state], 2)
    x = x.reshape(c.batch, c.length, c.heads, c.head)
    dt = np.log1p(np.exp(dt + v[f"{name}.dt_bias"]))
    y = recurrence(x * dt[..., None], -np.exp(v[f"{name}.A_log"]) * dt, b, read) + v[f"{name}.D"][:, None] * x
    y = norm(y.reshape(c.batch, c.length, c.inner) * silu(z), v[f"{name}.norm.weight"])
    return y @ v[f"{name}.out_proj.weight"].T


def logits_by_hand(c: MambaConfig, given: dict[str, np.ndarray]) -> np.ndarray:
    v = {name: value.astype(float) for name, value in given.items() if name not in ("tokens", "labels")}
    x = v["embedding.weight"][given["tokens"]]
    for number in range(c.blocks):
        x = x + mixer(c, v, f"layers.{number}.mixer", norm(x, v[f"layers.{number}.norm.weight"]))
    return norm(x, v["norm_f.weight"]) @ v["embedding.weight"].T


def starting_point(mode: str) -> dict[str, np.ndarray]:
    spec = workload("mamba", "tiny")
    rng = np.random.default_rng(3)
    values = spec.initial_values(mode, 3)
    for p in spec.parameters:
        values[p.name] = (values[p.name] + rng.normal(0, 0.2, p.shape)).astype("float32")
    return {**values, **{s.name: s.draw.sample(s.shape, s.dtype, rng) for s in spec.batch_inputs(mode)}}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_logits_are_those_of_the_recurrence(tiny, framework) -> None:
    given = starting_point("inference")
    got = Evaluator(tiny("mamba", framework, "inference")).step(given).outputs["logits"]
    expected = logits_by_hand(workload("mamba", "tiny").config, given)
    assert abs(expected).max() > 0.5
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_loss_is_the_mean_cross_entropy_of_the_next_tokens(tiny, framework) -> None:
    given = starting_point("training")
    got = Evaluator(tiny("mamba", framework, "training")).step(given).outputs["loss"]
    logits = torch.tensor(logits_by_hand(workload("mamba", "tiny").config, given))
    chances = torch.softmax(logits, -1).gather(2, torch.tensor(given["labels"]).unsqueeze(2))
    assert float(got) == pytest.approx(float(-chances.log().mean()), rel=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_position_sees_a_later_one(tiny, framework) -> None:
    evaluator = Evaluator(tiny("mamba", framework, "inference"))
    given = starting_point("inference")
    changed = {**given, "tokens": given["tokens"].copy()}
    changed["tokens"][:, 5] = (changed["tokens"][:, 5] + 1) % 32
    one, other = (evaluator.step(v).outputs["logits"] for v in (given, changed))
    np.testing.assert_array_equal(one[:, :5], other[:, :5])
    # the change is still felt a chunk and more later
    assert (abs(one[:, 5:] - other[:, 5:]).max(-1) > 1e-6).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_on_tokens_lowers_the_loss(tiny, framework) -> None:
    graph = tiny("mamba", framework, "training")
    losses = train(graph, batches_for_graph(graph, 0), 150, SessionSettings(threads=1)).losses
    assert losses[0] == pytest.approx(np.log(32), abs=0.1)
    assert np.mean(losses[-20:]) < 2.3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_convolution_is_depthwise_in_both_passes(tiny, framework) -> None:
    graph = tiny("mamba", framework, "training")
    ops = {(a.phase, a.op) for a in graph.addresses.values() if a.scope == "layers.1.mixer.conv1d"}
    found = {("forward", "Conv2D"), ("backward", "Conv2DBackFilter"), ("backward", "Conv2DBackInput")}
    assert {pair for pair in ops if "Conv" in pair[1]} == found
    groups = {
        attribute.i
        for node in graph.model.graph.node
        if node.op_type in ("Conv", "ConvTranspose")
        for attribute in node.attribute
        if attribute.name == "group"
    }
    assert groups == {workload("mamba", "tiny").config.convolved}


def test_the_model_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    from fathom_exporters.torch.models.suite2026.mamba import Mamba

    spec = workload("mamba", "tiny")
    c = spec.config
    theirs = transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(
            num_heads=c.heads,
            head_dim=c.head,
            vocab_size=c.vocabulary,
            hidden_size=c.width,
            state_size=c.state,
            num_hidden_layers=c.blocks,
            layer_norm_epsilon=c.epsilon,
            expand=c.expand,
            conv_kernel=c.kernel,
            n_groups=1,
            chunk_size=c.chunk,
            tie_word_embeddings=True,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    given = starting_point("inference")
    ours = Mamba(c).eval()
    ours.load_state_dict({p.name: torch.tensor(given[p.name]) for p in spec.parameters})
    names = {"embedding.weight": "embeddings.weight"}
    state = {f"backbone.{names.get(n, n)}": t for n, t in ours.state_dict().items()}
    theirs.load_state_dict({**state, "lm_head.weight": ours.embedding.weight})
    tokens = torch.tensor(given["tokens"])
    with torch.no_grad():
        expected = theirs(tokens, use_cache=False).logits
        found = ours({"tokens": tokens})["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_norm_over_all_gradients_is_summed_by_rows(tiny, framework) -> None:
    """onnxruntime's sum over all elements of the embedding's gradient, in turn in float32, would be 0.6 % off."""
    graph = tiny("mamba", framework, "training")
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in graph.model.graph.value_info}
    made_by = {output: node.op_type for node in graph.model.graph.node for output in node.output}
    sums = [  # of squares
        (ranks[node.input[0]], ranks[node.output[0]])
        for node in graph.model.graph.node
        if node.op_type == "ReduceSum" and node.name.startswith("optimizer/step/ClipGradient/")
        if made_by[node.input[0]] in ("Mul", "Pow")
    ]
    assert sorted(before for before, _ in sums) == sorted(len(p.shape) for p in workload("mamba", "tiny").parameters)
    assert all(after == before - 1 for before, after in sums)
