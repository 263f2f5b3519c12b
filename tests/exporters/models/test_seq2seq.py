"""seq2seq against independent computations: torch.nn, tf.nn, numpy; greedy choices that flip."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import tensorflow as tf
import torch

import fathom_exporters.jax.models.suite2016.seq2seq as jax_model
import fathom_exporters.tensorflow.models.suite2016.seq2seq as tf_model
import fathom_exporters.torch.models.suite2016.seq2seq as torch_model
import fathom_onnx.verification.subject as subject
from fathom_onnx.data import batches_for
from fathom_onnx.data.text.translations import log_uniform
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.verification import verify
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Workload
from fathom_onnx.workloads.suite2016.seq2seq import GO
from support.graphs.exports import FRAMEWORKS

TINY = workload("seq2seq", "tiny")


def sampled_by(framework: str, x, weight, bias, labels, sampled) -> np.ndarray:
    arrays = (x, weight, bias, labels, sampled)
    if framework == "torch":
        return torch_model.sampled_logits(*(torch.from_numpy(a) for a in arrays), len(sampled)).numpy()
    if framework == "jax":
        with jax.enable_x64(True):
            return np.asarray(jax_model.sampled_logits(*map(jnp.asarray, arrays), len(sampled)))
    return tf_model.sampled_logits(*(tf.constant(a) for a in arrays), len(sampled)).numpy()


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "jax"])
def test_sampled_softmax_is_tensorflows(framework) -> None:
    rng = np.random.default_rng(0)
    rows, hidden, vocabulary, samples = 7, 5, 4000, 64
    x, weight = rng.normal(size=(rows, hidden)), rng.normal(size=(vocabulary, hidden))
    bias = rng.normal(size=vocabulary)
    # TensorFlow's kernel leaves out one copy of an accidental hit, so that only distinct classes compare
    sampled = np.unique(log_uniform(4 * samples, vocabulary, rng))[:samples]
    assert len(sampled) == samples
    labels = np.array([0, 5, 3999, 17, sampled[3], sampled[0], 2])  # two accidental hits at the least

    def expected(ids: np.ndarray) -> np.ndarray:
        return samples * np.log((ids + 2) / (ids + 1)) / math.log(vocabulary + 1)

    losses = tf.nn.sampled_softmax_loss(
        weight,
        bias,
        labels[:, None],
        x,
        samples,
        vocabulary,
        sampled_values=(sampled, expected(labels)[:, None], expected(sampled)),
    ).numpy()
    logits = sampled_by(framework, x, weight, bias, labels, sampled)
    actual = np.log(np.exp(logits - logits[:, :1]).sum(1))
    np.testing.assert_allclose(actual, losses, rtol=1e-12)
    single = sampled_by(framework, *(a.astype(np.float32) for a in (x, weight, bias)), labels, sampled)
    kept = logits > -1e8
    np.testing.assert_allclose(single[kept], logits[kept], rtol=3e-6, atol=3e-6)
    assert (kept.sum(1) < samples + 1).sum() >= 2


def test_expected_counts_are_those_of_tensorflows_sampler() -> None:
    vocabulary, samples = 1000, 50
    drawn = tf.random.log_uniform_candidate_sampler(
        np.array([[0], [7], [999]], np.int64), 1, samples, unique=False, range_max=vocabulary, seed=1
    )
    for ids, counts in ((np.array([0, 7, 999]), drawn[1]), (drawn[0].numpy(), drawn[2])):
        one, zero = np.zeros((len(ids), 1)), np.zeros((vocabulary, 1))
        logits = sampled_by("torch", one, zero, np.zeros(vocabulary), ids, np.zeros(samples, np.int64))
        np.testing.assert_allclose(np.exp(-logits[:, 0]), counts.numpy().ravel(), rtol=1e-4)


def gates_of_torch(array: np.ndarray) -> np.ndarray:
    """Gates in PyTorch's order (input, forget, candidate, output) from input, forget, output, candidate."""
    i, f, o, g = np.split(array, 4)
    return np.concatenate([i, f, g, o])


