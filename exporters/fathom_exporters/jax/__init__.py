"""The JAX exporter: record a step as a jaxpr, translate its primitives and marks, lower it.

In comes an export request for a workload with a model in :mod:`fathom_exporters.jax.models`; out goes a finished
graph, or the framework's own step to compare it with. Importing this package needs JAX and optax.
"""

from .exporter import JaxExporter

__all__ = ["JaxExporter"]
