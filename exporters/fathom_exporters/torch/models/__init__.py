"""The models in PyTorch, one file a workload, and those that other packages add by entry point.

A model is an ``nn.Module`` class made from the workload's configuration. Its submodules bear the workload's layer
names and its parameters and buffers the workload's variable names. ``forward(batch)`` takes the batch inputs by name
(and the noise, where that is given) and returns tensors by name, the inference outputs among them; ``loss(outputs,
batch)`` makes the scalar loss from them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Workload

__all__ = ["BUILT_IN", "ENTRY_POINT_GROUP", "make", "names"]

ENTRY_POINT_GROUP = "fathom_onnx.models.torch"
"""Another package adds a model by an entry point of this group that names the module class."""

BUILT_IN: tuple[str, ...] = ("seq2seq", "memnet", "speech", "autoenc", "residual", "vgg", "alexnet", "deepq")
"""Workloads with a model here, each the class ``Model`` in the module of the same name."""


def _added() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def names() -> tuple[str, ...]:
    """Workloads that have a PyTorch model."""
    return tuple(dict.fromkeys([*BUILT_IN, *sorted(_added())]))


def make(workload: Workload) -> Any:
    """The model of a workload, with PyTorch's own starting values.

    Raises:
        ExportError: It has other parameters or buffers than the workload says.
    """
    if workload.name in BUILT_IN:
        cls = import_module(f"{__name__}.{workload.name}").Model
    else:
        cls = _added()[workload.name].load()
    model = cls(workload.config)
    for module in model.modules():
        if hasattr(module, "num_batches_tracked"):
            # counts steps only for a cumulative average, which no workload uses; as a buffer it would be state
            module.num_batches_tracked = None
    frozen = {v.name for v in workload.frozen}
    parameters = dict(model.named_parameters())
    _compare("parameters", {n: p for n, p in parameters.items() if n not in frozen}, workload.parameters)
    _compare("frozen variables", {n: p for n, p in parameters.items() if n in frozen}, workload.frozen)
    _compare("buffers", dict(model.named_buffers()), workload.buffers)
    return model


def _compare(kind: str, found: dict[str, Any], wanted: tuple[Any, ...]) -> None:
    have = {name: tuple(value.shape) for name, value in found.items()}
    want = {v.name: v.shape for v in wanted}
    if have == want:
        return
    for name in sorted(have.keys() | want.keys()):
        if have.get(name) != want.get(name):
            raise ExportError(
                f"the PyTorch model's {kind} differ from the workload's: '{name}' is {have.get(name, 'absent')}, "
                f"the workload says {want.get(name, 'none of that name')}"
            )
