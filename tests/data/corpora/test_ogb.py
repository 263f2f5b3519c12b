"""``ogb``: folders of the Open Graph Benchmark, their edges and parts by hand, and what is wrong with others."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.data.corpora.ogb import OgbFolder
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload

# 0 - 1, 0 - 2 (twice, one in each direction), 3 - 1, and 4 to itself
EDGES = "0,1\n0,2\n2,0\n3,1\n4,4\n"
FILES = {
    "raw/num-node-list": "6\n",
    "raw/num-edge-list": "5\n",
    "raw/edge": EDGES,
    "raw/node-feat": "".join(f"{node}.5,-0.25,1e-3\n" for node in range(6)),
    "raw/node-label": "0\n1\n2\n0\n1\n2\n",
    "split/time/train": "0\n3\n",
    "split/time/valid": "1\n4\n",
    "split/time/test": "2\n5\n",
}
WHOLE = [
    ("features", (6, 3)),
    ("sources", (14,), "int64"),
    ("targets", (14,), "int64"),
    ("labels", (6, 3)),
]
SAMPLED = [("features", (8, 3)), ("sources.0", (8,), "int64"), ("targets.0", (8,), "int64"), ("labels", (2, 3))]
DRAWS = {"targets.0": 2}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A folder with some files changed; None leaves one out."""

    def call(changes: dict[str, str | bytes | None] | None = None, packed: bool = True) -> Path:
        for name, text in {**FILES, **(changes or {})}.items():
            if text is None:
                continue
            path = tmp_path / f"{name}.csv{'.gz' if packed else ''}"
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = text.encode() if isinstance(text, str) else text
            path.write_bytes(gzip.compress(raw) if packed and isinstance(text, str) else raw)
        return tmp_path

    return call


@pytest.mark.parametrize("packed", [True, False])
def test_a_graph_by_hand(write, packed: bool) -> None:
    graph = OgbFolder(write(packed=packed)).graph(3, 3)
    assert graph.links.T.tolist() == [[0, 1], [0, 2], [1, 3]]
    assert graph.classes.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(graph.features[:, 0], np.arange(6) + 0.5)
    np.testing.assert_allclose(graph.features[:, 1:], np.tile([-0.25, 1e-3], (6, 1)))
    neighbours, starts = graph.neighbours(np.random.default_rng(0))
    around = [sorted(neighbours[a:b].tolist()) for a, b in itertools.pairwise(starts)]
    assert around == [[1, 2], [0, 3], [0], [1], [], []]


def test_the_whole_graph_labels_the_nodes_of_a_part(write, read) -> None:
    for split, nodes in (("training", {0, 3}), ("held-out", {1, 4}), ("all", set(range(6)))):
        batch = read(f"ogb:{write()}", *WHOLE, split=split)
        assert set(np.flatnonzero(batch["labels"].sum(1)).tolist()) == nodes
    assert batch["labels"].argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
    edges = list(zip(batch["sources"].tolist(), batch["targets"].tolist(), strict=True))
    both = {(0, 1), (0, 2), (1, 3), (1, 0), (2, 0), (3, 1)}
    assert set(edges[:12]) == both | {(node, node) for node in range(6)}
    assert edges[12:] == [(0, 6), (0, 6)]


def test_rows_beyond_the_graph_are_nodes_alone(write, read) -> None:
    specs = [("features", (9, 3)), *((name, (17,), "int64") for name in ("sources", "targets")), ("labels", (9, 4))]
    batch = read(f"ogb:{write()}", *specs)
    assert not batch["features"][6:].any()
    assert not batch["labels"][6:].any()
    assert batch["targets"][-2:].tolist() == [9, 9]


def test_samples_are_neighbours_of_seeds_of_the_part(write, read) -> None:
    """A seed's number is its first feature less a half; neighbours come from every part."""
    for split, nodes in (("training", {0, 3}), ("held-out", {1, 4})):
        batch = read(f"ogb:{write()}", *SAMPLED, split=split, count=1, draws=DRAWS)
        number = np.rint(batch["features"][:, 0] - 0.5).astype(int)
        assert set(number[:2].tolist()) == nodes
        around = {0: {1, 2}, 1: {0, 3}, 3: {1}, 4: set()}
        for place in range(2):
            found = {int(number[2 + 3 * place + k]) for k in range(3) if batch["targets.0"][2 + 3 * place + k] == place}
            assert found == around[int(number[place])]
        missing = batch["targets.0"] == 2
        assert not batch["features"][missing].any()
        assert batch["labels"].argmax(1).tolist() == [int(seed) % 3 for seed in number[:2]]


def test_every_seed_comes_once_before_any_comes_again(write, read) -> None:
    batch = read(f"ogb:{write()}", *SAMPLED, count=9, draws=DRAWS)
    seeds = np.rint(batch["features"].reshape(9, 8, 3)[:, :2, 0] - 0.5).astype(int).ravel().tolist()
    assert [sorted(seeds[start : start + 6]) for start in (0, 6, 12)] == [list(range(6))] * 3


