"""The functions that write aten operations in ONNX: ours, and those of PyTorch's exporter."""

from __future__ import annotations

import functools
import logging
import types
from collections.abc import Callable
from typing import Any

from torch.onnx._internal.exporter._registration import ONNXRegistry

from fathom_exporters.lowering import OPSET

from .activations import ACTIVATIONS
from .general import GENERAL
from .images import IMAGES
from .precise import PRECISE

__all__ = ["TRANSLATIONS", "registry", "translated_operations"]


def _unannotated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A translation without annotations, by which the exporter would judge whether to call it at all."""
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    target: _unannotated(function) for target, function in {**ACTIVATIONS, **GENERAL, **IMAGES, **PRECISE}.items()
}
"""aten operation to the function that writes it, in place of the exporter's own where there is one."""


@functools.cache
def registry() -> ONNXRegistry:
    """PyTorch's functions that write ONNX, with ours in front."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not there
    known = ONNXRegistry.from_torchlib(OPSET)
    for target, function in TRANSLATIONS.items():
        known.register_op(target, function, is_complex=False)
    return known


@functools.cache
def translated_operations() -> frozenset[Callable[..., Any]]:
    """The operations that have a translation."""
    everything = [function for functions in registry().functions.values() for function in functions]
    return frozenset(function.fx_target for function in everything if not function.is_complex)
