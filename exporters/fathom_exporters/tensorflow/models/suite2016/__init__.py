"""The eight workloads of 2016 in TensorFlow."""

from __future__ import annotations

from fathom_exporters.tensorflow.models.contract import Model

from . import alexnet, autoenc, deepq, memnet, residual, seq2seq, speech, vgg

__all__ = ["SUITE_2016"]

SUITE_2016: dict[str, Model] = {
    "seq2seq": seq2seq,
    "memnet": memnet,
    "speech": speech,
    "autoenc": autoenc,
    "residual": residual,
    "vgg": vgg,
    "alexnet": alexnet,
    "deepq": deepq,
}
"""A workload's name to the module with its functions."""