def lstm_weights(values, name: str, config) -> dict[str, torch.Tensor]:
    """The variables of a layer as torch.nn.LSTMCell has them."""
    if name.startswith("encoder"):
        w_x, w_h = values[f"{name}.input_weight"], values[f"{name}.hidden_weight"]
        bias = values[f"{name}.bias"]
    elif name == "decoder.lstm1":  # it reads the word, then the context
        w_c, w_h = np.split(values[f"{name}.weight"], 2, 1)
        w_x = np.concatenate([values["decoder.input.weight"], w_c], 1)
        bias = values["decoder.input.bias"]
    else:
        w_x, w_h = np.split(values[f"{name}.weight"], 2, 1)
        bias = values[f"{name}.bias"]
    forget = np.repeat([0, config.forget_bias, 0, 0], config.hidden)
    arrays = {"weight_ih": w_x, "weight_hh": w_h, "bias_ih": bias, "bias_hh": forget}
    return {key: torch.tensor(gates_of_torch(array)) for key, array in arrays.items()}


class Independent:
    """The workload by torch.nn.LSTMCell and loops over sentences, in float64; parameters as leaves of autograd."""

    def __init__(self, values, config) -> None:
        self.config = config
        self.values = values
        self.cells = {}
        for side in ("encoder", "decoder"):
            for index in range(config.layers):
                name = f"{side}.lstm{index + 1}"
                weights = lstm_weights(values, name, config)
                cell = torch.nn.LSTMCell(weights["weight_ih"].shape[1], config.hidden, dtype=torch.float64)
                cell.load_state_dict(weights)
                self.cells[name] = cell
        self.p = {
            name: torch.tensor(value, requires_grad=True)
            for name, value in values.items()
            if "lstm" not in name and "input" not in name
        }

    def stack(self, side: str, x, states):
        new = []
        for index in range(self.config.layers):
            new.append(self.cells[f"{side}.lstm{index + 1}"](x, states[index]))
            x = new[-1][0]
        return x, new

    def encode(self, words):
        states = [(torch.zeros(self.config.hidden, dtype=torch.float64),) * 2] * self.config.layers
        memory = []
        for word in reversed(words):
            top, states = self.stack("encoder", self.p["encoder.embedding.weight"][word], states)
            memory.append(top)
        return torch.stack(memory), states

    def decode(self, word, memory, states):
        """Logits of all words after one more word, and the new states."""
        p = self.p
        energies = [
            p["attention.score.weight"][0]
            @ torch.tanh(p["attention.query.weight"] @ states[-1][0] + p["attention.keys.weight"] @ one)
            for one in memory
        ]
        context = torch.softmax(torch.stack(energies), 0) @ memory
        top, states = self.stack("decoder", torch.cat([p["decoder.embedding.weight"][word], context]), states)
        output = p["decoder.output.weight"] @ torch.cat([top, context]) + p["decoder.output.bias"]
        return p["projection.weight"] @ output + p["projection.bias"], states

    def greedy(self, words) -> tuple[list[int], list[float]]:
        memory, states = self.encode(words)
        word, ids, scores = GO, [], []
        for _ in range(self.config.target_length):
            logits, states = self.decode(word, memory, states)
            word = int(logits.argmax())
            ids.append(word)
            scores.append(float(logits[word]))
        return ids, scores

    def loss(self, batch):
        c = self.config
        total = 0.0
        sampled = batch["sampled_ids"]

        def shift(k: int) -> float:
            return math.log(c.samples * math.log((k + 2) / (k + 1)) / math.log(c.vocabulary + 1))

        for words, targets, weights in zip(
            batch["source_ids"], batch["target_ids"], batch["target_weights"], strict=True
        ):
            memory, states = self.encode(words)
            word, entropy = GO, 0.0
            for target, weight in zip(targets, weights, strict=True):
                logits, states = self.decode(word, memory, states)
                true = logits[target] - shift(int(target))
                rest = [logits[k] - shift(int(k)) for k in sampled if k != target]
                entropy = entropy + float(weight) * (torch.logsumexp(torch.stack([true, *rest]), 0) - true)
                word = target
            total = total + entropy / float(weights.sum())
        return total / c.batch


