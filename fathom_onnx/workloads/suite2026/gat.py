"""gat: a graph attention network (Velickovic et al. 2018, arXiv:1710.10903) over sampled or whole neighbourhoods.

A layer maps the features of its source nodes to those of its target nodes, which are the first of the sources. For an
edge from j to i and a head, with ``z = W h``:

    e_ij = LeakyReLU(a_source . z_j + a_target . z_i),   alpha_ij = softmax over the edges to i of e_ij,
    h'_i = sum over the edges to i of alpha_ij z_j + b.

Heads are concatenated and go through an ELU in hidden layers, and are averaged in the last. Edges are a list; every
target has one from itself.

With fan-outs a step has the nodes that neighbour sampling finds around a batch of seeds (Hamilton et al. 2017,
algorithm 2, arXiv:1706.02216): as many neighbours of each node as the fan-out says, hop by hop, and a list of edges for
each layer. All sizes are the largest that there can be. Without fan-outs every layer has the whole graph. An edge that
is missing goes to a node past the targets, whose result is cut off.

The loss is the mean softmax cross-entropy over the nodes that have a label, and half the sum of the squares of all
parameters but biases, times a factor, as in the authors' release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Adam, Draw, Initialiser, Layer, Noise, TensorSpec, Variable, Workload

__all__ = ["DEFINITION", "GatConfig", "GatLayer", "build", "gat_layers"]

_GAT = "Velickovic et al. 2018"
_PRODUCTS = "PyTorch Geometric, examples/ogbn_products_gat.py"


@dataclass(frozen=True)
class GatConfig:
    """Hyper-parameters of gat."""

    batch: int = setting(512, f"{_PRODUCTS}: batch_size; all nodes of the graph where there are no fan-outs")
    fanouts: tuple[int, ...] = setting((10, 10, 5), f"{_PRODUCTS}: num_neighbors, from the seeds on")
    edges: int = setting(0, "edges of the whole graph in both directions, without those of nodes to themselves")
    features: int = setting(100, "ogbn-products (Hu et al. 2020)")
    classes: int = setting(47, "ogbn-products (Hu et al. 2020)")
    hidden: tuple[int, ...] = setting((128, 128), f"{_PRODUCTS}: hidden_channels of a head")
    heads: tuple[int, ...] = setting((4, 4, 4), f"{_PRODUCTS}: heads")
    skips: int = setting(1, f"{_PRODUCTS}: 1 for a linear layer around each layer, 0 for none")
    slope: float = setting(0.2, f"{_GAT}, section 2.1: LeakyReLU")
    input_dropout: float = setting(0.0, f"{_PRODUCTS}: of the first layer's input")
    hidden_dropout: float = setting(0.5, f"{_PRODUCTS}: of every other layer's input")
    attention_dropout: float = setting(0.0, f"{_PRODUCTS}: of attention coefficients")
    decay: float = setting(0.0, f"{_PRODUCTS}: factor of the squares in the loss")
    learning_rate: float = setting(1e-3, f"{_PRODUCTS}: Adam")


@dataclass(frozen=True)
class GatLayer:
    """The sizes of one layer.

    Attributes:
        number: Its place, from 0.
        name: ``layers.<number>``.
        sources: Nodes whose features it reads.
        targets: Nodes whose features it makes, the first of the sources.
        edges: Edges, those of nodes to themselves and those that are missing among them.
        inputs: Features of a node before the layer.
        heads: Attention heads.
        outputs: Features of a node after the layer, of each head.
        last: Whether heads are averaged.
        dropout: Dropout rate of its input.
        lists: Names of the inputs with the source and the target of each edge.
    """

    number: int
    sources: int
    targets: int
    edges: int
    inputs: int
    heads: int
    outputs: int
    last: bool
    dropout: float
    lists: tuple[str, str]

    @property
    def name(self) -> str:
        """The beginning of the names of its layers."""
        return f"layers.{self.number}"

    @property
    def width(self) -> int:
        """Features of a node after the layer."""
        return self.outputs if self.last else self.heads * self.outputs


def _sizes(config: GatConfig) -> list[tuple[int, int, int]]:
    """Sources, targets and edges of each layer, in forward order."""
    nodes = config.batch
    if not config.fanouts:
        return [(nodes, nodes, config.edges + nodes)] * len(config.heads)
    found = []
    for fanout in config.fanouts:
        found.append((nodes * (fanout + 1), nodes, nodes * (fanout + 1)))
        nodes *= fanout + 1
    return found[::-1]


def gat_layers(config: GatConfig) -> Iterator[GatLayer]:
    """The layers in forward order."""
    inputs = config.features
    for number, (sources, targets, edges) in enumerate(_sizes(config)):
        last = number == len(config.heads) - 1
        layer = GatLayer(
            number=number,
            sources=sources,
            targets=targets,
            edges=edges,
            inputs=inputs,
            heads=config.heads[number],
            outputs=config.classes if last else config.hidden[number],
            last=last,
            dropout=config.hidden_dropout if number else config.input_dropout,
            lists=(f"sources.{number}", f"targets.{number}") if config.fanouts else ("sources", "targets"),
        )
        yield layer
        inputs = layer.width


def build(preset: str, config: GatConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: Lists of different lengths, or a dropout rate that keeps nothing.
    """
    c = config
    if len(c.hidden) != len(c.heads) - 1 or len(c.fanouts) not in (0, len(c.heads)):
        raise ValueError(f"{len(c.heads)} layers by heads, {len(c.hidden)} hidden sizes and {len(c.fanouts)} fan-outs")
    if max(c.input_dropout, c.hidden_dropout, c.attention_dropout) >= 1:
        raise ValueError("a dropout rate of 1 or more keeps nothing")
    zero = Initialiser.constant(0.0)
    parameters: list[Variable] = []
    layers: list[Layer] = []
    noise: list[Noise] = []
    lists: dict[str, TensorSpec] = {}
    sizes = list(gat_layers(c))
    for layer in sizes:
        name, width = layer.name, layer.heads * layer.outputs
        for end, edges, limit in zip(("source", "target"), layer.lists, (layer.sources, layer.targets), strict=True):
            lists[edges] = TensorSpec(edges, (layer.edges,), "int64", f"{end} of each edge", Draw("integers", 0, limit))
        if layer.dropout:
            noise.append(Noise(f"{name}.dropout.noise", (layer.sources, layer.inputs), "uniform"))
            layers.append(Layer(f"{name}.dropout", "dropout"))
        start = Initialiser.glorot_uniform(layer.inputs, width)
        parameters.append(Variable(f"{name}.linear.weight", (width, layer.inputs), start))
        layers.append(Layer(f"{name}.linear", "linear"))
        start = Initialiser.glorot_uniform(layer.outputs, 1)
        for end in ("source", "target"):
            parameters.append(Variable(f"{name}.attention.{end}", (layer.heads, layer.outputs), start))
        layers.append(Layer(f"{name}.attention", "attention over edges"))
        if c.attention_dropout:
            noise.append(Noise(f"{name}.attention_dropout.noise", (layer.edges, layer.heads), "uniform"))
            layers.append(Layer(f"{name}.attention_dropout", "dropout"))
        parameters.append(Variable(f"{name}.gathering.bias", (layer.width,), zero))
        layers.append(Layer(f"{name}.gathering", "sum over edges"))
        if c.skips:
            start = Initialiser.glorot_uniform(layer.inputs, layer.width)
            parameters.append(Variable(f"{name}.skip.weight", (layer.width, layer.inputs), start))
            parameters.append(Variable(f"{name}.skip.bias", (layer.width,), zero))
            layers.append(Layer(f"{name}.skip", "linear"))
            layers.append(Layer(f"{name}.add", "addition"))
        if not layer.last:
            layers.append(Layer(f"{name}.elu", "elu"))
    rows, labelled = (sizes[0].sources, c.features), (c.batch, c.classes)
    return Workload(
        name="gat",
        preset=preset,
        config=c,
        features=(TensorSpec("features", rows, meaning="of each node, seeds first"), *lists.values()),
        targets=(TensorSpec("labels", labelled, meaning="one-hot; all zero for none", draw=Draw("one_hot")),),
        noise={"training": tuple(noise)} if noise else {},
        parameters=tuple(parameters),
        outputs=(TensorSpec("logits", labelled),),
        layers=tuple(layers),
        optimizer=Adam(c.learning_rate),
        data="citations",
    )


