"""The code that stored results depend on: what a stage imports is in its hash, what it does not need is not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import grimp
import pytest

from fathom_onnx.study import Cell, Job, Options
from fathom_onnx.study.engine.inputs import export_inputs, native_inputs
from fathom_onnx.study.engine.sources import PACKAGE, SOURCES, Sources, exporter_facts, source_hash

ROOTS: dict[str, tuple[str, ...]] = {
    "export": ("fathom_onnx.exporting", "fathom_exporters.torch", "fathom_exporters.tensorflow"),
    "verify": ("fathom_onnx.verification", "fathom_onnx.exporting"),
    "structure": ("fathom_onnx.analysis.similarity.op_mix", "fathom_onnx.graph"),
    "profile": ("fathom_onnx.profiling", "fathom_onnx.graph"),
    "native": (
        *("fathom_onnx.native_profiling", "fathom_exporters.torch.native", "fathom_exporters.tensorflow.native"),
    ),
    "ceilings": ("fathom_onnx.runtime.ceilings", "fathom_onnx.runtime.ceilings.measured"),
    "pool": ("fathom_onnx.analysis.runs.pooled",),
}
"""Stage to the modules that its work and the exporters' entry points run."""


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("fathom_onnx", "fathom_exporters", cache_dir=None)


def imported(*roots: str) -> set[str]:
    """Modules and what they import, directly or not, in functions too, without this package's presentation of names."""
    graph = import_graph()
    return set(roots).union(*(graph.find_upstream_modules(root) for root in roots))


def path_of(module: str) -> Path:
    base = PACKAGE.parent.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@pytest.mark.parametrize("stage", SOURCES)
def test_whatever_a_stage_imports_is_part_of_its_key(stage: str) -> None:
    modules = sorted(m for m in imported(*ROOTS[stage]) if m.startswith("fathom_onnx"))
    assert [m for m in modules if not SOURCES[stage].covers(path_of(m))] == []


@pytest.mark.parametrize("stage", SOURCES)
def test_every_path_of_a_stage_exists(stage: str) -> None:
    sources = SOURCES[stage]
    assert [part for part in (*sources.parts, *sources.without) if not (PACKAGE / part).exists()] == []


@pytest.mark.parametrize("stage", SOURCES)
@pytest.mark.parametrize(
    "room",
    [
        "cli",
        "compat",
        "convert",
        "study",
        *(f"analysis/{room}" for room in ("comparison", "overlays", "paper", "report")),
    ],
)
def test_presentation_is_part_of_no_key(stage: str, room: str) -> None:
    assert list((PACKAGE / room).rglob("*.py"))
    assert not [path for path in (PACKAGE / room).rglob("*.py") if SOURCES[stage].covers(path)]


def test_a_hash_is_of_the_files_it_is_asked_of() -> None:
    everything = source_hash()
    assert everything == source_hash(Sources((".",), ()))
    assert source_hash(Sources((".",), ("cli",))) != everything
    assert source_hash(Sources(("graph",))) != source_hash(Sources(("workloads",)))


def test_an_exporters_facts_name_its_framework_without_the_others() -> None:
    torch, tensorflow = exporter_facts("torch"), exporter_facts("tensorflow")
    assert {"torch", "onnx"} <= set(torch["packages"])
    assert not [name for name in torch["packages"] if name.startswith("tensorflow")]
    assert any(name.startswith("tensorflow") for name in tensorflow["packages"])
    assert torch["exporter_sources"] != tensorflow["exporter_sources"]


def test_keys_of_exports_hold_the_source_of_the_package_and_of_the_exporter(tmp_path: Path) -> None:
    job = Job(Cell("autoenc", "torch", "inference"), Options(preset="tiny"), tmp_path)
    export, native = export_inputs(job), native_inputs(job)
    assert export["sources"] == source_hash(SOURCES["export"])
    assert native["sources"] == source_hash(SOURCES["native"])
    assert export["exporter_sources"] == native["exporter_sources"] == exporter_facts("torch")["exporter_sources"]
