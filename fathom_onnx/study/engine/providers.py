"""The providers that a study runs on: the requested ones, or every one that works on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from fathom_onnx.errors import FathomError, UnknownNameError, UsageError, one_line
from fathom_onnx.exporting import purpose_for
from fathom_onnx.runtime.providers.names import PROVIDERS
from fathom_onnx.runtime.usable import check_usable
from fathom_onnx.study.cells.plan import Options
from fathom_onnx.workloads.contract import Mode

__all__ = ["ALL", "ChosenProviders", "choose", "device_inputs", "on_provider", "refuse_unused_settings"]

ALL = "all"
"""Name that stands for every provider that can be used."""


@dataclass(frozen=True)
class ChosenProviders:
    """Providers of a study.

    Attributes:
        names: Providers that it runs on, the CPU first: figures and verdicts are about the first.
        left_out: Providers that cannot be used, with the reason, where all were requested.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose(requested: str | Sequence[str] | None) -> ChosenProviders:
    """The providers to run on.

    Args:
        requested: Names, or ``all``, or None for all.

    Raises:
        UnknownNameError: No such provider.
        UsageError: The list is empty, or no provider can be used.
        MissingDependencyError: A named provider, or a library it needs, is not installed.
        RunError: A named provider does not work on this machine.
    """
    chosen = (ALL,) if requested is None else (requested,) if isinstance(requested, str) else tuple(requested)
    for name in chosen:
        if name != ALL and name not in PROVIDERS:
            raise UnknownNameError("provider", name, [*PROVIDERS, ALL])
    if not chosen:
        raise UsageError("a study needs a provider", f"name one of {', '.join(PROVIDERS)}, or {ALL}")
    usable: list[str] = []
    left_out: dict[str, str] = {}
    for name in PROVIDERS:
        if name not in chosen and ALL not in chosen:
            continue
        try:
            check_usable(name)
        except FathomError as error:
            if name in chosen:
                raise
            left_out[name] = one_line(error, 300)
        else:
            usable.append(name)
    if not usable:
        raise UsageError(f"no provider can be used: {'; '.join(left_out.values())}", "install one of them")
    return ChosenProviders(tuple(usable), left_out)


def refuse_unused_settings(names: Sequence[str], tf32: bool, serialize: bool) -> None:
    """Refuse CUDA's settings where CUDA is not among the providers.

    Raises:
        UsageError: One was given without it.
    """
    for what, flag, given in (("TensorFloat-32", "--tf32", tf32), ("serialized launching", "--serialize", serialize)):
        if given and "cuda" not in names:
            raise UsageError(f"{what} is for provider 'cuda', which takes no part", f"leave out {flag}")


def on_provider(options: Options, name: str, mode: Mode, tf32: bool = False, serialize: bool = False) -> Options:
    """The options of a cell on a provider; TensorFloat-32 and serialized launching apply to CUDA only.

    A training step is exported for the provider, unless the options name another purpose than onnxruntime; a purpose
    concerns gradients, so that inference has the same graph on all providers.
    """
    purpose = options.purpose
    if mode == "training" and purpose == "onnxruntime":
        purpose = purpose_for(name)
    graphs = purpose if purpose != options.purpose else ""
    on_cuda = name == "cuda"
    return replace(
        options, ep=name, tf32=tf32 and on_cuda, serialize=serialize and on_cuda, purpose=purpose, graphs=graphs
    )


def device_inputs(options: Options) -> dict[str, Any]:
    """What a measurement on another provider than the CPU also depends on: the device, its driver, CUDA's settings."""
    return {} if options.ep == "cpu" else {"gpu": [_device(), options.tf32, options.serialize]}


@cache
def _device() -> dict[str, Any]:
    from fathom_onnx.runtime.providers.gpu import gpu_facts

    facts = gpu_facts()
    return {fact: facts[fact] for fact in ("name", "memory_bytes", "driver", "cuda")}
