"""The workloads of today in TensorFlow."""

from __future__ import annotations

from fathom_exporters.tensorflow.models.contract import Model

from . import dlrm, gat, llama, mamba, mixtral, ppo, unet, vit

__all__ = ["SUITE_2026"]

SUITE_2026: dict[str, Model] = {
    "llama": llama,
    "llama-decode": llama,
    "mixtral": mixtral,
    "vit": vit,
    "unet": unet,
    "dlrm": dlrm,
    "gat": gat,
    "mamba": mamba,
    "ppo": ppo,
}
"""A workload's name to the module with its functions."""
