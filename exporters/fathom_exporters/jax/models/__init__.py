"""The models in JAX, one file a workload, and those that other packages add by entry point.

A model is a module (or any object) with two pure functions, ``forward`` and ``loss``:
:class:`fathom_exporters.jax.models.contract.Model`. They name every layer as the workload does.
"""

from __future__ import annotations

import jax

from fathom_exporters.framework import Framework

from .contract import Model
from .suite2016 import SUITE_2016

__all__ = ["JAX", "Model"]

JAX: Framework[Model] = Framework("jax", "JAX", str(jax.__version__), SUITE_2016)
"""JAX and its models: a workload's name to the module with its functions."""
