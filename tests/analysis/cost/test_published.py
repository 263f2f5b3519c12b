"""Totals of whole networks against what others publish.

Sources: torchvision's model pages (``num_params`` and ``GFLOPS``, which are multiply-accumulates) and the README of
calflops (github.com/MrYxJ/calculate-flops.pytorch), which prints six digits. Both count convolutions and matrix
products; calflops' FLOPs have its own rules for the rest, so that only the MACs are compared. The parameters of
BERT-base are those of google-research/bert's issue 1225 and of calflops' table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from fathom_onnx.analysis.cost.node_costs import count_nodes, graph_costs
from fathom_onnx.graph import Graph, load_structure
from fathom_onnx.graph.parameters import parameters_by_node
from support.graphs.published_networks import bert_base, resnet50, vgg19


@pytest.mark.parametrize(
    ("make", "gmacs", "digits", "parameters"),
    [
        # torchvision: 4.09 GFLOPS, 25557032 parameters; calflops: 4089180000 MACs
        (resnet50, 4.08918, 5, 25_557_032),
        # torchvision: 19.63 GFLOPS, 143667240 parameters; calflops: 19632100000 MACs
        (vgg19, 19.6321, 4, 143_667_240),
        # 109482240 parameters with 30522 tokens
        (lambda: bert_base(30522), 11.17, 2, 109_482_240),
        # calflops, chinese-roberta-wwm-ext: 11.17 GMACs at 128 tokens, 102267648 parameters
        (lambda: bert_base(21128), 11.17, 2, 102_267_648),
    ],
)
def test_totals_are_the_published_ones(make: Callable[[], Graph], gmacs: float, digits: int, parameters: int) -> None:
    graph = make()
    costs = graph_costs(graph)
    assert all(c.macs is not None and c.bytes_moved is not None for c in costs)
    assert round(sum(c.macs or 0 for c in costs) / 1e9, digits) == gmacs
    assert sum(parameters_by_node(graph).values()) == parameters


def test_resnet50_to_the_last_product() -> None:
    """By hand: the stem, 16 blocks, four shortcuts, the classifier."""
    stem = 112 * 112 * 64 * 3 * 49
    blocks = 0
    for stage, (count_, size, into) in enumerate(((3, 56, 64), (4, 28, 256), (6, 14, 512), (3, 7, 1024))):
        middle, out = 64 * 2**stage, 256 * 2**stage
        before = size if stage == 0 else 2 * size  # the first 1x1 convolution sees the image before the stride
        first = before**2 * into * middle + size**2 * (9 * middle * middle + middle * out + into * out)
        blocks += first + (count_ - 1) * size**2 * (out * middle + 9 * middle * middle + middle * out)
    macs = [c.cost.macs or 0 for c in count_nodes(resnet50())]
    assert sum(macs) == stem + blocks + 2048 * 1000 == 4_089_184_256


def test_bert_by_hand() -> None:
    """A layer: four projections, two of the inner width, and the two products of attention; then the pooler."""
    graph = bert_base(30522)
    macs = sum(c.macs or 0 for c in graph_costs(graph))
    assert macs == 12 * (128 * (4 * 768**2 + 2 * 768 * 3072) + 2 * 128**2 * 768) + 768**2
    encoder = 12 * (4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768)
    assert encoder == 85_054_464
    embeddings = (30522 + 2 + 512) * 768 + 2 * 768
    assert sum(parameters_by_node(graph).values()) == embeddings + encoder + 768**2 + 768


@pytest.mark.parametrize(
    ("name", "gmacs", "digits"),
    # calflops: 4089180000, 19632100000, 2834160000 and 349152000 MACs
    [("resnet50", 4.08918, 5), ("vgg19", 19.6321, 4), ("densenet121", 2.83416, 5), ("squeezenet", 0.349152, 6)],
)
def test_graphs_that_others_made(name: str, gmacs: float, digits: int) -> None:
    """The model zoo's graphs as onnx ships them, their weights made by nodes."""
    path = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx does not ship the file")
    macs = [cost.macs for cost in graph_costs(load_structure(path))]
    assert None not in macs
    assert round(sum(m or 0 for m in macs) / 1e9, digits) == gmacs
