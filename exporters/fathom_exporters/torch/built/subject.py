"""Workloads with a model of their own, this package's and those of plug-ins, as subjects of a recording."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from fathom_exporters.torch.models import make
from fathom_exporters.torch.stepping import Subject
from fathom_exporters.torch.stepping.averages import unread_counters
from fathom_onnx.workloads.contract import RATE, Mode, Workload

from .optimizers import optimizer_of, slots_of

__all__ = ["LARGEST", "built_subject"]

LARGEST = 2**30
"""Bytes of parameters from which a model is made without memory, and with it any tensor that its class computes."""


def built_subject(workload: Workload, mode: Mode) -> Subject:
    """The subject of a workload: its model, its loss and its optimizer.

    The counters of batches that nothing reads are values of the step alone: the workload leaves them out. A model that
    is too large to be made for nothing (:data:`LARGEST`) is made without memory: a step's tensors take the places of
    its own anyway.

    Raises:
        UnknownNameError: The workload has no model in PyTorch.
        ExportError: The model has other parameters or buffers than the workload.
    """
    large = 4 * sum(p.elements for p in workload.parameters) > LARGEST
    with torch.device("meta") if large else contextlib.nullcontext():
        model = make(workload)
    model.train(mode == "training")
    own = dict(model.named_parameters())
    parameters = {p.name: own[p.name] for p in workload.parameters}
    names = [v.name for v in (*workload.parameters, *workload.buffers, *workload.frozen)]
    return Subject(
        model=model,
        workload=workload,
        paths={name: name for name in names},
        parameters=parameters,
        forward=lambda batch: model(batch),
        loss=cast("Callable[..., Tensor]", model.loss),
        optimizer=optimizer_of(workload, parameters.values()) if mode == "training" else None,
        slots=slots_of(workload) if mode == "training" else {},
        options={(0, "lr"): RATE} if workload.rate_input else {},
        counters=frozenset(unread_counters(model) - {v.name for v in workload.buffers}),
    )
