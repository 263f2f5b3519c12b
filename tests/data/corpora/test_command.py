"""``fathom-onnx train --data READER:PATH``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.data.corpora import READERS
from fathom_onnx.training import CheckpointFolder

from .test_mnist import idx


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments), "--threads", "1"])


@pytest.fixture
def graph(tiny, tmp_path: Path) -> Path:
    path = tmp_path / "autoenc-train.onnx"
    path.write_bytes(tiny("autoenc", "torch", "training").model.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 10)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (count, 14, 14))))
    return tmp_path


@pytest.mark.slow
def test_a_run_reads_a_corpus_and_keeps_its_name(graph: Path, folder: Path) -> None:
    run = ("--data", f"mnist:{folder}", "--checkpoint", folder / "run")
    told = json.loads(call(graph, "--steps", 3, "--json", *run).stdout)
    assert told["source"]["name"] == f"mnist:{folder}"
    assert told["source"]["kind"] == "real"
    kept = CheckpointFolder(folder / "run").latest()[0]
    assert kept is not None
    # the training part, evaluated or not
    assert kept.manifest["data"] == f"mnist:{folder} (training)"
    other = call(graph, "--steps", 5, *run, "--resume", "--data", f"mnist:{folder}/train-images-idx3-ubyte")
    assert other.exit_code == 2
    assert "is of a run with another data source" in other.output
    whole = json.loads(call(graph, "--steps", 5, "--json", "--data", f"mnist:{folder}").stdout)
    rest = json.loads(call(graph, "--steps", 5, "--json", *run, "--resume", "--eval-every", 5).stdout)
    assert (rest["first_step"], rest["losses"]) == (4, whole["losses"])
    assert {row["name"] for row in rest["metrics"]} == {"held-out loss", "reconstruction"}


def test_the_help_lists_the_readers() -> None:
    told = " ".join(CliRunner().invoke(main, ["train", "--help"]).output.split())
    assert f"as READER:PATH: {', '.join(READERS)}." in told


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ("minst:x", 2, "unknown reader of corpora 'minst'; did you mean 'mnist'"),
        ("mnist:", 2, "names no path"),
        ("mnist:none", 6, "no file 'none'; expected an IDX file of images"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(graph: Path, data: str, code: int, message: str) -> None:
    result = call(graph, "--steps", 1, "--data", data)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
