"""Settings of a session: provider, threads, optimization level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.runtime.providers.names import PROVIDERS

__all__ = ["CUDA_OPTIONS", "DEFAULT_SETTINGS", "LEVELS", "OPTIMIZATIONS", "Optimization", "SessionSettings"]

Optimization = Literal["all", "extended", "basic", "none"]
"""Name of a graph optimization level."""

OPTIMIZATIONS: tuple[Optimization, ...] = get_args(Optimization)
"""All optimization levels, the highest first."""

LEVELS: dict[Optimization, str] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
"""Optimization name to onnxruntime's graph optimization level."""

CUDA_OPTIONS: dict[str, str] = {
    # every form of a convolution is tried in the first run, with as much workspace as it wants
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    # copies wait for the kernels before them: on a stream of their own they can race with these
    "do_copy_in_default_stream": "1",
    # a captured graph is one launch, in which no node can be told from another
    "enable_cuda_graph": "0",
    # convolutions stay in the layout of the graph: no transposes that it does not have
    "prefer_nhwc": "0",
}
"""Options of the CUDA provider that numbers depend on, given in full so that no default can change them unseen; the
session's own report of all its options is in a run's manifest."""


@dataclass(frozen=True)
class SessionSettings:
    """Settings of one session.

    Attributes:
        ep: Provider name of :data:`fathom_onnx.runtime.providers.names.PROVIDERS`.
        threads: Threads inside one operator.
        optimization: Graph optimization level.
        allow_fallback: Whether nodes may run on the CPU when another provider was asked for.
        tf32: Whether CUDA may multiply in TensorFloat-32, which keeps 10 bits of a float32's 23.
        serialize: Whether each launch waits for its kernel, so that the host's times of nodes hold the device's.
        custom_ops: Libraries of operators of someone's own, in the order in which they are registered.
        longest_step_s: Seconds after which a step of a graph with a loop is ended.

    Raises:
        UnknownNameError: No such provider or optimization level.
        UsageError: ``threads`` is below 1, a setting is not for this provider, or a library is no file.
    """

    ep: str = "cpu"
    threads: int = 1
    optimization: Optimization = "all"
    allow_fallback: bool = False
    tf32: bool = False
    serialize: bool = False
    custom_ops: tuple[Path, ...] = ()
    longest_step_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.ep not in PROVIDERS:
            raise UnknownNameError("provider", self.ep, PROVIDERS)
        if self.optimization not in OPTIMIZATIONS:
            raise UnknownNameError("optimization level", self.optimization, OPTIMIZATIONS)
        if self.threads < 1:
            raise UsageError(f"threads cannot be {self.threads}", "give 1 or more")
        if self.tf32 and self.ep != "cuda":
            raise UsageError(f"TensorFloat-32 is not for provider '{self.ep}'", "leave out --tf32, or give --ep cuda")
        if self.serialize and self.ep != "cuda":
            raise UsageError(f"provider '{self.ep}' launches no kernels to serialize", "leave --serialize out")
        for library in self.custom_ops:
            if not library.is_file():
                raise UsageError(f"no file '{library}'", "give a library of operators with --custom-ops")

    @property
    def provider_options(self) -> dict[str, str]:
        """What the provider is told; what is not in it stays as onnxruntime has it."""
        if self.ep != "cuda":
            return {}
        return {**CUDA_OPTIONS, "use_tf32": str(int(self.tf32))}


DEFAULT_SETTINGS = SessionSettings()
"""One thread on the CPU, fully optimized."""
