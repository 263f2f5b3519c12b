"""Workload definitions: the table of the built-in ones, and those that other packages add by entry point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.plugins import named_part, part_names

from .config import Definition
from .contract import Workload
from .suite2016 import alexnet, autoenc, deepq, memnet, residual, seq2seq, speech, vgg
from .suite2026 import dlrm, gat, llama, mamba, mixtral, ppo, unet, vit

__all__ = [
    "ALL_SUITES",
    "BUILT_IN",
    "ENTRY_POINT_GROUP",
    "SUITES",
    "USUAL_SUITE",
    "definition",
    "names",
    "suite_of",
    "workload",
]

ENTRY_POINT_GROUP = "fathom_onnx.workloads"
"""Another package adds a workload by an entry point of this group that names a :class:`Definition`."""

SUITES: dict[str, tuple[Definition, ...]] = {
    "2016": (
        seq2seq.DEFINITION,
        memnet.DEFINITION,
        speech.DEFINITION,
        autoenc.DEFINITION,
        residual.DEFINITION,
        vgg.DEFINITION,
        alexnet.DEFINITION,
        deepq.DEFINITION,
    ),
    "2026": (
        llama.DEFINITION,
        llama.DECODE_DEFINITION,
        mixtral.DEFINITION,
        vit.DEFINITION,
        unet.DEFINITION,
        dlrm.DEFINITION,
        gat.DEFINITION,
        mamba.DEFINITION,
        ppo.DEFINITION,
    ),
}
"""The workloads of this package by suite: the eight of the paper, and those of today."""

ALL_SUITES = "all"
"""Stands for every suite where one is chosen."""

USUAL_SUITE = "2016"
"""The suite that is meant where none is named."""

BUILT_IN: dict[str, Definition] = {d.name: d for suite in SUITES.values() for d in suite}
"""The workloads of this package, by name."""


def suite_of(name: str) -> str | None:
    """The suite of a workload; None for those of other packages."""
    return next((suite for suite, of_it in SUITES.items() if any(d.name == name for d in of_it)), None)


def names(suite: str = ALL_SUITES) -> tuple[str, ...]:
    """The names of a suite's workloads, and after them of those of other packages, which belong to every suite.

    Raises:
        UnknownNameError: No such suite.
    """
    if suite not in (*SUITES, ALL_SUITES):
        raise UnknownNameError("suite", suite, [*SUITES, ALL_SUITES])
    built_in = [name for name in BUILT_IN if suite in (suite_of(name), ALL_SUITES)]
    return tuple(dict.fromkeys([*built_in, *part_names(ENTRY_POINT_GROUP)]))


def definition(name: str) -> Definition:
    """The definition of a workload.

    Raises:
        UnknownNameError: No such workload.
        MissingDependencyError: Another package's entry point does not give one.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name not in part_names(ENTRY_POINT_GROUP):
        raise UnknownNameError("workload", name, names())
    return named_part(ENTRY_POINT_GROUP, name, "workload", Definition)


def workload(name: str, preset: str = "paper", changes: Mapping[str, Any] | None = None) -> Workload:
    """A workload at a preset, with some configuration fields changed (values, or text that is parsed by field type)."""
    return definition(name).configure(preset, changes)
