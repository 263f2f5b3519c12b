"""How a session runs: provider, threads, optimization level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import UnknownNameError, UsageError
from .providers import PROVIDERS

__all__ = ["LEVELS", "OPTIMIZATIONS", "Optimization", "SessionSettings"]

Optimization = Literal["all", "extended", "basic", "none"]
OPTIMIZATIONS: tuple[Optimization, ...] = get_args(Optimization)

LEVELS: dict[Optimization, str] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
"""Optimization name to onnxruntime's graph optimization level."""


@dataclass(frozen=True)
class SessionSettings:
    """Settings of one session.

    Attributes:
        ep: Provider name of :data:`fathom_onnx.runtime.providers.PROVIDERS`.
        threads: Threads inside one operator.
        optimization: Graph optimization level.
        allow_fallback: Whether nodes may run on the CPU when another provider was asked for.
        serialize: Whether each launch waits for its kernel, so that the host's times of nodes hold the device's.

    Raises:
        UnknownNameError: No such provider or optimization level.
        UsageError: ``threads`` is below 1, or there are no launches to serialize.
    """

    ep: str = "cpu"
    threads: int = 1
    optimization: Optimization = "all"
    allow_fallback: bool = False
    serialize: bool = False

    def __post_init__(self) -> None:
        if self.ep not in PROVIDERS:
            raise UnknownNameError("provider", self.ep, PROVIDERS)
        if self.optimization not in OPTIMIZATIONS:
            raise UnknownNameError("optimization level", self.optimization, OPTIMIZATIONS)
        if self.threads < 1:
            raise UsageError(f"threads cannot be {self.threads}", "give 1 or more")
        if self.serialize and self.ep != "cuda":
            raise UsageError(f"provider '{self.ep}' launches no kernels to serialize", "leave --serialize out")