_PAPER = GatConfig()

_CORA = GatConfig(
    batch=2708,
    fanouts=(),
    edges=2 * 5429,
    features=1433,
    classes=7,
    hidden=(8,),
    heads=(8, 1),
    skips=0,
    input_dropout=0.6,
    hidden_dropout=0.6,
    attention_dropout=0.6,
    decay=5e-4,
    learning_rate=5e-3,
)
"""Section 3.3 of the paper: the whole citation graph of Cora, two layers, eight heads of eight and one of seven."""

DEFINITION = Definition(
    name="gat",
    summary="graph attention network over sampled neighbours",
    presets={
        "paper": _PAPER,
        "small": _CORA,
        "tiny": replace(
            _PAPER,
            batch=16,
            fanouts=(4, 3),
            features=12,
            classes=3,
            hidden=(4,),
            heads=(2, 2),
            attention_dropout=0.25,
            decay=5e-4,
            learning_rate=1e-2,
        ),
    },
    build=build,
    fidelity="The preset paper is the published example for ogbn-products. That example computes every layer for all "
    "nodes of one sampled subgraph; here a layer computes the nodes that the next one reads, and a node that is found "
    "twice comes twice, as in GraphSAGE: sizes are then known before sampling. The maximum that a softmax subtracts "
    "has no gradient, as in PyTorch Geometric: the softmax does not depend on it. The preset small is the network of "
    "the paper for Cora.",
    papers=(
        "Velickovic et al., Graph Attention Networks, ICLR 2018, arXiv:1710.10903",
        "Hamilton et al., Inductive Representation Learning on Large Graphs, NIPS 2017, arXiv:1706.02216",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