def test_gat_is_fed(write) -> None:
    sampled = workload("gat", "tiny", {"features": 3})
    whole = workload("gat", "small", {"features": 3, "batch": 6, "edges": 6, "classes": 3})
    for made in (sampled, whole):
        for mode in ("training", "inference"):
            batch = next(batches_for(made, mode, 0, f"ogb:{write()}", split="training"))
            assert {k: v.shape for k, v in batch.items()} == {s.name: s.shape for s in made.batch_inputs(mode)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"raw/edge": None}, r"raw' has no file 'edge.csv.gz'; expected a folder of the Open Graph Benchmark"),
        ({"split/time/valid": None}, r"split/time' has no file 'valid.csv.gz'"),
        ({"raw/num-node-list": "6\n6\n"}, r"num-node-list.csv.gz' has 2 lines, one a graph; expected one graph"),
        ({"raw/num-edge-list": "6\n"}, r"edge.csv.gz' has 5 lines; expected 6, as the file of their number says"),
        ({"raw/num-node-list": "7\n"}, r"node-label.csv.gz' has 6 lines; expected 7"),
        ({"raw/edge": EDGES.replace("3,1", "3,6")}, r"edge.csv.gz', line 4 has node 6; expected one below 6"),
        ({"raw/edge": EDGES.replace("3,1", "3,-1")}, r"line 4 has -1; expected a whole number from 0: the two nodes"),
        ({"raw/edge": EDGES.replace("3,1", "3.5,1")}, r"line 4 has 3.5; expected a whole number from 0"),
        ({"raw/edge": EDGES.replace("3,1", "3,1,2")}, r"line 4 has 3 numbers; expected 2: the two nodes of an edge"),
        ({"raw/edge": EDGES.replace("3,1", "")}, r"line 4 has 0 numbers; expected 2"),
        ({"raw/edge": EDGES.replace("3,1", "a,1")}, r"line 4 has 'a'; expected numbers: the two nodes of an edge"),
        ({"raw/edge": EDGES.replace("3,1", "1_0,1")}, r"line 4 has '1_0'"),
        ({"raw/edge": "source,target\n" + EDGES}, r"line 1 has 'source'; expected numbers"),
        ({"raw/edge": ""}, r"edge.csv.gz' is empty; expected the two nodes of an edge"),
        ({"raw/edge": gzip.compress(EDGES.encode())[:-6]}, r"edge.csv.gz' is gzip that is cut short"),
        ({"raw/node-feat": "1,2\n" * 6}, r"has 2 features of a node, and the graph 3; .*--set features=2"),
        ({"raw/node-feat": "1,2,3\n" * 5 + "1,2,nan\n"}, r"node-feat.csv.gz', line 6 has 'nan'; expected numbers"),
        ({"raw/node-feat": "1,2,3\n" * 5 + "1,2"}, r"node-feat.csv.gz', line 6 has 2 numbers; expected 3"),
        ({"raw/node-label": "0\n1\n2\n3\n0\n1\n"}, r"line 4 has class 3; expected one below 3, .*--set classes=4"),
        ({"split/time/test": "2\n3\n"}, r"test.csv.gz', line 2 has node 3, which part 'train' has"),
        ({"split/time/train": "0\n9\n"}, r"train.csv.gz', line 2 has node 9; expected one below 6"),
        ({"split/random/train": "0\n"}, r"split' has 2 folders; expected one way to split"),
    ],
)
def test_what_is_no_such_folder_is_refused(write, read, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(f"ogb:{write(changes)}", *WHOLE)


def test_paths_that_are_no_folder_are_refused(write, read) -> None:
    folder = write()
    with pytest.raises(DataError, match=r"no folder '.*none'; expected a folder of the Open Graph Benchmark"):
        read(f"ogb:{folder}/none", *WHOLE)
    with pytest.raises(DataError, match=r"is a file, not a folder"):
        read(f"ogb:{folder}/raw/edge.csv.gz", *WHOLE)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [("features", (5, 3)), *((name, (14,), "int64") for name in ("sources", "targets"))],
            r"has 6 nodes and 6 edges, and the graph room for 5 and 9; .*--set batch=6 --set edges=6\), or sample",
        ),
        ([("features", (6, 3)), ("targets", (11,), "int64")], r"room for 6 and 5"),
        ([("features", (6, 3))], "was not asked for edges"),
        ([*WHOLE[:3], ("labels", (5, 3))], r"cannot fill 'labels' of shape \[5, 3\]; ask for \[6, classes\]"),
    ],
)
def test_what_cannot_be_filled_is_said(write, read, specs: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(f"ogb:{write()}", *specs)