def wide_values(seed: int = 6) -> dict[str, np.ndarray]:
    """Values far enough from zero for every gradient to matter and for the words chosen to differ."""
    rng = np.random.default_rng(seed)
    values = {p.name: rng.uniform(-1, 1, p.shape).astype(np.float32) for p in TINY.parameters}
    values["decoder.embedding.weight"] *= 3
    return values


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_greedy_decoding_by_hand(tiny, framework) -> None:
    values = wide_values()
    batch = next(batches_for(TINY, "inference", 1))
    actual = Evaluator(tiny("seq2seq", framework, "inference")).step({**values, **batch}).outputs
    model = Independent({n: v.astype(np.float64) for n, v in values.items()}, TINY.config)
    for row, words in enumerate(batch["source_ids"]):
        with torch.no_grad():
            ids, scores = model.greedy(words)
        assert actual["ids"][row].tolist() == ids
        np.testing.assert_allclose(actual["scores"][row], scores, rtol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_step_by_hand(tiny, framework) -> None:
    """Loss, and every update by itself: a new parameter hides its gradient, which is small beside it."""
    config = TINY.config
    values = wide_values()
    batch = next(batches_for(TINY, "training", 1))
    actual = Evaluator(tiny("seq2seq", framework, "training")).step({**values, **batch}).outputs
    model = Independent({n: v.astype(np.float64) for n, v in values.items()}, config)
    loss = model.loss(batch)
    assert actual["loss"] == pytest.approx(loss.item(), rel=1e-6)
    loss.backward()
    gradients = {name: p.grad.numpy() for name, p in model.p.items()}
    for name, cell in model.cells.items():
        w_x, w_h, b = (gates_back(g.grad.numpy()) for g in (cell.weight_ih, cell.weight_hh, cell.bias_ih))
        if name.startswith("encoder"):
            gradients |= {f"{name}.input_weight": w_x, f"{name}.hidden_weight": w_h, f"{name}.bias": b}
        elif name == "decoder.lstm1":
            gradients |= {"decoder.input.weight": w_x[:, : config.embedding], "decoder.input.bias": b}
            gradients[f"{name}.weight"] = np.concatenate([w_x[:, config.embedding :], w_h], 1)
        else:
            gradients |= {f"{name}.weight": np.concatenate([w_x, w_h], 1), f"{name}.bias": b}
    assert gradients.keys() == values.keys()
    norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
    scale = config.learning_rate * min(1.0, config.clip / norm)
    for name, gradient in gradients.items():
        update = values[name].astype(np.float64) - actual[f"{name}.next"]
        assert np.abs(update - scale * gradient).max() < 4e-7 + 1e-5 * scale * np.abs(gradient).max(), name
        # the gradient is well above that rounding
        assert scale * np.abs(gradient).max() > 1e-3, name


def gates_back(array: np.ndarray) -> np.ndarray:
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, f, o, g])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_updates_are_clipped_by_their_global_norm(tiny, framework) -> None:
    values = {name: 4 * value for name, value in wide_values().items()}
    batch = next(batches_for(TINY, "training", 1))
    actual = Evaluator(tiny("seq2seq", framework, "training")).step({**values, **batch}).outputs
    moved = sum(float(((values[p.name] - actual[p.next.name]).astype(np.float64) ** 2).sum()) for p in TINY.parameters)
    assert math.sqrt(moved) == pytest.approx(TINY.config.learning_rate * TINY.config.clip, rel=1e-5)


def with_twins(values: dict[str, np.ndarray], words: list[int]) -> dict[int, int]:
    """Give each word a twin with the same logit but for what float32 rounds away; they differ as inputs.

    Float64 always takes the twin; float32 sees a tie and takes the word, which comes first.
    """
    twins = dict(zip(words, range(TINY.config.vocabulary - len(words), TINY.config.vocabulary), strict=True))
    for word, twin in twins.items():
        values["projection.weight"][twin] = values["projection.weight"][word]
        values["projection.bias"][twin] = 1e-9
        values["decoder.embedding.weight"][twin] = -5 * values["decoder.embedding.weight"][word]
    return twins


