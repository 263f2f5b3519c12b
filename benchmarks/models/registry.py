"""A zoo of recipes for PyTorch: names, how each is made, and the optimizers that take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn, optim

__all__ = ["BATCH", "LENGTH", "OPTIMIZERS", "SIZES", "VOCABULARY", "Zoo", "images", "tokens"]

VOCABULARY, BATCH, LENGTH = 96, 2, 12

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
"""What most of transformers' text models call their sizes."""


def _two_groups(model: nn.Module) -> optim.Optimizer:
    """Weight decay for matrices and filters only, as most training scripts have it."""
    own = list(model.parameters())
    decayed, others = [p for p in own if p.ndim > 1], [p for p in own if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return optim.AdamW([group for group in groups if group["params"]], lr=1e-3, betas=(0.9, 0.95))


OPTIMIZERS: dict[str, Callable[[nn.Module], optim.Optimizer]] = {
    "sgd": lambda m: optim.SGD(m.parameters(), lr=1e-2),
    "momentum": lambda m: optim.SGD(m.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-4),
    "nesterov": lambda m: optim.SGD(m.parameters(), lr=1e-2, momentum=0.9, nesterov=True),
    "adam": lambda m: optim.Adam(m.parameters(), lr=1e-3),
    "adamw": lambda m: optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.01),
    "amsgrad": lambda m: optim.Adam(m.parameters(), lr=1e-3, amsgrad=True),
    "adagrad": lambda m: optim.Adagrad(m.parameters(), lr=1e-2),
    "rmsprop": lambda m: optim.RMSprop(m.parameters(), lr=1e-3, centered=True),
    "adadelta": lambda m: optim.Adadelta(m.parameters(), lr=1.0),
    "adamax": lambda m: optim.Adamax(m.parameters(), lr=1e-3),
    "nadam": lambda m: optim.NAdam(m.parameters(), lr=1e-3),
    "radam": lambda m: optim.RAdam(m.parameters(), lr=1e-3),
    "asgd": lambda m: optim.ASGD(m.parameters(), lr=1e-2),
    "adafactor": lambda m: optim.Adafactor(m.parameters(), lr=1e-2),
    "two-groups": _two_groups,
}
"""Name to an optimizer over a model; the models of a zoo take them in turn."""

_PLAIN = "plain"


def _plain(model: nn.Module) -> optim.Optimizer:
    """Descent by whole gradients: they can be read off what a step changes."""
    return optim.SGD(model.parameters(), lr=1.0)


Parts = tuple[Any, Any, Any]
"""A model, its batch and its loss; None for the loss where the model returns it."""


def quiet(config: Any, dropout: float) -> Any:
    """Set every dropout of a configuration, and of those in it, to one rate; what else is drawn is turned off."""
    for key, value in list(vars(config).items()):
        if isinstance(value, float) and any(w in key for w in ("drop", "mask_time_prob", "mask_feature_prob")):
            plain = "drop" in key and "path" not in key and "layer" not in key
            setattr(config, key, dropout if plain else 0.0)
        elif hasattr(value, "to_dict"):
            quiet(value, dropout)
    return config


def tokens(labels: bool = True, mask: bool = True, length: int = LENGTH) -> dict[str, torch.Tensor]:
    """A batch of token numbers that are none of the special ones."""
    ids = torch.randint(3, VOCABULARY, (BATCH, length))
    batch = {"input_ids": ids}
    if mask:
        batch["attention_mask"] = torch.ones(BATCH, length, dtype=torch.long)
    return {**batch, "labels": ids.clone()} if labels else batch


def images(size: int = 32, classes: int = 5) -> Callable[[], dict[str, torch.Tensor]]:
    """What makes a batch of square images, each of a class."""
    return lambda: {
        "pixel_values": torch.randn(BATCH, 3, size, size),
        "labels": torch.randint(0, classes, (BATCH,)),
    }


@dataclass
class Zoo:
    """Recipes by name.

    Attributes:
        makers: Name to a function of attention and dropout that makes the parts of a recipe.
    """

    makers: dict[str, Callable[[str, float], Parts]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def transformers(
        self,
        name: str,
        family: str,
        head: str,
        batch: Callable[[], Mapping[str, Any]] = tokens,
        loss: Callable[[Any, Any], Any] | None = None,
        config: str = "",
        **fields: Any,
    ) -> None:
        """Add a model of transformers: class ``family + head`` with a configuration of ``fields``."""

        def make(attention: str, dropout: float) -> Parts:
            import transformers

            made = quiet(getattr(transformers, config or f"{family}Config")(**fields), dropout)
            made._attn_implementation = attention
            if hasattr(made, "_experts_implementation"):
                made._experts_implementation = "batched_mm"  # the others choose shapes by the values of the router
            made.use_cache = False
            return getattr(transformers, family + head)(made), dict(batch()), loss

        self.add(name, make)

    def add(self, name: str, make: Callable[[str, float], Parts]) -> None:
        """Add a recipe; a name stands for one."""
        if name in self.makers:
            raise ValueError(f"two recipes are called {name}")
        self.makers[name] = make

    def by_hand(
        self,
        name: str,
        model: Callable[[], nn.Module],
        batch: Callable[[], Mapping[str, Any]],
        loss: Callable[[Any, Any], Any],
    ) -> None:
        """Add a model that has no dropout and no choice of attention."""
        self.add(name, lambda attention, dropout: (model(), dict(batch()), loss))

    def with_dropout(
        self,
        name: str,
        model: Callable[[float], nn.Module],
        batch: Callable[[], Mapping[str, Any]],
        loss: Callable[[Any, Any], Any],
    ) -> None:
        """Add a model that is made from its rate of dropout."""
        self.add(name, lambda attention, dropout: (model(dropout), dict(batch()), loss))

    def optimizer_of(self, name: str) -> str:
        """The optimizer whose turn it is at a model."""
        return list(OPTIMIZERS)[list(self.makers).index(name) % len(OPTIMIZERS)]

    def build(
        self, name: str, optimizer: str = "", attention: str = "eager", dropout: float = 0.0
    ) -> tuple[Any, Any, Any, optim.Optimizer]:
        """Make a recipe: a model, an example batch, a loss and an optimizer, the same at each call.

        Args:
            name: The model.
            optimizer: A name of :data:`OPTIMIZERS`, or ``plain``; the one whose turn it is where empty.
            attention: ``eager`` or ``sdpa``, where the model has the choice.
            dropout: The rate of every dropout.
        """
        if name not in self.makers:
            raise ValueError(f"no model {name}; there are {', '.join(sorted(self.makers))}")
        torch.manual_seed(0)
        model, batch, loss = self.makers[name](attention, float(dropout))
        rule = _plain if optimizer == _PLAIN else OPTIMIZERS[optimizer or self.optimizer_of(name)]
        return model, batch, loss, rule(model)
