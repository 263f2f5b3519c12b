"""The page on models of one's own: each of its files is exported, run and judged; its example and commands work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.exporting import ExportRequest, export_graph, find_exporter, read_recipe
from fathom_onnx.graph import load
from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.frameworks import framework_of
from fathom_onnx.recipes.target import Target
from fathom_onnx.runtime.one_step import run_step
from support.documents import blocks, files
from support.paths import DOCS

PAGE = "guide/your-own-model.md"
FILES = files(PAGE)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's files, in the folder that the test works in."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(Path(name).stem, None)


def _recipe(name: str) -> Recipe:
    """The recipe of one of the page's files, if the exporter of its framework takes models of one's own."""
    recipe = Target.parse(name).build()
    framework = framework_of(recipe.model)
    if not hasattr(find_exporter(framework), "workload"):
        pytest.skip(f"the exporter of {framework} takes no models of one's own")
    return recipe


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_every_block_is_a_file_or_the_python_example() -> None:
    assert len(blocks(PAGE, "python")) == len(FILES) + 1


@pytest.mark.parametrize("name", list(FILES))
def test_each_file_is_exported_and_runs(name: str) -> None:
    workload = read_recipe(_recipe(name), name)
    result = run_step(export_graph(workload.framework, ExportRequest(workload, "training")))
    assert np.isfinite(result["loss"])
    assert {f"{p.name}.next" for p in workload.parameters} <= set(result)


@pytest.mark.parametrize("name", list(FILES))
def test_each_file_is_verified(name: str) -> None:
    _recipe(name)
    assert "2 of 2 comparisons passed" in call("verify", name, "--steps", 2)


def test_the_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    _recipe("perceptron.py")
    (example,) = [block for block in blocks(PAGE, "python") if block not in FILES.values()]
    exec(compile(example, PAGE, "exec"), {})
    assert "(32, 20)" in capsys.readouterr().out


def test_the_commands(folder: Path) -> None:
    _recipe("perceptron.py")
    page = (DOCS / PAGE).read_text()
    lines = [line.strip().split()[1:] for line in page.splitlines() if line.startswith("    fathom-onnx ")]
    assert len(lines) == 7
    for words in lines:
        if words[0] != "study":  # which takes minutes
            call(*words)
    assert load(folder / "out/sequential-train.onnx").metadata is not None
    assert (folder / "run/manifest.json").is_file()
    assert run_step(load(folder / "out/accumulated/sequential-train.onnx"))["loss"] > 0


def test_a_learning_rate_that_is_a_tensor_is_an_input() -> None:
    workload = read_recipe(_recipe("clipped.py"))
    assert any("lr" in v.name or "learning_rate" in v.name for v in workload.variables("training"))
