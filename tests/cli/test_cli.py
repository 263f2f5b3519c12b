"""The command line: what it prints, its JSON, its exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

import fathom_onnx.plugins as plugins
from fathom_onnx.cli import main
from fathom_onnx.graph import load
from support.paths import GRAPHS


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def dynamic_model(path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "block/act/Relu")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.mark.slow
def test_export(tmp_path: Path) -> None:
    out = tmp_path / "graphs"
    result = call("export", "autoenc", "--framework", "all", "--preset", "tiny", "--batch", 4, "-o", out)
    assert result.exit_code == 0, result.output
    names = [f"{folder}autoenc{part}.onnx" for folder in ("", "tensorflow/", "jax/") for part in ("", "-train")]
    lines = result.stdout.strip().splitlines()
    assert [line.split()[0] for line in lines] == [str(out / name) for name in names]
    assert all(" nodes  " in line and line.endswith(" s") for line in lines)
    graph = load(out / "autoenc-train.onnx")
    assert graph.inputs[0].shape == (4, 196)
    assert graph.metadata is not None
    assert graph.metadata.config["batch"] == 4


@pytest.mark.slow
def test_a_framework_without_a_model_is_left_out_of_all(tmp_path: Path) -> None:
    arguments = ["export", "dlrm", "--mode", "inference", "--preset", "tiny", "-o", tmp_path]
    result = call(*arguments, "--framework", "all")
    assert result.exit_code == 0, result.output
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.onnx")} == {
        "dlrm.onnx",
        "tensorflow/dlrm.onnx",
    }
    assert "left out: workload 'dlrm' has no model in jax" in result.stderr
    result = call(*arguments, "--framework", "jax")
    assert result.exit_code == 7
    assert "workload 'dlrm' has no model in jax" in result.stderr


@pytest.mark.slow
def test_export_json(tmp_path: Path) -> None:
    result = call("export", "autoenc", "--preset", "tiny", "--mode", "inference", "--json", "-o", tmp_path)
    found = json.loads(result.stdout)
    assert found["schema"] == "fathom-onnx/export/1"
    (row,) = found["graphs"]
    assert row["size_bytes"] == Path(row["path"]).stat().st_size
    assert row["nodes"] == len(load(row["path"]).model.graph.node)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "residul"], 2, "unknown workload 'residul'; did you mean 'residual'?"),
        (["export", "residual", "--set", "bach=2"], 2, "unknown field 'bach'; did you mean 'batch'?"),
        (["export", "residual", "--set", "batch"], 2, "'batch' is not FIELD=VALUE; write it as FIELD=VALUE"),
        (["export", "residual", "--set", "batch=x"], 2, "field 'batch' cannot be 'x'; give a whole number"),
        (["export", "residual", "--set", "image=50"], 2, "image side 50 is not a multiple of 32"),
        (["export", "--preset", "papr"], 2, "unknown preset 'papr'; did you mean 'paper'?"),
        (["export", "autoenc", "--framework", "torhc"], 2, "unknown framework 'torhc'; did you mean 'torch'?"),
        (["export", "autoenc", "--preset", "tiny", "--for", "simulator"], 2, "Invalid value for '--for'"),
        (["profile", "none.onnx"], 3, "no file 'none.onnx'; give the path of an .onnx file"),
        (["profile", "residul"], 2, "unknown workload 'residul'; did you mean 'residual'?"),
        (["profile", "autoenc", "--ep", "cudda"], 2, "unknown provider 'cudda'; did you mean 'cuda'?"),
        (["profile", "autoenc", "--optimization", "al"], 2, "unknown optimization level 'al'; did you mean 'all'?"),
        (["profile", "autoenc", "--mode", "all"], 2, "profile runs one graph"),
        (["verify", "autoenc", "--framework", "mxnet"], 2, "unknown framework 'mxnet'"),
        (["train", "none.onnx"], 3, "no file 'none.onnx'"),
        (["show", "autoenk"], 2, "unknown workload 'autoenk'; did you mean 'autoenc'?"),
        (["study", "autoenk"], 2, "unknown workload 'autoenk'; did you mean 'autoenc'?"),
        (["profil", "x"], 2, "unknown command 'profil'; did you mean 'profile'?"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(
        *arguments, *(["--preset", "tiny"] if arguments[0] == "profile" and "--preset" not in arguments else [])
    )
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert len([line for line in result.stderr.splitlines() if "rror" in line]) == 1
    assert not list(tmp_path.rglob("*.onnx"))


def test_bad_graph_files(tmp_path: Path) -> None:
    text, cut, dynamic = (tmp_path / f"{name}.onnx" for name in ("text", "cut", "dynamic"))
    text.write_text("no graph")
    call("export", "autoenc", "--preset", "tiny", "--mode", "inference", "-o", tmp_path)
    cut.write_bytes((tmp_path / "autoenc.onnx").read_bytes()[:3000])
    dynamic_model(dynamic)
    for path, said in (
        (text, "is not an ONNX file or is cut short"),
        (cut, "cut"),
        (dynamic, "dynamic dimension 'N' of input 'x' and no value for it; give one with --dim N=N"),
    ):
        result = call("profile", path, "-o", tmp_path / "run")
        assert result.exit_code == 3, result.output
        assert said in result.stderr
        assert not (tmp_path / "run").exists()
    result = call("profile", dynamic, "--dim", "N=4", "--steps", 2, "--json", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in json.loads(result.stdout)["by_op"]] == ["Relu"]
    assert [row["name"] for row in json.loads(result.stdout)["by_layer"]] == ["block/act"]
    for bad in ("M=3", "N=x", "N=-1"):
        assert call("profile", dynamic, "--dim", bad).exit_code == 2


@pytest.mark.slow
def test_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in (
        ["export", "autoenc", "--preset", "tiny", "-o", tmp_path / "file"],
        ["study", "autoenc", "--preset", "tiny", "-o", tmp_path / "file" / "x"],
    ):
        result = call(*command)
        assert result.exit_code == 5, result.output
        assert "cannot" in result.stderr
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "precious.txt").write_text("mine")
    result = call("profile", "autoenc", "--preset", "tiny", "--steps", 1, "-o", kept)
    assert result.exit_code == 5, result.output
    assert "is not empty and not a run folder" in result.stderr
    assert os.listdir(kept) == ["precious.txt"]


@pytest.mark.slow
def test_a_missing_provider_names_the_extra() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    result = call("profile", "autoenc", "--preset", "tiny", "--ep", "cuda")
    assert result.exit_code == 4, result.output
    assert "pip install 'fathom-onnx[cuda]'" in result.stderr


def test_a_missing_framework_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Absent:
        name = "torch"

        def load(self) -> None:
            raise ImportError("No module named 'torch'")

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Absent()])
    result = call("export", "autoenc", "-o", tmp_path)
    assert result.exit_code == 4
    assert "pip install 'fathom-onnx[torch]'" in result.stderr


@pytest.mark.slow
def test_profile_prints_and_keeps(tmp_path: Path) -> None:
    result = call(
        "profile", "residual", "--preset", "tiny", "--mode", "inference", "--steps", 3, "-o", tmp_path / "run"
    )
    assert result.exit_code == 0, result.output
    for said in ("step, unprofiled", "outside nodes", "D Convolution", "Conv2D", "layer1.0.conv1", "By phase"):
        assert said in result.stdout
    assert {"manifest.json", "nodes.csv", "trace.json.gz", "timeline.json.gz"} <= set(os.listdir(tmp_path / "run"))


@pytest.mark.slow
def test_profile_json_adds_up() -> None:
    result = call("profile", "autoenc", "--preset", "tiny", "--steps", 3, "--json")
    found = json.loads(result.stdout)
    assert found["schema"] == "fathom-onnx/run/3"
    parts = found["attributed_us"] + found["charged_us"] + found["unattributed_us"]
    assert parts == pytest.approx(found["node_time_us"], abs=1e-6)
    assert found["node_time_us"] + found["outside_us"] == pytest.approx(found["run_time_us"], abs=1e-6)
    for key in ("by_phase", "by_class", "by_op", "by_layer"):
        assert sum(row["us"] for row in found[key]) == pytest.approx(parts - found["unattributed_us"], abs=1e-6)


@pytest.mark.slow
def test_verify(tmp_path: Path) -> None:
    result = call("verify", "autoenc", "--steps", 1, "--mode", "inference", "--json")
    assert result.exit_code == 0, result.output
    checks = json.loads(result.stdout)["checks"]
    assert [(c["left"], c["right"], c["passed"]) for c in checks] == [
        ("torch graph", "torch", True),
        ("tensorflow graph", "tensorflow", True),
        ("tensorflow graph", "torch graph", True),
    ]


@pytest.mark.slow
def test_verify_fails_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fathom_onnx.verification.check.DOUBLE_LIMIT", 1e-30)
    result = call("verify", "autoenc", "--framework", "torch", "--mode", "inference")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert "output 'reconstruction' is off by" in result.stdout
    assert "0 of 1 comparisons passed" in result.stdout


@pytest.mark.slow
def test_train_lowers_the_loss_by_more_than_half() -> None:
    """300 steps of autoenc on scikit-learn's digits, in onnxruntime."""
    result = call("train", "autoenc", "--preset", "tiny", "--steps", 300, "--json")
    found = json.loads(result.stdout)
    assert found["source"]["kind"] == "real"
    assert len(found["losses"]) == 300
    first, last = found["losses"][0], sum(found["losses"][-20:]) / 20
    assert last < first / 2


