"""Commands on a model of the user's own: each takes ``FILE.py:build`` where it takes a workload."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.graph import load
from fathom_onnx.runtime.one_step import run_step
from support.fakes.fake_framework import install

MINE = """
from support.fakes.fake_framework import Curve, Descent, Line, batch

def build(w: float = 2.0, count: int = 2, lacking: int = 0, noisy: bool = False):
    return Line(w, lacking=lacking, noisy=noisy), batch(count), None, Descent()

def other():
    return Line(1.0), batch(), None, Descent()

def still():
    return Line(), batch()

def curve():
    return Curve(), batch(), None, Descent()

def stranger():
    return object(), batch()

def broken():
    raise ValueError("no such size")
"""


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_export(mine: Path):
    lines = call("export", "mine.py:build", "-o", "out").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["out/fakenet/line.onnx", "out/fakenet/line-train.onnx"]
    graph = load(mine / "out/fakenet/line-train.onnx")
    assert graph.metadata is not None
    assert (graph.metadata.target, graph.metadata.preset) == ("mine.py:build", "own")
    assert run_step(graph)["loss"] == 20.0
    assert run_step(load(mine / "out/fakenet/line.onnx"))["output"].tolist() == [2.0, 4.0]


def test_export_of_one_graph_to_a_file_with_options(mine: Path):
    found = call(
        "export", "mine.py", "--mode", "training", "--set", "w=1", "--set", "count=3", "-o", "my.onnx", "--json"
    )
    (row,) = json.loads(found.stdout)["graphs"]
    assert (row["path"], row["values_bytes"]) == ("my.onnx", (mine / "values.safetensors").stat().st_size)
    assert run_step(load("my.onnx"))["loss"] == 14.0
    said = call("export", "mine.py", "-o", "my.onnx", code=2).stderr
    assert "'my.onnx' cannot hold 2 graphs; name one workload and --mode, or a folder" in said


def test_targets_of_one_class_have_names_of_their_own(mine: Path):
    call("export", "mine.py:build", "mine.py:other", "mine.py:curve", "--mode", "training", "-o", "out")
    assert {p.name for p in (mine / "out/fakenet").glob("*.onnx")} == {
        "line-build-train.onnx",
        "line-other-train.onnx",
        "curve-train.onnx",
    }
    losses = [run_step(load(f"out/fakenet/line-{name}-train.onnx"))["loss"] for name in ("build", "other")]
    assert losses == [20.0, 5.0]


def test_a_target_does_not_take_the_place_of_another(mine: Path):
    call("export", "mine.py:build", "--mode", "training", "-o", "out")
    said = call("export", "mine.py:other", "--mode", "training", "-o", "out", code=5).stderr
    assert "'out/fakenet/line-train.onnx' is the graph of 'mine.py:build'; choose another folder, or a file" in said
    call("export", "mine.py:build", "--mode", "training", "--set", "w=1", "-o", "out")
    assert run_step(load("out/fakenet/line-train.onnx"))["loss"] == 5.0


def test_a_recipe_without_an_optimizer_has_no_training_graph(mine: Path):
    result = call("export", "mine.py:still", "-o", "out")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["out/fakenet/line.onnx"]
    assert "mine.py:still: its recipe has no optimizer, and so no training graph" in result.stderr
    said = call("export", "mine.py:still", "--mode", "training", "-o", "out", code=2).stderr
    assert "a training step needs an optimizer" in said


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_profile(mine: Path, mode: str):
    found = json.loads(call("profile", "mine.py", "--mode", mode, "--steps", 2, "-o", "run", "--json").stdout)
    assert {row["name"] for row in found["by_layer"]} >= {"line"}
    manifest = json.loads((mine / "run/manifest.json").read_text())
    assert (manifest["workload"], manifest["preset"], manifest["data"]["source"]) == ("line", "own", "example")


def test_verify(mine: Path):
    found = json.loads(call("verify", "mine.py", "--steps", 2, "--json").stdout)
    assert [(check["workload"], check["mode"], check["passed"]) for check in found["checks"]] == [
        ("line", "inference", True),
        ("line", "training", True),
    ]


def test_train(mine: Path):
    found = json.loads(call("train", "mine.py", "--steps", 3, "--set", "w=4", "--json").stdout)
    # w: 4, -1, 0.25
    assert found["losses"] == [80.0, 5.0, 0.3125]
    assert found["source"]["name"] == "example"


def test_show(mine: Path):
    found = json.loads(call("show", "mine.py:build", "--json").stdout)
    assert [row["name"] for row in found["inputs"]["training"]] == ["x", "y"]
    assert [row["name"] for row in found["variables"]] == ["line.w"]
    assert "a model of class Line" in call("show", "mine.py").stdout


def test_gaps(mine: Path):
    assert call("gaps", "mine.py").stdout == "line training: no gaps\n"
    result = call("gaps", "mine.py:build", "--set", "lacking=1", code=1)
    row = result.stdout.splitlines()[-1]
    for part in ("fake.twist", "forward", "line", "2", "mine.py:3 twist(x)", "no translation", "write it as x"):
        assert part in row
    found = json.loads(call("gaps", "mine.py", "--set", "lacking=2", "--json", code=1).stdout)
    assert [gap["operation"] for gap in found["gaps"]] == ["fake.twist"] * 2


@pytest.mark.parametrize("command", ["inspect", "compat", "convert"])
def test_graphs_of_recipes_are_graphs_like_any_other(mine: Path, command: str):
    call("export", "mine.py", "--mode", "training", "-o", "a.onnx")
    if command == "convert":
        call("convert", "a.onnx", "--to", "initializers", "--values", "seed", "-o", "converted")
        assert run_step(load("converted/a.onnx"))["loss"] == 20.0
        assert (mine / "converted/a.values.safetensors").is_file()
        assert (
            "made for the batch of 'mine.py'" in call("convert", "a.onnx", "--to", "batch", "--batch", 4, code=3).stderr
        )
        call("export", "mine.py", "--mode", "inference", "-o", "b.onnx")
        call("convert", "b.onnx", "--to", "initializers", "--values", "seed", "-o", "converted")
        assert run_step(load("converted/b.onnx"))["output"].tolist() == [2.0, 4.0]
    else:
        call(command, "a.onnx")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "nowhere.py:build"], 2, "'nowhere.py' is no file"),
        (["export", "mine.py:bild"], 2, "unknown function of 'mine.py' 'bild'; did you mean 'build'?"),
        (["export", "mine.py:stranger"], 2, "no framework takes a model of class object"),
        (["export", "mine.py:broken"], 7, "'mine.py:broken' fails at mine.py:20: ValueError: no such size"),
        (["export", "mine.py", "--set", "v=1"], 2, "unknown option of 'mine.py' 'v'"),
        (["export", "mine.py", "--set", "w=one"], 2, "option 'w' cannot be 'one'; give a number"),
        (["export", "mine.py", "--set", "w"], 2, "'w' is not FIELD=VALUE"),
        (
            ["export", "mine.py", "--batch", "4"],
            2,
            "--batch is not for 'mine.py'; a graph is made for the batch of its",
        ),
        (["export", "mine.py", "--preset", "tiny"], 2, "--preset is not for 'mine.py'"),
        (["export", "mine.py", "--framework", "torch"], 2, "is one of fakenet, not of torch; leave out --framework"),
        (["export", "mine.py", "--set", "lacking=1"], 7, "fakenet cannot export line (inference): RuntimeError"),
        (["export", "autoenc", "--accumulate", "2"], 2, "--accumulate is for a model of your own"),
        (["export", "autoenc", "--specialise"], 2, "--specialise is for a model of your own"),
        (["export", "mine.py", "--accumulate", "0"], 2, "Invalid value for '--accumulate'"),
        (["profile", "mine.py", "--mode", "all"], 2, "profile runs one graph"),
        (["profile", "mine.py:", "--mode", "all"], 2, "'mine.py:' is not a target"),
        (["train", "mine.py:still"], 2, "a training step needs an optimizer"),
        (["gaps", "residual"], 2, "'residual' is not a target; write it as FILE.py:build"),
        (["gaps", "mine.py:still"], 2, "a training step needs an optimizer"),
        (["verify", "mine.py", "--batch", "4"], 2, "--batch is not for 'mine.py'"),
        (["study", "mine.py", "--preset", "tiny"], 2, "--preset is not for 'mine.py'"),
        (["study", "mine.py", "--set", "v=1"], 2, "unknown option of 'mine.py' 'v'"),
        (["study", "autoenc", "--set", "v=1"], 2, "options are for models of your own, and there is none"),
        (["study", "mine.py", "--framework", "fake"], 2, "is one of fakenet, not of fake"),
        (["sweep", "mine.py", "--preset", "tiny"], 2, "--preset is not for 'mine.py'"),
        (["sweep", "mine.py", "--batch", "4"], 2, "a batch size is not for 'mine.py'"),
        (["profile", "mine.py", "--runtime", "torch"], 2, "'mine.py' is not run in torch by this command"),
    ],
)
def test_each_mistake_is_one_line(arguments: list[str], code: int, said: str):
    result = call(*arguments, code=code)
    assert said in result.stderr
    assert len([line for line in result.stderr.splitlines() if "rror" in line]) in (1, 2)
