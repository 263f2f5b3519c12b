"""Table II of the paper, and its continuation: a description of each workload, shown beside our own numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "TABLE_II", "TODAY", "CatalogueRow"]


@dataclass(frozen=True)
class CatalogueRow:
    """One row of Table II (Adolf et al., IISWC 2016), or of its continuation.

    Attributes:
        year: Year in which the model was published.
        style: Neuronal style.
        layers: Number of layers as the model's paper, or Table II, counts them.
        task: Learning task.
        dataset: Data set.
        legacy: Purpose and legacy: what the model is for, and what came of it; empty for those of Table II.
    """

    year: int
    style: str
    layers: int
    task: str
    dataset: str
    legacy: str = ""


TABLE_II: dict[str, CatalogueRow] = {
    "seq2seq": CatalogueRow(2014, "recurrent", 7, "supervised", "WMT-15"),
    "memnet": CatalogueRow(2015, "memory network", 3, "supervised", "bAbI"),
    "speech": CatalogueRow(2014, "recurrent, full", 5, "supervised", "TIMIT"),
    "autoenc": CatalogueRow(2014, "full", 3, "unsupervised", "MNIST"),
    "residual": CatalogueRow(2015, "convolutional", 34, "supervised", "ImageNet"),
    "vgg": CatalogueRow(2014, "convolutional, full", 19, "supervised", "ImageNet"),
    "alexnet": CatalogueRow(2012, "convolutional, full", 5, "supervised", "ImageNet"),
    "deepq": CatalogueRow(2013, "convolutional, full", 5, "reinforcement", "Atari ALE"),
}
"""A workload of 2016 to its row."""

TODAY: dict[str, CatalogueRow] = {
    "llama": CatalogueRow(
        2024,
        "attention, full",
        32,
        "self-supervised",
        "web text",
        "Decoder language model with open weights. The architecture that most language models of its time follow.",
    ),
    "llama-decode": CatalogueRow(
        2024,
        "attention, full",
        32,
        "self-supervised",
        "web text",
        "The same model as it answers: one token at a time, bound by the reading of weights and caches.",
    ),
    "mixtral": CatalogueRow(
        2023,
        "attention, experts",
        32,
        "self-supervised",
        "web text",
        "A language model of which a token sees two in eight parts. The way large models have grown since without "
        "their computation.",
    ),
    "vit": CatalogueRow(
        2021,
        "attention",
        12,
        "supervised",
        "ImageNet",
        "Image recognition without convolutions, by attention between patches. The image encoder of most models of "
        "today that read pictures and text.",
    ),
    "unet": CatalogueRow(
        2020,
        "convolutional, attention",
        35,
        "unsupervised",
        "CIFAR-10",
        "Images made by removing noise in many small steps. The network at the heart of the first image generators "
        "that millions used.",
    ),
    "dlrm": CatalogueRow(
        2019,
        "embedding, full",
        7,
        "supervised",
        "Criteo Kaggle",
        "Ranks what a user may click on, from tables that hold nearly all of its parameters. The recommendation model "
        "of MLPerf; most of the inference in large data centres has been of this kind.",
    ),
    "gat": CatalogueRow(
        2018,
        "graph attention",
        3,
        "supervised",
        "ogbn-products",
        "Lets each node of a graph choose which neighbours it listens to. Molecules, traffic and recommendations are "
        "learned by networks of this kind.",
    ),
    "mamba": CatalogueRow(
        2024,
        "state space",
        24,
        "self-supervised",
        "Pile",
        "A recurrence with a state of fixed size, computed as matrix products. Brought recurrent models back beside "
        "attention; most hybrid language models since have such layers.",
    ),
    "ppo": CatalogueRow(
        2017,
        "full",
        3,
        "reinforcement",
        "MuJoCo",
        "Policy gradients that stay near the policy that acted. Trained robots and game players, and tuned the first "
        "language models to human preferences.",
    ),
}
"""A workload of today to its row."""

CATALOGUE = {**TABLE_II, **TODAY}
"""Workload name to its row; workloads of other packages have none."""
