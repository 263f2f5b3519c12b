"""The generated citation graph: its shape, its planted fields, samples by hand, and what the source hands on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fathom_onnx.data import batches, batches_for
from fathom_onnx.data.records.citations import grow
from fathom_onnx.data.records.neighbours import sample
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import TensorSpec


def test_a_grown_graph_is_like_a_citation_graph() -> None:
    graph = grow(2708, 5429, 7, 1433, np.random.default_rng(0))
    citing, cited = graph.links
    assert graph.links.shape[1] == pytest.approx(5429, abs=3)
    assert len(set(zip(citing.tolist(), cited.tolist(), strict=True))) == graph.links.shape[1]
    assert (cited < citing).all()
    # 0.8 within the field by choice, and a seventh of the others; a fifth of the links ignores preference and field
    assert (graph.classes[citing] == graph.classes[cited]).mean() > 0.6
    degrees = np.bincount(np.concatenate([citing, cited]), minlength=2708)
    assert degrees.max() > 10 * degrees.mean()
    np.testing.assert_allclose(graph.features.sum(1), 1)
    assert np.bincount(graph.classes).min() >= 386


def test_words_tell_the_field() -> None:
    graph = grow(700, 1400, 7, 140, np.random.default_rng(1))
    own = np.arange(140)[np.newaxis] % 7 == graph.classes[:, np.newaxis]
    # half the words are of the field, and a seventh of the others
    assert (graph.features * own).sum(1).mean() == pytest.approx(0.5 + 0.5 / 7, abs=0.03)


# paper 0 has the neighbours 1, 2 and 3; 1 has 0; 2 and 3 have 0
STAR = np.array([1, 2, 3, 0, 0, 0]), np.array([0, 3, 4, 5, 6])


def test_a_sample_by_hand() -> None:
    nodes, sources, targets = sample(np.array([0, 1, -1]), 2, STAR, np.random.default_rng(0))
    assert nodes[:3].tolist() == [0, 1, -1]
    assert len(set(nodes[3:5])) == 2
    assert set(nodes[3:5]) <= {1, 2, 3}
    assert nodes[5:].tolist() == [0, -1, -1, -1]
    assert sources.tolist() == list(range(9))
    # every node to itself, two edges to 0, one to 1; the others are missing
    assert targets.tolist() == [0, 1, 2, 0, 0, 1, 3, 3, 3]


def test_samples_are_fair() -> None:
    rng = np.random.default_rng(2)
    nodes = np.concatenate([sample(np.zeros(3000, np.int64), 1, STAR, rng)[0][3000:]])
    # a third each, with a deviation of 0.009
    assert np.bincount(nodes)[1:] / 3000 == pytest.approx([1 / 3] * 3, abs=0.04)


def test_sampled_edges_join_neighbours() -> None:
    spec = workload("gat", "tiny")
    stream = batches_for(spec, "training", 0)
    gaps = 0
    for batch in itertools.islice(stream, 10):
        features = batch["features"]
        for layer, (sources, targets) in ((0, (320, 80)), (1, (80, 16))):
            ends = batch[f"targets.{layer}"]
            assert batch[f"sources.{layer}"].shape == ends.shape == (sources,)
            assert np.array_equal(ends[:targets], np.arange(targets))
            missing = ends == targets
            assert (features[batch[f"sources.{layer}"][missing]] == 0).all()
            gaps += int(missing.sum())
        assert (batch["labels"].sum(1) == 1).all()
    assert gaps > 10


def test_the_whole_graph_has_both_directions_and_twenty_labels_a_field() -> None:
    spec = workload("gat", "small")
    batch = next(batches_for(spec, "training", 0))
    sources, targets = batch["sources"], batch["targets"]
    present = targets < 2708
    assert (~present).sum() < 10
    edges = set(zip(sources[present].tolist(), targets[present].tolist(), strict=True))
    assert len(edges) == present.sum()
    assert {(b, a) for a, b in edges} == edges
    assert {(n, n) for n in range(2708)} <= edges
    assert batch["labels"].sum(0).tolist() == [20.0] * 7


@pytest.mark.parametrize(
    ("specs", "advice"),
    [
        ([TensorSpec("features", (4,))], r"ask for 'features' \[nodes, width\]"),
        ([TensorSpec("features", (4, 2)), TensorSpec("targets", (3,), "int64")], "of one size above 4"),
        ([TensorSpec("features", (4, 2)), TensorSpec("targets.0", (4,), "int64")], "the number of targets"),
        ([TensorSpec("features", (4, 2))], "not asked for edges"),
        ([TensorSpec("features", (4, 2)), TensorSpec("images", (4, 1))], "has no input 'images'"),
    ],
)
def test_what_cannot_be_filled_is_refused(specs: list[TensorSpec], advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        batches("citations", specs, 0)
