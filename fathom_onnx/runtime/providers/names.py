"""Execution providers: their short names, and the check that one is installed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from fathom_onnx.errors import MissingDependencyError, UnknownNameError, one_line

from .cuda_libraries import check_cuda, preload, wheels

__all__ = ["FATAL_ONLY", "PROVIDERS", "Provider", "check_provider", "onnxruntime"]


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    Attributes:
        name: The name users give.
        full_name: onnxruntime's name.
        device: onnxruntime's device name, for buffers.
        extra: The pip extra that brings it.
    """

    name: str
    full_name: str
    device: str
    extra: str

    @property
    def fix(self) -> str:
        """The command that installs it."""
        return f"pip install 'fathom-onnx[{self.extra}]'"


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("cpu", "CPUExecutionProvider", "cpu", "cpu"),
    "cuda": Provider("cuda", "CUDAExecutionProvider", "cuda", "cuda"),
}
"""Name to provider, the default one first."""

FATAL_ONLY = 4
"""Level of onnxruntime's log at which it says nothing about an error that it also raises."""

BOTH_WHEELS = ": onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files"


def onnxruntime(extra: str = "cpu") -> ModuleType:
    """The onnxruntime module, imported when first asked for.

    Its log is silent: what goes wrong is raised as an error, whose text has all that the log would say.

    Raises:
        MissingDependencyError: It is not installed or cannot be loaded.
    """
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingDependencyError(
            f"onnxruntime cannot be used ({one_line(error, 120)})", f"pip install 'fathom-onnx[{extra}]'"
        ) from error
    module.disable_telemetry_events()  # for one that was loaded before this package
    # what is said outside of sessions, of a provider whose libraries do not load; sessions have a level of their own
    module.set_default_logger_severity(FATAL_ONLY)
    return module


def check_provider(name: str) -> Provider:
    """The provider of a short name, after checking that this onnxruntime has it.

    Raises:
        UnknownNameError: No provider of this name.
        MissingDependencyError: onnxruntime, the provider in it, or what the provider needs is absent.
    """
    if name not in PROVIDERS:
        raise UnknownNameError("provider", name, PROVIDERS)
    provider = PROVIDERS[name]
    module = onnxruntime(provider.extra)
    available = list(module.get_available_providers())
    if provider.full_name not in available:
        both = len(wheels()) > 1
        raise MissingDependencyError(
            f"provider '{name}' needs {provider.full_name}, which this onnxruntime {module.__version__} does not have "
            f"(it has {', '.join(available)}){BOTH_WHEELS if both else ''}",
            f"pip uninstall onnxruntime onnxruntime-gpu, then {provider.fix}" if both else provider.fix,
        )
    if name == "cuda":
        preload(module)
        check_cuda(module)
    return provider
