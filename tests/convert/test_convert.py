"""``fathom-onnx convert``: what it writes where, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import IO

import onnx
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.convert import CONVERTERS, Converter, Option
from fathom_onnx.convert.account import account, share
from fathom_onnx.convert.converter import Conversion, CostSums, LeftOut
from fathom_onnx.convert.write import convert_file, plan
from fathom_onnx.errors import OutputError
from fathom_onnx.graph import Graph
from support.documents import DOCS, blocks
from support.graphs.small_models import cnn, control_flow, data_dependent, line_inference


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def saved(graph: Graph, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph.model, path)
    return path


@pytest.mark.parametrize("name", sorted(CONVERTERS))
def test_every_format_is_written_with_its_statement(name: str, tmp_path: Path) -> None:
    source = saved(line_inference() if name == "initializers" else cnn(), tmp_path / "net.onnx")
    options = ["--batch", 3] if name == "batch" else []
    result = call(source, "--to", name, "-o", tmp_path / "out", *options, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["schema"] == "fathom-onnx/convert/1"
    (made,) = found["conversions"]
    assert made["schema"] == "fathom-onnx/conversion/1"
    assert made["format"] == name
    main_file = tmp_path / "out" / f"net{CONVERTERS[name].suffix}"
    assert made["files"][0]["path"] == str(main_file)
    for row in made["files"]:
        assert row["size_bytes"] == Path(row["path"]).stat().st_size
    statement = json.loads(Path(f"{main_file}.conversion.json").read_text())
    assert [row["name"] for row in statement["files"]] == [Path(row["path"]).name for row in made["files"]]
    for key in ("kept", "total", "macs_kept", "bytes_kept", "left_out", "notes", "graph_sha256", "options"):
        assert statement[key] == made[key]
    assert statement["kept"]["macs"] == statement["total"]["macs"]
    left = sum(row["bytes_moved"] for row in statement["left_out"])
    assert statement["kept"]["bytes_moved"] + left == statement["total"]["bytes_moved"]
    assert (
        statement["kept"]["nodes"] + sum(row["nodes"] for row in statement["left_out"]) == statement["total"]["nodes"]
    )
    # nothing else is left behind
    assert {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        *(row["name"] for row in made["files"]),
        f"{main_file.name}.conversion.json",
    }


def test_what_is_printed(tmp_path: Path) -> None:
    source = saved(cnn(), tmp_path / "net.onnx")
    lines = call(source, "--to", "compute-only", "-o", tmp_path / "out").stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path}/out/net.onnx  ")
    assert lines[1].startswith("kept: nodes 4 of 13; MACs 995,568 of 995,568 (100.0%); bytes ")
    assert lines[2] == "note: 4 inputs and 4 outputs: values do not flow through this graph."
    assert "no multiply-accumulates" in "\n".join(lines)
    source = saved(data_dependent(), tmp_path / "dependent.onnx")
    assert "MACs 8 of unknown (share unknown)" in call(source, "--to", "chakra", "-o", tmp_path / "out").stdout


def test_names_of_single_files(tmp_path: Path) -> None:
    source = saved(cnn(), tmp_path / "net.onnx")
    for wanted, expected in (
        ("a.et", "a.et"),
        ("b.0.et", "b.0.et"),
        ("c.csv", "c.csv/net.0.et"),  # not a suffix of this format: a folder
        ("d", "d/net.0.et"),
    ):
        result = call(source, "--to", "chakra", "-o", tmp_path / wanted)
        assert result.exit_code == 0, result.output
        assert (tmp_path / expected).is_file()
        assert (tmp_path / f"{expected}.conversion.json").is_file()
    source = saved(line_inference(), tmp_path / "line.onnx")
    call(source, "--to", "initializers", "-o", tmp_path / "named.onnx")
    (tensor, *_) = onnx.load(tmp_path / "named.onnx", load_external_data=False).graph.initializer
    assert tensor.external_data[0].value == "named.onnx.data"
    assert (tmp_path / "named.onnx.data").is_file()


def test_a_folder_keeps_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(cnn(), tmp_path / "graphs" / "net.onnx")
    saved(cnn(), tmp_path / "graphs" / "other" / "net.onnx")
    monkeypatch.chdir(tmp_path)
    result = call("graphs", "--to", "scalesim")
    assert result.exit_code == 0, result.output
    found = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "converted").rglob("*.csv")}
    assert found == {"converted/scalesim/net.csv", "converted/scalesim/other/net.csv"}
    result = call("graphs/net.onnx", "graphs/other/net.onnx", "--to", "scalesim")
    assert result.exit_code == 2
    assert "would both become 'converted/scalesim/net.csv'" in result.stderr


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    saved(cnn(), tmp_path / "graphs" / "a.onnx")
    (tmp_path / "graphs" / "b.onnx").write_text("no graph")
    saved(control_flow(), tmp_path / "graphs" / "c.onnx")
    saved(cnn(), tmp_path / "graphs" / "d.onnx")
    result = call(tmp_path / "graphs", "--to", "scalesim", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert {p.name for p in (tmp_path / "out").glob("*.csv")} == {"a.csv", "d.csv"}
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 2
    assert "is not an ONNX file" in errors[0]
    assert "graph 'c' has no convolution or matrix product of known shape" in errors[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["net.onnx", "--to", "scalsim"], 2, "unknown format 'scalsim'; did you mean 'scalesim'?"),
        (["none.onnx", "--to", "chakra"], 3, "no file 'none.onnx'"),
        (["empty", "--to", "chakra"], 3, "folder 'empty' has no .onnx file"),
        (["net.onnx", "--to", "chakra", "--layout", "gemm"], 2, "format 'chakra' has no option 'layout'"),
        (["net.onnx", "--to", "scalesim", "--layout", "gem"], 2, "unknown layout 'gem'; did you mean 'gemm'?"),
        (["net.onnx", "--to", "batch"], 2, "format 'batch' needs the option 'batch'"),
        (["net.onnx", "--to", "batch", "--batch", "0"], 2, "batch size cannot be 0"),
        (["net.onnx", "--to", "chakra", "--ranks", "0"], 2, "option 'ranks' cannot be 0; give a whole number from 1"),
        (["net.onnx", "--to", "compute-only", "-o", "."], 2, "would take the place of a graph to be converted"),
        (["net.onnx", "--to", "compute-only", "-o", "net.onnx"], 2, "would take the place of a graph"),
        (["net.onnx", "--to", "initializers", "-o", "empty/../net.onnx"], 2, "would take the place of a graph"),
        (["net.onnx", "--to", "chakra", "-o", "net.onnx/x"], 5, "cannot make folder 'net.onnx/x'"),
        (["net.onnx", "--to", "chakra", "--dim", "N=-1"], 2, "dimension 'N' cannot be '-1'"),
        (["net.onnx", "--to", "chakra", "--dim", "N=4"], 2, "unknown dynamic dimension 'N'"),
        (["net.onnx", "--to", "initializers"], 3, "does not say which inputs are its parameters"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = saved(cnn(), tmp_path / "net.onnx")
    before = source.read_bytes()
    (tmp_path / "empty").mkdir()
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert source.read_bytes() == before
    assert {p.name for p in tmp_path.rglob("*")} == {"net.onnx", "empty"}


def test_a_dynamic_graph_needs_its_dimensions(tmp_path: Path) -> None:
    graph = cnn()
    graph.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.model.graph.value_info[:]
    for info in graph.model.graph.output:
        info.type.tensor_type.shape.dim[0].dim_param = "N"
    source = saved(graph, tmp_path / "net.onnx")
    result = call(source, "--to", "scalesim", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "give one with --dim N=N" in result.stderr
    result = call(source, "--to", "scalesim", "--dim", "N=1", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "note: Run it with -i conv." in result.stdout


def test_files_appear_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    def convert(self: Converter, graph: Graph, request: object) -> Conversion:
        return Conversion({".x": b"whole", ".more": full}, CostSums(0, 0, 0), CostSums(0, 0, 0))

    monkeypatch.setattr(Converter, "convert", convert)
    converter = Converter("x", "", "", ".x", "none", (Option("n", "", example=1),))
    source = saved(cnn(), tmp_path / "net.onnx")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "net.x").write_bytes(b"before")
    (job,) = plan([source], tmp_path / "out", converter)
    with pytest.raises(OutputError, match="No space left on device"):
        convert_file(job, converter, {})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["net.x"]
    assert (tmp_path / "out" / "net.x").read_bytes() == b"before"


def test_account() -> None:
    graph = cnn()
    sums = account(graph, {1: "why", 4: "why", 2: "other"})
    assert sums.total.nodes == 13
    assert sums.kept.nodes == 10
    image = 2 * 12 * 256 * 4
    assert sums.left_out == (
        LeftOut("BatchNormalization", 2, 0, 2 * (2 * image + 4 * 12 * 4), "why"),
        LeftOut("Relu", 1, 0, 2 * image, "other"),
    )
    assert account(data_dependent(), {2: "why"}).left_out[0] == LeftOut("MatMul", 1, None, None, "why")
    assert account(data_dependent(), {}).kept.macs is None


def test_shares() -> None:
    assert share(1, 4) == 0.25
    assert share(None, 4) is None
    assert share(1, None) is None
    assert share(0, 0) is None


def test_the_document_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(DOCS.parent)
    (example,) = blocks("reference/convert.md", "python")
    exec(compile(example, "docs/reference/convert.md", "exec"), {})
    assert capsys.readouterr().out.startswith("58620182528 58620182528 LeftOut(op='BatchNormalization'")
    table = (DOCS / "reference" / "convert.md").read_text().partition("## What was kept")[0]
    listed = re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)
    assert len(listed) >= 5
    assert set(listed) <= set(CONVERTERS)