@pytest.mark.slow
def test_list_and_show() -> None:
    assert "21,797,672" in call("list").stdout
    rows = json.loads(call("list", "--json").stdout)["workloads"]
    assert {row["name"] for row in rows} >= {"autoenc", "residual"}
    shown = call("show", "residual").stdout
    for said in ("He et al., Deep Residual", "Fidelity", "layer4.2.conv2", "fc.weight", "224"):
        assert said in shown
    rows = {row["name"]: row for row in json.loads(call("show", "residual", "--json").stdout)["layers"]}
    # 16 images of 112x112 positions, 64 filters of 3x7x7
    assert rows["conv1"]["macs"] == 16 * 112 * 112 * 64 * 3 * 7 * 7
    assert rows["conv1"]["shape"] == [16, 64, 112, 112]
    assert rows["avgpool"]["shape"] == [16, 512]
    assert sum(row["macs"] for row in rows.values()) == 16 * 3_663_761_408
    found = json.loads(call("show", "autoenc", "--json").stdout)
    assert found["configuration"][0] == {"field": "batch", "value": 128, "source": "Fathom autoenc (Adolf et al. 2016)"}


def test_profile_of_a_committed_graph() -> None:
    path = GRAPHS / "autoenc.onnx"
    result = call("profile", path, "--steps", 2, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["data"]["kind"] == "real"
