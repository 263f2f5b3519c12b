"""llama's models against the formulas in NumPy, against transformers' own, and decoding against prefill."""

from __future__ import annotations

import numpy as np
import pytest

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.exporting import find_exporter
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.workloads import workload
from support.decoders import InDouble, attended, rms_norm, set_in_double, transformers_name, values_of
from support.graphs.exports import FRAMEWORKS


def logits_of(v, c):
    """The whole model in NumPy."""
    made = []
    for tokens in v["tokens"]:
        x = v["embedding.weight"][tokens]
        for number in range(1, c.layers + 1):
            b = f"block{number}"
            x = x + attended(rms_norm(x, v[f"{b}.attention_norm.weight"], c.epsilon), v, b, c)
            normed = rms_norm(x, v[f"{b}.feed_norm.weight"], c.epsilon)
            gate, up = normed @ v[f"{b}.gate.weight"].T, normed @ v[f"{b}.up.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ v[f"{b}.down.weight"].T
        made.append(rms_norm(x, v["norm.weight"], c.epsilon) @ v["head.weight"].T)
    return np.array(made)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_logits_and_loss_are_those_of_the_formulas(framework) -> None:
    made = workload("llama", "tiny")
    v = values_of(workload("llama", "tiny"), "training")
    expected = logits_of(v, made.config)
    exporter = find_exporter(framework)
    actual = exporter.reference(made, "inference", "float64").step(v).outputs["logits"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)
    flat, labels = expected.reshape(-1, made.config.vocabulary), v["labels"].reshape(-1)
    loss = np.mean(np.log(np.exp(flat).sum(1)) - flat[np.arange(len(flat)), labels])
    state = {s.name: np.zeros(s.shape) for s in made.optimizer.variables(made.parameters)}
    actual = exporter.reference(made, "training", "float64").step(v | state).outputs["loss"]
    assert float(actual) == pytest.approx(loss, abs=1e-10)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_decoding_token_by_token_is_prefill(framework) -> None:
    """Also that a second sequence begins at place 0, with the first one's keys and values still in the cache."""
    made, c = workload("llama-decode", "tiny"), workload("llama", "tiny").config
    exporter = find_exporter(framework)
    decode, prefill = (exporter.reference(workload(n, "tiny"), "inference", "float64") for n in (made.name, "llama"))
    v = values_of(workload("llama", "tiny"))
    state = {x.name: x.initial_value(0).astype(np.float64 if x.shape else x.dtype) for x in made.caches}
    for offset in (0, 1):
        tokens = (v["tokens"] + offset) % c.vocabulary
        whole = prefill.step(v | {"tokens": tokens}).outputs
        logits = []
        for place in range(c.length):
            assert state["position.index"] == place
            outputs = decode.step(v | state | {"tokens": tokens[:, place : place + 1]}).outputs
            logits.append(outputs["logits"])
            state = {name: outputs[f"{name}.next"] for name in state}
        np.testing.assert_allclose(np.concatenate(logits, 1), whole["logits"], rtol=0, atol=1e-10)
        for name in state.keys() - {"position.index"}:
            np.testing.assert_allclose(state[name], whole[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_decoding_as_a_graph_carries_its_state(tiny, framework) -> None:
    graph, made = tiny("llama-decode", framework, "inference"), workload("llama-decode", "tiny")
    assert graph.metadata.state == made.interface("inference").state
    evaluator = Evaluator(graph)
    values = made.initial_values("inference", 0) | {"tokens": np.array([[1], [2]])}
    for place in (1, 2):
        outputs = evaluator.step(values).outputs
        assert outputs["position.index.next"] == place
        filled = outputs["block1.cache.keys.next"].any((0, 1, 3))
        assert list(filled) == [True] * place + [False] * (8 - place)
        values |= {v.name: outputs[v.next.name] for v in made.caches}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_multiply_accumulates_of_inference(tiny, framework) -> None:
    c = workload("llama", "tiny").config
    size = c.width // c.heads
    weights = c.layers * (2 * c.width**2 + 2 * c.width * c.kv_heads * size + 3 * c.width * c.hidden)
    weights += c.vocabulary * c.width
    for name, tokens in (("llama", c.length), ("llama-decode", 1)):
        attention = c.layers * 2 * c.heads * c.length * size
        costs = graph_costs(tiny(name, framework, "inference"))
        assert sum(cost.macs or 0 for cost in costs) == c.batch * tokens * (weights + attention)


def test_transformers_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    import torch
    from transformers.models.llama import modeling_llama

    monkeypatch.setattr(modeling_llama, "torch", InDouble())
    made = workload("llama", "tiny")
    c, v = made.config, values_of(workload("llama", "tiny"))
    config = transformers.LlamaConfig(
        vocab_size=c.vocabulary,
        hidden_size=c.width,
        intermediate_size=c.hidden,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        rms_norm_eps=c.epsilon,
        max_position_embeddings=c.length,
        attn_implementation="sdpa",
    )
    theirs = transformers.LlamaForCausalLM(config).double().eval()
    theirs.load_state_dict({transformers_name(p.name): torch.tensor(v[p.name]) for p in made.parameters})
    set_in_double(theirs.model.rotary_emb, c)
    with torch.no_grad():
        expected = theirs(torch.tensor(v["tokens"])).logits.numpy()
    actual = find_exporter("torch").reference(made, "inference", "float64").step(v).outputs["logits"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)
