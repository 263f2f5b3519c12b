"""Commands on workloads of other packages, with as little in their configurations as there can be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.errors import MissingDependencyError
from fathom_onnx.workloads import SUITES, USUAL_SUITE, workload
from support.fakes import plug_ins

USUAL = [definition.name for definition in SUITES[USUAL_SUITE]]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@dataclass(frozen=True)
class Odd:
    """Fields without a source, some of which are no numbers above zero."""

    rate: float = 0.0
    bias: bool = False
    name: str | None = None
    width: int = 2


@dataclass(frozen=True)
class Batched:
    batch: int = 4


def listed() -> tuple[dict[str, Any], dict[str, Any]]:
    """The last row of the list, and what was left out; the built-in workloads are all there."""
    result = call("list", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["name"] for row in found["workloads"]][: len(USUAL)] == USUAL
    return found["workloads"][-1], found["left_out"]


@pytest.mark.parametrize(("config", "batch"), [(plug_ins.NoFields(), None), (Odd(), None), (Batched(), 4)])
def test_list_and_show_take_any_configuration(monkeypatch: pytest.MonkeyPatch, config: Any, batch: int | None) -> None:
    plug_ins.install(monkeypatch, {"line": plug_ins.definition(config)})
    row, left_out = listed()
    assert (row["name"], row["parameters"], row["batch"], left_out) == ("line", 6, batch, {})
    (printed,) = [text for text in call("list").stdout.splitlines() if text.startswith("line ")]
    assert printed.split()[-1] == ("6" if batch is None else "4")
    shown = call("show", "line", "--json")
    assert shown.exit_code == 0, shown.output
    assert "workload 'line' has no model in torch" in shown.stderr
    assert [v["name"] for v in json.loads(shown.stdout)["variables"]] == ["linear.weight"]
    assert call("show", "line").exit_code == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (plug_ins.definition(preset="base"), "unknown preset 'paper'; known: base"),
        (ImportError("No module named 'absent'"), "cannot be loaded (ImportError: No module named 'absent')"),
        (RuntimeError("no device"), "cannot be loaded (RuntimeError: no device)"),
        (plug_ins.line, "is no Definition but of type function"),
        (plug_ins.definition({"batch": 1}), "is no dataclass"),
    ],
)
def test_list_leaves_out_what_cannot_be_made_and_says_why(
    monkeypatch: pytest.MonkeyPatch, given: Any, reason: str
) -> None:
    plug_ins.install(monkeypatch, {"line": given})
    row, left_out = listed()
    assert row["name"] == USUAL[-1]
    assert reason in left_out["line"]
    result = call("list")
    assert result.exit_code == 0
    assert reason in result.stderr
    shown = call("show", "line")
    assert shown.exit_code in (2, 4)
    assert shown.stderr.count("\n") == 1
    assert reason in shown.stderr


def test_a_field_that_only_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_ins.install(monkeypatch, {"line": plug_ins.definition()})
    result = call("list", "--batch", "8", "--json")
    found = json.loads(result.stdout)
    assert {row["batch"] for row in found["workloads"]} == {8}
    assert "unknown field 'batch'" in found["left_out"]["line"]


def test_only_fields_that_are_changed_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_ins.install(monkeypatch, {"line": plug_ins.definition(Odd())})
    made = workload("line", changes={"rate": 0.0, "bias": False, "name": None, "width": "5"})
    assert made.config == Odd(width=5)
    assert made.batch_size is None


def test_a_package_that_cannot_be_loaded_is_an_error_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_ins.install(monkeypatch, {"line": OSError("gone")})
    with pytest.raises(MissingDependencyError, match=r"workload 'line'.*\(OSError: gone\)"):
        workload("line")


def test_an_unknown_preset_is_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_ins.install(monkeypatch, {"line": plug_ins.definition()})
    result = call("list", "--preset", "papr")
    assert result.exit_code == 2
    assert "did you mean 'paper'" in result.stderr
