"""mixtral's models against the formulas in NumPy, one token at a time, and against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.exporting import find_exporter
from fathom_onnx.workloads import workload
from support.decoders import InDouble, attended, rms_norm, set_in_double, transformers_name, values_of
from support.graphs.exports import FRAMEWORKS


def chosen_slots(p: np.ndarray, slots: int) -> list[list[tuple[int, bool]]]:
    """The experts of each token, and whether it has a slot there: algorithm 1 of GShard, token by token."""
    best = [list(np.argsort(-row)[:2]) for row in p]
    filled = [0] * p.shape[1]
    kept: list[list[tuple[int, bool]]] = [[] for _ in best]
    for choice in (0, 1):
        for token, experts in enumerate(best):
            expert = int(experts[choice])
            kept[token].append((expert, filled[expert] < slots))
            filled[expert] += 1
    return kept


def mixture(x, v, block, c):
    """The experts' results of rows [N, D], the balance, and how many choices were dropped."""
    router = np.exp(x @ v[f"{block}.router.weight"].T)
    p = router / router.sum(1, keepdims=True)
    made, dropped, counts = np.zeros_like(x), 0, np.zeros(c.experts)
    for n, choices in enumerate(chosen_slots(p, c.slots)):
        for expert, has_slot in choices:
            counts[expert] += 1
            dropped += not has_slot
            gate, up = (v[f"{block}.{part}.weight"][expert] @ x[n] for part in ("gate", "up"))
            result = v[f"{block}.down.weight"][expert] @ (gate / (1 + np.exp(-gate)) * up)
            made[n] += has_slot * result * p[n, expert] / sum(p[n, e] for e, _ in choices)
    return made, c.experts * (counts / counts.sum()) @ p.mean(0), dropped


def in_numpy(v, c):
    """Logits of the whole model, the mean balance of its blocks, and how many choices were dropped."""
    x = v["embedding.weight"][v["tokens"]]
    balances, dropped = [], 0
    for number in range(1, c.layers + 1):
        b = f"block{number}"
        normed = rms_norm(x, v[f"{b}.attention_norm.weight"], c.epsilon)
        x = x + np.array([attended(one, v, b, c) for one in normed])
        normed = rms_norm(x, v[f"{b}.feed_norm.weight"], c.epsilon)
        made, balance, more = mixture(normed.reshape(-1, c.width), v, b, c)
        x, dropped = x + made.reshape(x.shape), dropped + more
        balances.append(balance)
    return rms_norm(x, v["norm.weight"], c.epsilon) @ v["head.weight"].T, np.mean(balances), dropped


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("capacity", "drops"), [("0.6", True), ("2", False)])
def test_logits_and_loss_are_those_of_the_formulas(framework, capacity, drops) -> None:
    made = workload("mixtral", "tiny", {"capacity": capacity})
    v = values_of(made, "training")
    expected, balance, dropped = in_numpy(v, made.config)
    assert bool(dropped) == drops
    exporter = find_exporter(framework)
    actual = exporter.reference(made, "inference", "float64").step(v).outputs["logits"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)
    flat, labels = expected.reshape(-1, made.config.vocabulary), v["labels"].reshape(-1)
    loss = np.mean(np.log(np.exp(flat).sum(1)) - flat[np.arange(len(flat)), labels]) + 0.02 * balance
    state = {s.name: np.zeros(s.shape) for s in made.optimizer.variables(made.parameters)}
    actual = exporter.reference(made, "training", "float64").step(v | state).outputs["loss"]
    assert float(actual) == pytest.approx(loss, abs=1e-10)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_multiply_accumulates_of_inference(tiny, framework) -> None:
    c = workload("mixtral", "tiny").config
    size, tokens = c.width // c.heads, c.batch * c.length
    of_token = 2 * c.width**2 + 2 * c.width * c.kv_heads * size + 2 * c.heads * c.length * size + c.width * c.experts
    places = c.experts * c.slots
    block = tokens * of_token + 3 * places * c.width * c.hidden
    block += 2 * tokens * 2 * places + 2 * tokens * places * c.width  # the matrices of dispatch and combine; their use
    costs = graph_costs(tiny("mixtral", framework, "inference"))
    assert sum(cost.macs or 0 for cost in costs) == c.layers * block + tokens * c.width * c.vocabulary


def test_transformers_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slot for every choice nothing is dropped, as there."""
    transformers = pytest.importorskip("transformers")
    import torch
    from transformers.models.mixtral import modeling_mixtral

    monkeypatch.setattr(modeling_mixtral, "torch", InDouble())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # of the router's logits
    made = workload("mixtral", "tiny", {"capacity": "2"})
    c, v = made.config, values_of(made)
    config = transformers.MixtralConfig(
        vocab_size=c.vocabulary,
        hidden_size=c.width,
        intermediate_size=c.hidden,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        num_local_experts=c.experts,
        num_experts_per_tok=2,
        rms_norm_eps=c.epsilon,
        max_position_embeddings=c.length,
        sliding_window=None,
        attn_implementation="sdpa",
        experts_implementation="eager",
    )
    theirs = transformers.MixtralForCausalLM(config).double().eval()
    values = {}
    for number in range(1, c.layers + 1):
        at, own = f"model.layers.{number - 1}.mlp", {p: v[f"block{number}.{p}.weight"] for p in ("gate", "up", "down")}
        values[f"{at}.experts.gate_up_proj"] = np.concatenate([own["gate"], own["up"]], 1)
        values[f"{at}.experts.down_proj"] = own["down"]
        values[f"{at}.gate.weight"] = v[f"block{number}.router.weight"]
    for name in (p.name for p in made.parameters):
        if name.split(".")[1] not in ("gate", "up", "down", "router"):
            values[transformers_name(name)] = v[name]
    theirs.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    set_in_double(theirs.model.rotary_emb, c)
    with torch.no_grad():
        expected = theirs(torch.tensor(v["tokens"])).logits.numpy()
    actual = find_exporter("torch").reference(made, "inference", "float64").step(v).outputs["logits"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)