@pytest.fixture
def tied(tiny, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Verification starts from values where the first word of every sentence has a twin."""
    values = wide_values()
    values["projection.bias"][:] = 0
    batch = next(batches_for(TINY, "inference", 0))
    graph = Evaluator(tiny("seq2seq", "torch", "inference"))
    first = graph.step({**values, **batch}).outputs["ids"][:, 0]
    words = sorted(set(first.tolist()))
    assert max(words) < TINY.config.vocabulary - len(words)
    twins = with_twins(values, words)
    monkeypatch.setattr(Workload, "initial_values", lambda *_: dict(values))
    return twins


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_choice_that_float32_makes_otherwise_is_not_held_against_the_graph(tied, tiny, framework) -> None:
    values = TINY.initial_values("inference", 0)
    batch = next(batches_for(TINY, "inference", 0))
    reference = subject.find_exporter(framework).reference(TINY, "inference", "float64")
    free = reference.step({**values, **batch})
    single = Evaluator(tiny("seq2seq", framework, "inference")).step({**values, **batch})
    assert set(tied.values()) & set(free.outputs["ids"][:, 0].tolist())
    back = {twin: word for word, twin in tied.items()}
    words = [[back.get(word, word) for word in row] for row in free.outputs["ids"].tolist()]
    assert (np.array(words) != single.outputs["ids"]).any(), "other words must follow"
    check = verify(TINY, framework, "inference", steps=1)
    assert check.faults == ()
    assert check.state.error < 1e-12  # in float64 the graph takes the twins as well


def test_a_wrong_choice_is_found(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    true = subject.find_exporter

    class Wrong:
        def export(self, request):
            model = tiny("seq2seq", "torch", "inference").model
            node = next(n for n in model.graph.node if n.op_type == "ArgMax")
            node.op_type = "ArgMin"
            model.graph.node.insert(
                list(model.graph.node).index(node),
                onnx.helper.make_node("Neg", [node.input[0]], ["negated"], "forward/projection/Neg"),
            )
            wrong = next(n for n in model.graph.node if n.op_type == "ArgMin")
            wrong.op_type, wrong.input[0] = "ArgMax", "negated"
            return model

        def reference(self, *args):
            return true("torch").reference(*args)

    monkeypatch.setattr(subject, "find_exporter", lambda _: Wrong())
    check = verify(TINY, "torch", "inference", steps=1)
    assert any("output 'ids'" in fault for fault in check.faults)


def test_a_vocabulary_without_words() -> None:
    with pytest.raises(UsageError, match="a vocabulary of 4 has no word"):
        workload("seq2seq", "tiny", {"vocabulary": 4})


def test_published_sizes() -> None:
    paper = workload("seq2seq")
    shapes = {t.name: t.shape for t in paper.interface("training").inputs}
    assert [shapes[n] for n in ("source_ids", "target_ids", "target_weights", "sampled_ids")] == [
        (64, 20),
        (64, 26),
        (64, 26),
        (512,),
    ]
    lstm = 4 * 256 * (256 + 256) + 4 * 256
    first = 4 * 256 * (256 + 256 + 256) + 4 * 256  # the word, the context, the state
    attention = 2 * 256 * 256 + 256
    rest = (256 * 512 + 256) + 40_000 * 257
    assert sum(p.elements for p in paper.parameters) == 2 * 40_000 * 256 + 5 * lstm + first + attention + rest


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_steps_share_what_does_not_depend_on_them(tiny, framework) -> None:
    """One product for all steps of the words' gates and the keys; one a step and layer of the rest."""
    c = TINY.config
    products: dict[str, int] = {}
    for address in tiny("seq2seq", framework, "training").addresses.values():
        if (address.phase, address.op) == ("forward", "MatMul"):
            products[address.scope] = products.get(address.scope, 0) + 1
    assert products == {
        "encoder.lstm1": 1 + c.source_length - 1,
        "encoder.lstm2": 1 + c.source_length - 1,
        "attention.keys": 1,
        "decoder.input": 1,
        "decoder.lstm1": c.target_length,
        "decoder.lstm2": c.target_length,
        "attention.query": c.target_length,
        "attention.score": c.target_length,
        "attention.context": c.target_length,
        "decoder.output": 1,
        "projection": 1,
    }


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sums_over_steps_belong_to_the_layer(tiny, framework) -> None:
    """The gradient of what every step uses is a sum; it is the layer's and not the loss's or the update's."""
    scopes = {a.scope for a in tiny("seq2seq", framework, "training").addresses.values() if a.op == "Add"}
    assert {"decoder.lstm1", "decoder.lstm2", "attention.query", "attention.score", "encoder.lstm1"} <= scopes
    backward = [a for a in tiny("seq2seq", framework, "training").addresses.values() if a.phase == "backward"]
    assert not [a for a in backward if a.op == "Add" and a.scope == "loss"]
