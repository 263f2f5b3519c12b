"""dlrm: published sizes, work by a closed formula, and both frameworks' graphs against embedding bags in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fathom_onnx.analysis.cost import graph_costs
from fathom_onnx.data import batches_for_graph
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import from_model
from fathom_onnx.graph.static.in_place import written_in_place
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper, open_stepper
from fathom_onnx.training.loop import train
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import GradientDescent
from fathom_onnx.workloads.suite2026.dlrm import DlrmConfig, pairs
from support.graphs.exports import FRAMEWORKS, exported


def test_published_sizes() -> None:
    spec = workload("dlrm")
    assert len(spec.config.rows) == 26
    assert sum(spec.config.rows) == 33_762_577
    bottom = 13 * 512 + 512 + 512 * 256 + 256 + 256 * 64 + 64 + 64 * 16 + 16
    top = (16 + 27 * 26 // 2) * 512 + 512 + 512 * 256 + 256 + 256 + 1
    assert sum(p.elements for p in spec.parameters) == 33_762_577 * 16 + bottom + top == 540_677_217
    assert spec.optimizer == GradientDescent(0.1)
    assert spec.batch_size == 128


def test_the_kept_products_are_those_below_the_diagonal() -> None:
    config = DlrmConfig(rows=(5, 5, 5))
    expected = np.flatnonzero(np.tril(np.ones((4, 4)), -1))
    assert pairs(config) == expected.tolist()


@pytest.mark.parametrize(("field", "value"), [("bottom", "8,5"), ("top", "8,2")])
def test_sizes_that_do_not_fit_are_refused(field: str, value: str) -> None:
    with pytest.raises(UsageError, match="perceptron ends with"):
        workload("dlrm", "tiny", {field: value})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_macs_by_a_closed_formula(framework: str) -> None:
    c = workload("dlrm", "tiny").config
    costs = graph_costs(from_model(exported("dlrm", framework, "inference"), "dlrm"))
    vectors = len(c.rows) + 1
    bottom = sum(a * b for a, b in itertools.pairwise((c.dense, *c.bottom)))
    top = sum(a * b for a, b in itertools.pairwise((c.embedding + len(pairs(c)), *c.top)))
    # a table is read and summed without a product; all pairs are multiplied, also those that are not kept
    expected = c.batch * (bottom + vectors * vectors * c.embedding + top)
    assert sum(cost.macs or 0 for cost in costs) == expected


def starting_point(seed: int = 0) -> dict[str, np.ndarray]:
    """All inputs of a step whose bags name rows more than once, within a bag and across bags."""
    spec = workload("dlrm", "tiny")
    rng = np.random.default_rng(seed)
    values = spec.initial_values("training", seed)
    values |= {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in spec.batch_inputs("training")}
    values["categories.0"][:4] = 7
    return values


def embedding_bags(v: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits, with pairs one by one."""
    c = workload("dlrm", "tiny").config
    x = v["dense"]
    for index in range(len(c.bottom)):
        x = F.relu(F.linear(x, v[f"bottom.{2 * index}.weight"], v[f"bottom.{2 * index}.bias"]))
    vectors = [x]
    for number, rows in enumerate(c.rows):
        bag = torch.nn.EmbeddingBag(rows, c.embedding, mode="sum", _weight=v[f"tables.{number}.weight"])
        flat = v[f"categories.{number}"].reshape(-1)
        offsets = torch.arange(0, len(flat), c.lookups)
        vectors.append(F.embedding_bag(flat, v[f"tables.{number}.weight"], offsets, mode=bag.mode))
    y = torch.cat([x, *((vectors[a] * vectors[b]).sum(1, True) for a in range(len(vectors)) for b in range(a))], 1)
    for index in range(len(c.top)):
        y = F.linear(y, v[f"top.{2 * index}.weight"], v[f"top.{2 * index}.bias"])
        y = F.relu(y) if index < len(c.top) - 1 else y
    return y


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_step_is_that_of_embedding_bags_in_double(framework: str) -> None:
    spec = workload("dlrm", "tiny")
    values = starting_point()
    made = Evaluator(from_model(exported("dlrm", framework, "training"), "dlrm")).step(values)
    v = {n: torch.tensor(a).double() if a.dtype == np.float32 else torch.tensor(a) for n, a in values.items()}
    for p in spec.parameters:
        v[p.name].requires_grad_(True)
    logit = embedding_bags(v)
    chance = torch.sigmoid(logit)
    loss = -(v["clicks"] * chance.log() + (1 - v["clicks"]) * (1 - chance).log()).mean()
    loss.backward()
    assert made.outputs["loss"] == pytest.approx(loss.item(), rel=1e-6)
    for p in spec.parameters:
        gradient = v[p.name].grad.numpy()
        np.testing.assert_allclose(
            made.outputs[f"{p.name}.next"], v[p.name].detach() - 0.1 * gradient, rtol=1e-6, atol=1e-7
        )
        numbers = spec.row_gradients.get(p.name)
        summed = made.gradients[p.name]
        if numbers:  # a gradient of rows, which their sum by number makes the whole gradient
            summed = np.zeros(p.shape)
            np.add.at(summed, values[numbers].reshape(-1), made.gradients[p.name])
        np.testing.assert_allclose(summed, gradient, rtol=1e-5, atol=1e-7)
    untouched = sorted(set(range(40)) - set(values["categories.0"].ravel()))
    old, new = values["tables.0.weight"], made.outputs["tables.0.weight.next"]
    np.testing.assert_array_equal(new[untouched], old[untouched])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_inference_is_the_sigmoid_of_the_logit(framework: str) -> None:
    spec = workload("dlrm", "tiny")
    values = starting_point(1)
    names = [s.name for s in spec.interface("inference").inputs]
    graph = from_model(exported("dlrm", framework, "inference"), "dlrm")
    made = Evaluator(graph).step({n: values[n] for n in names})
    v = {n: torch.tensor(a).double() if a.dtype == np.float32 else torch.tensor(a) for n, a in values.items()}
    expected = torch.sigmoid(embedding_bags(v)).numpy()
    np.testing.assert_allclose(made.outputs["probability"], expected, rtol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_on_clicks_lowers_the_loss(framework: str) -> None:
    graph = from_model(exported("dlrm", framework, "training"), "dlrm")
    losses = train(graph, batches_for_graph(graph, 0), 400, SessionSettings(threads=1)).losses
    # the mean over 2400 to 3200 clicks; chance gives 0.69
    assert np.mean(losses[-100:]) < 0.7 * np.mean(losses[:100])


def test_the_update_reads_and_writes_rows_alone() -> None:
    c, spec = workload("dlrm", "tiny").config, workload("dlrm", "tiny")
    rows = c.batch * c.lookups
    for framework in FRAMEWORKS:
        graph = from_model(exported("dlrm", framework, "training"), "dlrm")
        assert graph.metadata is not None
        assert graph.metadata.row_gradients == {f"tables.{n}.weight": f"categories.{n}" for n in range(len(c.rows))}
        tables = {p.name: p for p in spec.parameters if p.name in spec.row_gradients}
        large = {name for name, t in graph.tensors.items() if t.shape in {p.shape for p in tables.values()}}
        assert large == {*tables, *(f"{name}.next" for name in tables)}  # no gradient as large as a table
        found = zip(graph.model.graph.node, graph_costs(graph), strict=True)
        scatters = {node.output[0]: cost for node, cost in found if node.input[0] in tables and node.output[0] in large}
        assert scatters.keys() == {f"{name}.next" for name in tables}
        for cost in scatters.values():
            # an index of 8 bytes and two numbers of 4, the old and what is added, are read; the sum is written
            assert (cost.bytes_read, cost.bytes_written) == (rows * c.embedding * 16, rows * c.embedding * 4)
            assert (cost.macs, cost.flops) == (0, rows * c.embedding)


def own_sparse_step(framework: str, values: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """A table after a step of the framework's own optimizer with its own sparse gradient, in double."""
    rows = rows.astype(np.float64)
    numbers = values["categories.0"].reshape(-1)
    if framework == "torch":
        table = torch.nn.Embedding(40, 4, sparse=True, dtype=torch.float64)
        table.weight.data.copy_(torch.tensor(values["tables.0.weight"]))
        optimizer = torch.optim.SGD(table.parameters(), 0.1)
        (table(torch.tensor(numbers)) * torch.tensor(rows)).sum().backward()
        assert table.weight.grad is not None
        assert table.weight.grad.is_sparse
        optimizer.step()
        return table.weight.detach().numpy()
    import tensorflow as tf

    variable = tf.Variable(values["tables.0.weight"], dtype=tf.float64)
    descent = tf.compat.v1.train.GradientDescentOptimizer(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.embedding_lookup(variable, numbers) * rows)
    gradient = tape.gradient(loss, variable)
    assert isinstance(gradient, tf.IndexedSlices)
    descent.apply_gradients([(gradient, variable)])
    return variable.numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_table_moves_as_by_the_sparse_update_of_its_framework(framework: str) -> None:
    values = starting_point()
    graph = from_model(exported("dlrm", framework, "training"), "dlrm")
    made = Evaluator(graph).step(values)
    want = own_sparse_step(framework, values, made.gradients["tables.0.weight"])
    np.testing.assert_allclose(made.outputs["tables.0.weight.next"], want, rtol=0, atol=1e-7)
    other = own_sparse_step(framework, values, -made.gradients["tables.0.weight"])
    assert np.abs(made.outputs["tables.0.weight.next"] - other).max() > 1e-4


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_tables_are_written_in_place_as_they_would_be_in_copies(framework: str) -> None:
    graph = from_model(exported("dlrm", framework, "training"), "dlrm")
    prepared = prepare(graph, workload("dlrm", "tiny").initial_values("training", 0))
    tables = {f"tables.{n}.weight" for n in range(3)}
    assert written_in_place(prepared.model.graph, prepared.state) == tables
    settings = SessionSettings(threads=2)
    session = open_session(prepared, settings)
    plain = Stepper(session, settings, prepared.state, prepared.initial)
    fast = open_stepper(prepared, settings)
    for batch in itertools.islice(batches_for_graph(graph, 0), 6):
        plain.step(batch)
        fast.step(batch, carry=False)
        fast.step(batch)
        assert plain.results()["loss"] == fast.results()["loss"]
    for name, value in plain.state().items():
        np.testing.assert_array_equal(fast.state()[name], value)
