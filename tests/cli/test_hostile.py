"""Files from strangers: one line and an exit code for each, and nothing from a graph reaches the terminal as it is."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.cli.lines import printable
from fathom_onnx.convert.onnx_files import samples
from support.hostile import HOSTILE, NAMES, external, named, plain

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def saved(tmp_path: Path, model: onnx.ModelProto | bytes) -> Path:
    path = tmp_path / "given.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


@pytest.mark.parametrize("command", ["inspect", "compat", "profile"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_graph_may_be_is_refused_in_one_line(tmp_path: Path, name: str, command: str) -> None:
    model, said = HOSTILE[name]
    result = call(command, saved(tmp_path, model))
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (3, 1), result.output
    assert said in result.stderr


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (external("/etc/passwd"), "is in '/etc/passwd', which is no file beside the graph"),
        (external("../secret"), "outside the folder of the graph"),
        (external("link"), "outside the folder of the graph"),
        (external("/dev/zero", length="99999999999"), "which is no file beside the graph"),
        (external("pipe"), "which is no file"),
        (external("."), "which is no file beside the graph"),
        (external(""), "which is no file beside the graph"),
        (external(None), "which is no file beside the graph"),
        (external("w", offset="-5"), "makes no sense (External data offset must be non-negative"),
        (external("w", offset="many"), "makes no sense"),
        (external("w", length="-16"), "makes no sense"),
        (external("a\0b"), "makes no sense (embedded null byte)"),
    ],
)
def test_weights_are_read_beside_the_graph_only(tmp_path: Path, model: onnx.ModelProto, said: str) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "w").write_bytes(bytes(64))
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "link").symlink_to("../secret")
    os.mkfifo(folder / "pipe")
    for command in ("inspect", "profile"):
        result = call(command, saved(folder, model))
        assert (result.exit_code, said in result.stderr) == (3, True), result.output


def test_a_graph_and_weights_that_are_links_into_one_folder_are_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (blobs / "c3d4").write_bytes(bytes(64))
    (blobs / "a1b2").write_bytes(external("w").SerializeToString())
    (snapshot / "model.onnx").symlink_to("../blobs/a1b2")
    (snapshot / "w").symlink_to("../blobs/c3d4")
    assert call("inspect", snapshot / "model.onnx").exit_code == 0


@pytest.mark.parametrize("json_option", [[], ["--json"]])
@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_the_terminal_as_it_is(tmp_path: Path, name: str, json_option: list[str]) -> None:
    result = call("inspect", saved(tmp_path, named(NAMES[name])), *json_option)
    assert result.exit_code == 0, result.output
    assert not UNPRINTABLE.search(result.output)
    if json_option:
        assert json.loads(result.stdout)["inputs"][0]["shape"] == [NAMES[name], 2]  # there the name is whole
    else:
        assert len(result.output) < 12_000


def test_a_size_below_zero_is_an_open_one(tmp_path: Path) -> None:
    path = saved(tmp_path, plain(shape=(-1, 2)))
    assert json.loads(call("inspect", path, "--json").stdout)["inputs"][0]["shape"] == ["?", 2]
    assert "x.0" in call("profile", path).stderr


def endless() -> onnx.ModelProto:
    """A loop of 2^62 trips."""
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["go"], ["on"]), onnx.helper.make_node("Add", ["a", "a"], ["b"])],
        "body",
        [value("i", 7, []), value("go", 9, []), value("a", 1, None)],
        [value("on", 9, []), value("b", 1, None)],
    )
    loop = onnx.helper.make_node("Loop", ["trips", "yes", "x"], ["z"], body=body)
    shaped = onnx.helper.make_node("Reshape", ["z", "shape"], ["y"])
    return plain(loop, shaped, weights={"trips": np.array(2**62), "yes": np.array(True), "shape": np.array([2, 2])})


def test_a_loop_without_end_is_ended(tmp_path: Path) -> None:
    result = call("profile", saved(tmp_path, endless()), "--longest-step", 1)
    assert (result.exit_code, "a step ran for more than 1 s and was ended" in result.stderr) == (8, True), result.output


def test_a_loop_without_end_has_no_other_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rewritten form is run to be compared, and that is ended too."""
    monkeypatch.setattr(samples, "LONGEST_S", 1.0)
    path = saved(tmp_path, endless())
    result = call("convert", path, "--to", "batch", "--batch", 3, "-o", tmp_path / "out.onnx")
    assert (result.exit_code, "more than 1 s and was ended" in result.stderr) == (3, True), result.output


def test_text_is_printable_and_short() -> None:
    assert printable("a\tb\x1b\u202e\n") == "a\\tb\\x1b\\u202e\\n"
    assert printable("Größe 形 🙂") == "Größe 形 🙂"
    assert printable("x" * 90 + "y" * 210, 30) == "x" * 10 + "..." + "y" * 17
    assert printable("\ud800") == "\\ud800"


@pytest.mark.parametrize(("size", "said"), [("much", "'much' is no size of memory"), ("-3GB", "is no size of memory")])
def test_a_limit_of_memory_that_is_none_is_refused(size: str, said: str) -> None:
    result = call("--max-memory", size, "list")
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_graph_without_the_default_domain_is_judged(tmp_path: Path) -> None:
    """Its one node is of another domain, and so it need not say which version of the default one it is of."""
    model = plain(onnx.helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0]))
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.output[0].type.tensor_type.shape.SetInParent()
    for command in ("inspect", "compat"):
        result = call(command, saved(tmp_path, model))
        assert result.exit_code in (0, 3), result.output
        assert "Traceback" not in result.output
