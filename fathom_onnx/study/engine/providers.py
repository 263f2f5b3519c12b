"""Which providers a study runs on: those asked for, or every one that can really be used here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from fathom_onnx.errors import FathomError, UnknownNameError, UsageError, one_line
from fathom_onnx.exporting import purpose_for
from fathom_onnx.runtime.providers.providers import PROVIDERS
from fathom_onnx.runtime.usable import check_usable
from fathom_onnx.study.cells.plan import Options
from fathom_onnx.workloads.contract import Mode

__all__ = ["ALL", "Chosen", "choose", "device_inputs", "on_provider", "refuse_for_nothing"]

ALL = "all"
"""Stands for every provider that can be used."""


@dataclass(frozen=True)
class Chosen:
    """Providers of a study.

    Attributes:
        names: Those it runs on, the CPU first: its figures and verdicts are about the first.
        left_out: Those that cannot be used, where every one was asked for, and why.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose(asked: str | Sequence[str] | None) -> Chosen:
    """The providers to run on.

    Args:
        asked: Names, or ``all``, or None for all.

    Raises:
        UnknownNameError: No such provider.
        UsageError: None is asked for, or none can be used.
        MissingDependencyError: One that was named, or a library it needs, is absent.
        RunError: One that was named does not work here.
    """
    wanted = (ALL,) if asked is None else (asked,) if isinstance(asked, str) else tuple(asked)
    for name in wanted:
        if name != ALL and name not in PROVIDERS:
            raise UnknownNameError("provider", name, [*PROVIDERS, ALL])
    if not wanted:
        raise UsageError("a study needs a provider", f"name one of {', '.join(PROVIDERS)}, or {ALL}")
    usable: list[str] = []
    left_out: dict[str, str] = {}
    for name in PROVIDERS:
        if name not in wanted and ALL not in wanted:
            continue
        try:
            check_usable(name)
        except FathomError as error:
            if name in wanted:
                raise
            left_out[name] = one_line(error, 300)
        else:
            usable.append(name)
    if not usable:
        raise UsageError(f"no provider can be used: {'; '.join(left_out.values())}", "install one of them")
    return Chosen(tuple(usable), left_out)


def refuse_for_nothing(names: Sequence[str], tf32: bool, serialize: bool) -> None:
    """Refuse settings of CUDA where it is not among some providers.

    Raises:
        UsageError: It is not, and one was given.
    """
    for what, flag, given in (("TensorFloat-32", "--tf32", tf32), ("serialized launching", "--serialize", serialize)):
        if given and "cuda" not in names:
            raise UsageError(f"{what} is for provider 'cuda', which takes no part", f"leave out {flag}")


def on_provider(options: Options, name: str, mode: Mode, tf32: bool = False, serialize: bool = False) -> Options:
    """The options of a cell on a provider; TensorFloat-32 and serialized launching are CUDA's alone.

    A training step is exported for the provider, where no other purpose than onnxruntime was chosen; a purpose is about
    gradients, so that inference has the same graph everywhere.
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
    """What a measurement depends on that one on the CPU does not: the device, its driver, how CUDA is set."""
    return {} if options.ep == "cpu" else {"gpu": [_device(), options.tf32, options.serialize]}


@cache
def _device() -> dict[str, Any]:
    from fathom_onnx.runtime.providers.gpu import gpu_facts

    facts = gpu_facts()
    return {fact: facts[fact] for fact in ("name", "memory_bytes", "driver", "cuda")}
