"""Suites: which workloads are meant where none is named."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.workloads import BUILT_IN, SUITES, names, suite_of

OLD = ["seq2seq", "memnet", "speech", "autoenc", "residual", "vgg", "alexnet", "deepq"]


def test_suites_share_no_name_and_make_up_all_workloads() -> None:
    assert [d.name for d in SUITES["2016"]] == OLD
    assert sum(len(suite) for suite in SUITES.values()) == len(BUILT_IN)
    assert list(names("2016")) == OLD
    assert list(names()) == [*OLD, *(d.name for d in SUITES["2026"])]
    assert suite_of("vgg") == "2016"
    assert suite_of("perceptron") is None
    with pytest.raises(UnknownNameError, match="unknown suite '2025'"):
        names("2025")


@pytest.mark.parametrize("suite", ["2016", "2026", "all"])
def test_list_shows_the_suite_that_is_asked_for(suite: str) -> None:
    found = CliRunner().invoke(main, ["list", "--suite", suite, "--preset", "tiny", "--json"])
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)["workloads"]
    assert [row["name"] for row in rows] == list(names(suite))
    assert {row["suite"] for row in rows} <= ({suite} if suite != "all" else set(SUITES))


def test_an_unknown_suite_is_refused() -> None:
    found = CliRunner().invoke(main, ["list", "--suite", "2025"])
    assert found.exit_code == 2
    assert "2025" in found.output
