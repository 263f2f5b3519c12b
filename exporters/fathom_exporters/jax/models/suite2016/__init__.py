"""The eight workloads of 2016 in JAX."""

from __future__ import annotations

from fathom_exporters.jax.models.contract import Model

from . import autoenc

__all__ = ["SUITE_2016"]

SUITE_2016: dict[str, Model] = {
    "autoenc": autoenc,
}
"""A workload's name to the module with its functions."""
