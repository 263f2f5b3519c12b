"""The eight workloads of 2016 in JAX."""

from __future__ import annotations

from fathom_exporters.jax.models.contract import Model

from . import alexnet, autoenc, deepq, memnet, residual, seq2seq, speech, vgg

__all__ = ["SUITE_2016"]

SUITE_2016: dict[str, Model] = {
    "autoenc": autoenc,
    "memnet": memnet,
    "deepq": deepq,
    "seq2seq": seq2seq,
    "speech": speech,
    "alexnet": alexnet,
    "vgg": vgg,
    "residual": residual,
}
"""A workload's name to the module with its functions."""
