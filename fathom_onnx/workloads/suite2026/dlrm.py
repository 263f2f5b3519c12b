"""dlrm: the deep learning recommendation model (Naumov et al. 2019, arXiv:1906.00091).

The continuous features of a user and an item go through the bottom perceptron, every categorical feature through an
embedding bag: the sum of the rows of its table that its indices name. The dot products of all pairs of these vectors
(a vector with itself left out), and the bottom perceptron's output, go through the top perceptron, whose sigmoid is the
probability of a click. The loss is the mean binary cross-entropy over the batch.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import (
    Draw,
    GradientDescent,
    Initialiser,
    Layer,
    TensorSpec,
    Variable,
    Workload,
)

__all__ = ["DEFINITION", "DlrmConfig", "build", "categories", "pairs"]

_DLRM = "Naumov et al. 2019"
_KAGGLE = "the authors' release, bench/dlrm_s_criteo_kaggle.sh"

CRITEO_KAGGLE = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652,
    2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
"""Different values of the 26 categorical columns of the Criteo Kaggle logs, C1 to C26; 33,762,577 together."""


@dataclass(frozen=True)
class DlrmConfig:
    """Hyper-parameters of dlrm."""

    batch: int = setting(128, f"{_KAGGLE}: --mini-batch-size=128")
    dense: int = setting(13, "Criteo Kaggle: columns I1 to I13")
    rows: tuple[int, ...] = setting(
        CRITEO_KAGGLE, "Criteo Kaggle: columns C1 to C26, as the authors' reader counts them"
    )
    lookups: int = setting(1, "Criteo Kaggle: a categorical column has one value")
    embedding: int = setting(16, f"{_KAGGLE}: --arch-sparse-feature-size=16")
    bottom: tuple[int, ...] = setting((512, 256, 64, 16), f"{_KAGGLE}: --arch-mlp-bot=13-512-256-64-16")
    top: tuple[int, ...] = setting((512, 256, 1), f"{_KAGGLE}: --arch-mlp-top=512-256-1")
    learning_rate: float = setting(0.1, f"{_KAGGLE}: --learning-rate=0.1")


def categories(table: int) -> str:
    """The name of the input with the indices into a table."""
    return f"categories.{table}"


def pairs(config: DlrmConfig) -> list[int]:
    """Places of the dot products that are kept, in the matrix of all: below its diagonal, row by row.

    The matrix is [tables + 1, tables + 1], its elements are counted row by row, and vector 0 is the bottom
    perceptron's.
    """
    vectors = len(config.rows) + 1
    return [row * vectors + column for row in range(vectors) for column in range(row)]


def _perceptron(name: str, sizes: tuple[int, ...], last: bool) -> tuple[list[Layer], list[Variable]]:
    """Linear layers with a ReLU after each, but for the last one where ``last`` says that it has none.

    They start as the authors' release has them: weights normal with variance 2 / (inputs + outputs), biases normal with
    variance 1 / outputs.
    """
    layers: list[Layer] = []
    parameters: list[Variable] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        linear = f"{name}.{2 * index}"
        layers.append(Layer(linear, "linear"))
        weight, bias = math.sqrt(2 / (inputs + outputs)), math.sqrt(1 / outputs)
        parameters.append(Variable(f"{linear}.weight", (outputs, inputs), Initialiser("normal", weight)))
        parameters.append(Variable(f"{linear}.bias", (outputs,), Initialiser("normal", bias)))
        if not last or index < len(sizes) - 2:
            layers.append(Layer(f"{name}.{2 * index + 1}", "relu"))
    return layers, parameters


def build(preset: str, config: DlrmConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The bottom perceptron's output is no vector like those of the tables, or the top one's no number.
    """
    c = config
    if c.bottom[-1] != c.embedding:
        raise ValueError(f"the bottom perceptron ends with {c.bottom[-1]} units and a table has {c.embedding} columns")
    if c.top[-1] != 1:
        raise ValueError(f"the top perceptron ends with {c.top[-1]} units, and a click has one probability")
    bottom, bottom_parameters = _perceptron("bottom", (c.dense, *c.bottom), last=False)
    top, top_parameters = _perceptron("top", (c.embedding + len(pairs(c)), *c.top), last=True)
    tables = [
        # uniform with the bound that the authors' release has
        Variable(f"tables.{number}.weight", (rows, c.embedding), Initialiser("uniform", math.sqrt(1 / rows)))
        for number, rows in enumerate(c.rows)
    ]
    indices = [
        TensorSpec(categories(n), (c.batch, c.lookups), "int64", f"rows of table {n}", Draw("integers", 0, rows))
        for n, rows in enumerate(c.rows)
    ]
    return Workload(
        name="dlrm",
        preset=preset,
        config=c,
        features=(
            TensorSpec("dense", (c.batch, c.dense), meaning="logarithms of counts", draw=Draw("uniform", 0, 3)),
            *indices,
        ),
        targets=(TensorSpec("clicks", (c.batch, 1), meaning="1 for a click", draw=Draw("integers", 0, 2)),),
        parameters=(*bottom_parameters, *tables, *top_parameters),
        outputs=(TensorSpec("probability", (c.batch, 1), meaning="of a click"),),
        layers=(
            *bottom,
            *(Layer(table.layer, "embedding bag") for table in tables),
            Layer("interaction", "dot products of pairs"),
            *top,
            Layer("sigmoid", "sigmoid"),
        ),
        optimizer=GradientDescent(c.learning_rate),
        row_gradients={table.name: categories(number) for number, table in enumerate(tables)},
        data="clicks",
    )


_PAPER = DlrmConfig()

DEFINITION = Definition(
    name="dlrm",
    summary="recommendation model, 26 embedding tables with 33.8 million rows",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, rows=(1000,) * 8),
        "tiny": DlrmConfig(batch=8, dense=4, rows=(40, 20, 3), lookups=2, embedding=4, bottom=(8, 4), top=(8, 1)),
    },
    build=build,
    fidelity="The released model takes the binary cross-entropy of the sigmoid, whose logarithms it bounds; here it is "
    "taken of the sigmoid's input, which is the same function without the bound. As in the "
    "release (EmbeddingBag with sparse=True, SGD), a table's gradient is of the rows that were read, and an update "
    "changes no other.",
    papers=(
        "Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems, 2019, "
        "arXiv:1906.00091",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
