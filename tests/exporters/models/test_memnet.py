"""memnet against independent computations: word by word in numpy, gradients by PyTorch on another model."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import GraphMetadata, from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training.loop import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Initialiser
from support.graphs.exports import FRAMEWORKS, exported

TABLES = ("query.weight", "memory_in.weight", "memory_out.weight")


def values_of(spec, mode, seed=0):
    """A batch of stories, noise, and parameters away from their starting values."""
    rng = np.random.default_rng(seed)
    values = spec.initial_values(mode, seed) | next(batches_for(spec, mode, seed, noise="input"))
    for p in spec.parameters:
        values[p.name] = (values[p.name] + rng.normal(0, 0.3, p.shape) * (values[p.name] != 0)).astype("float32")
    return values


def logits_in_numpy(v, hops=3):
    """The paper's equations, one question, sentence and word at a time; word j and component k count from 1."""
    v = {name: np.asarray(x, np.int64 if name in ("stories", "queries") else np.float64) for name, x in v.items()}

    def vector(table, ids):
        size, words = table.shape[1], len(ids)
        total = np.zeros(size)
        for j, word in enumerate(ids, 1):
            for k in range(1, size + 1):
                total[k - 1] += ((1 - j / words) - (k / size) * (1 - 2 * j / words)) * table[word, k - 1]
        return total

    rows = []
    for story, query in zip(v["stories"], v["queries"], strict=True):
        u = vector(v["query.weight"], query)
        m, c = (
            np.array([vector(v[f"{name}.weight"], s) + v[f"{name}.time"][i] for i, s in enumerate(story)])
            for name in ("memory_in", "memory_out")
        )
        for _ in range(hops):
            score = np.array([u @ row for row in m])
            p = np.exp(score - score.max())
            p /= p.sum()
            u = v["state.weight"] @ u + sum(p[i] * c[i] for i in range(len(p)))
        rows.append(v["answer.weight"] @ u)
    return np.array(rows)


def step_in_torch(spec, v):
    """Loss, gradients, and treated gradients: autograd on an independent model, then the rules."""
    torch = pytest.importorskip("torch")
    t = {name: torch.tensor(np.asarray(x)) for name, x in v.items()}
    leaves = {p.name: t[p.name].double().requires_grad_() for p in spec.parameters}
    c = spec.config
    j, k = np.arange(1, c.sentence + 1)[:, None], np.arange(1, c.embedding + 1)[None]
    position = torch.tensor((1 - j / c.sentence) - (k / c.embedding) * (1 - 2 * j / c.sentence))
    one_hot = torch.nn.functional.one_hot(t["stories"], c.vocabulary).double()
    query = torch.nn.functional.one_hot(t["queries"], c.vocabulary).double()
    u = torch.einsum("bwv,vd,wd->bd", query, leaves["query.weight"], position)
    m, o = (
        torch.einsum("bmwv,vd,wd->bmd", one_hot, leaves[f"{name}.weight"], position) + leaves[f"{name}.time"]
        for name in ("memory_in", "memory_out")
    )
    for _ in range(c.hops):
        p = torch.einsum("bmd,bd->bm", m, u).softmax(1)
        u = torch.einsum("bd,ed->be", u, leaves["state.weight"]) + torch.einsum("bm,bmd->bd", p, o)
    log_p = torch.log_softmax(u @ leaves["answer.weight"].T, 1)
    loss = -(log_p * t["answers"]).sum()
    loss.backward()
    raw = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    treated = {}
    for name, g in raw.items():
        noise = c.gradient_noise * np.float64(v[f"{name}.gradient_noise"])
        treated[name] = g * min(1.0, c.clip_norm / np.linalg.norm(g)) + noise
        if name in TABLES:
            treated[name][0] = 0
    return loss.item(), raw, treated


def test_sizes() -> None:
    spec = workload("memnet")
    tables, times = 4 * 180 * 20, 2 * 50 * 20
    assert sum(p.elements for p in spec.parameters) == tables + times + 20 * 20
    assert [t.shape for t in spec.batch_inputs("training")] == [(32, 50, 11), (32, 11), (32, 180)]
    assert [t.dtype for t in spec.batch_inputs("training")] == ["int64", "int64", "float32"]
    assert {n.name: n.shape for n in spec.noise["training"]} == {
        f"{p.name}.gradient_noise": p.shape for p in spec.parameters
    }
    assert dict(spec.gradients.zero_rows) == dict.fromkeys(TABLES, 0)
    with pytest.raises(UsageError, match="a vocabulary of nil alone"):
        workload("memnet", "tiny", {"vocabulary": 1})


def test_the_nil_word_starts_at_zero_and_the_file_says_so(tiny) -> None:
    spec = workload("memnet", "tiny")
    values = spec.initial_values("training", 3)
    for p in spec.parameters:
        first, rest = values[p.name][0], values[p.name][1:]
        assert (first == 0).all() == (p.name in TABLES)
        assert (rest != 0).all()
        assert rest.std() == pytest.approx(0.1, rel=0.2)
    actual = tiny("memnet", "torch", "training").metadata
    assert isinstance(actual, GraphMetadata)
    assert actual.variables == spec.variables("training")
    assert {v.name for v in actual.variables if v.initialiser.zero_row == 0} == set(TABLES)


