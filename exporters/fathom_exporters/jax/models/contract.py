"""What a workload's model in JAX is: two functions of arrays, plain JAX otherwise.

``layer(name)`` is entered around everything that a layer of the workload computes, once or many times; the step
enters the phases. A model that loops by ``lax.scan`` enters the layer around the scan, since what the scan slices and
stacks belongs to it. Functions with a canonical gradient op are called through :mod:`fathom_exporters.jax.marks`
(``marks.relu``, not ``jax.nn.relu``); everything else is ``jnp`` and ``lax``.

A step is also run in float64: constants are Python numbers, or arrays of the type of what they meet, and no type is
written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import jax
from jax import Array

__all__ = ["Draw", "Model", "Tensors", "layer"]

Tensors = Mapping[str, Array]
"""Arrays by the names of the workload: variables, batch, outputs."""

Draw = Callable[[str], Array]
"""A random tensor of the workload by its name: the one that was given, else drawn. Called within its layer."""


def layer(name: str) -> AbstractContextManager[Any]:
    """While entered, operations belong to a layer of the workload."""
    return jax.named_scope(name)


class Model(Protocol):
    """A workload's model in JAX; a module with these two functions is one."""

    def forward(
        self, config: Any, variables: Tensors, batch: Tensors, noise: Draw, train: bool
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The forward pass.

        Args:
            config: The workload's configuration.
            variables: Parameters, buffers, frozen variables and caches by name, in the workload's layout.
            batch: The batch inputs by name.
            noise: Gives a random tensor by name.
            train: Whether batch normalisation uses the batch's own statistics and dropout drops.

        Returns:
            Tensors by name, the inference outputs among them; and new values of buffers (in training) and caches (in
            inference) by the variable's name.
        """

    def loss(self, config: Any, outputs: Tensors, batch: Tensors) -> Array:
        """The scalar loss from the tensors that ``forward`` returned; the step enters the layer ``loss``."""