def test_a_zero_row_changes_no_other() -> None:
    plain, with_row = Initialiser("uniform", 1.0), Initialiser("uniform", 1.0, zero_row=2)
    a, b = (start.sample("x", (4, 3), "float32", 7) for start in (plain, with_row))
    assert (b[2] == 0).all()
    np.testing.assert_array_equal(np.delete(a, 2, 0), np.delete(b, 2, 0))
    assert (plain.label, with_row.label) == ("uniform", "uniform, row 2 zero")


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "jax"])
def test_position_encoding_by_hand(framework) -> None:
    pytest.importorskip(framework)
    if framework == "torch":
        import torch

        from fathom_exporters.torch.models.suite2016.memnet import position_encoding

        actual = position_encoding(2, torch.zeros(5, 4, dtype=torch.float64))
    elif framework == "jax":
        import jax
        import jax.numpy as jnp

        from fathom_exporters.jax.models.suite2016.memnet import position_encoding

        with jax.enable_x64(True):
            actual = position_encoding(2, jnp.zeros((5, 4), "float64"))
    else:
        import tensorflow as tf

        from fathom_exporters.tensorflow.models.suite2016.memnet import position_encoding

        actual = position_encoding(2, tf.zeros((5, 4), tf.float64))
    # J = 2, d = 4: the first word has 1/2 everywhere, the last k/d
    np.testing.assert_allclose(np.asarray(actual), [[0.5] * 4, [0.25, 0.5, 0.75, 1.0]], rtol=1e-15)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_logits_are_those_of_the_papers_equations(framework) -> None:
    spec = workload("memnet", "tiny")
    values = values_of(spec, "inference")
    expected = logits_in_numpy(values)
    native = find_exporter(framework).reference(spec, "inference", "float64").step(values)
    np.testing.assert_allclose(native.outputs["logits"], expected, rtol=1e-9, atol=1e-12)
    graph = Evaluator(from_model(exported("memnet", framework, "inference", "input"), "memnet"))
    np.testing.assert_allclose(graph.step(values).outputs["logits"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("clip", [0.1, 40.0])
def test_gradients_are_clipped_made_noisy_and_kept_off_the_nil_word(framework, clip) -> None:
    """At the first step Adam's first moment is a tenth of the treated gradient."""
    spec = workload("memnet", "tiny", {"clip_norm": clip, "gradient_noise": 0.1})
    values = values_of(spec, "training")
    loss, raw, treated = step_in_torch(spec, values)
    assert all((np.linalg.norm(g) > clip) == (clip == 0.1) for g in raw.values())
    results = [find_exporter(framework).reference(spec, "training", "float64").step(values)]
    if clip == 0.1:
        model = find_exporter(framework).export(ExportRequest(spec, "training", "input"))
        results.append(Evaluator(from_model(model, "memnet")).step(values))
    for result, close in zip(results, (1e-9, 1e-5), strict=False):
        assert result.outputs["loss"] == pytest.approx(loss, rel=close)
        for name, expected in treated.items():
            actual = result.outputs[f"{name}.adam_m.next"] / 0.1
            np.testing.assert_allclose(actual, expected, rtol=0, atol=close * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_noise_of_every_parameter_is_its_own(tiny, framework) -> None:
    """The gradient of a word that is nowhere is its noise alone; A, B and C are of one shape."""
    spec = workload("memnet", "tiny")
    evaluator = Evaluator(tiny("memnet", framework, "training"))
    values = spec.initial_values("training", 0) | next(batches_for(spec, "training", 0))
    assert max(values["stories"].max(), values["queries"].max()) < 36
    outputs = evaluator.step(values).outputs
    drawn = [outputs[f"{name}.adam_m.next"][36:] / 0.1 for name in TABLES]
    drawn += [evaluator.step(values).outputs[f"{name}.adam_m.next"][36:] / 0.1 for name in TABLES]
    for index, one in enumerate(drawn):
        assert 0.5e-3 < one.std() < 2e-3
        assert not any((one == other).any() for other in drawn[:index])
    for name in TABLES:
        assert (outputs[f"{name}.next"][0] == 0).all()
        assert (outputs[f"{name}.next"][1:] != values[name][1:]).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_embedding_gradients_are_scattered_by_elements(tiny, framework) -> None:
    graph = tiny("memnet", framework, "training")
    model: onnx.ModelProto = graph.model
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["ScatterElements"] == len(TABLES)
    # rows scattered with duplicate indices race in onnxruntime's CPU provider
    assert kinds["ScatterND"] == 0
    where = {(a.phase, a.scope) for a in graph.addresses.values() if a.op == "GatherGrad"}
    assert where == {("backward", name.removesuffix(".weight")) for name in TABLES}
    # a hop adds what it read to the state, so the gradients of that sum meet there
    sums = {a.scope for a in graph.addresses.values() if a.phase == "backward" and a.op == "Add"}
    assert sums == {"query", "memory_in", "memory_out", "state", "hop1.update", "hop2.update"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_learns_to_answer(framework) -> None:
    """Knowing that answers are places, and no more, costs ln 6 a question."""
    spec = workload("memnet", "tiny", {"batch": 32, "embedding": 20})
    graph = from_model(find_exporter(framework).export(ExportRequest(spec, "training")), "memnet")
    losses = train(graph, batches_for(spec, "training", 0), 500, SessionSettings(threads=1)).losses
    each = np.array(losses) / spec.config.batch
    assert each[0] == pytest.approx(math.log(40), rel=0.02)
    assert each[-50:].mean() < 0.5 * math.log(6)
