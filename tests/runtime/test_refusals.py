"""What onnx and onnxruntime say of graphs that they refuse, made here and now: the reason, and advice that fits."""

from __future__ import annotations

import ctypes.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.cli import main
from fathom_onnx.errors import one_line
from fathom_onnx.refusals import explain
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.providers import names
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str]],
    element: int = FLOAT,
    initializers: Sequence[onnx.TensorProto] = (),
    ir_version: int = 8,
    **opsets: int,
) -> onnx.ModelProto:
    """A model whose last node makes its output ``y``."""
    values = [helper.make_tensor_value_info(n, INT64 if n == "i" else element, s) for n, s in inputs.items()]
    output = helper.make_tensor_value_info("y", element, None)
    made = helper.make_graph(nodes, "g", values, [output], list(initializers))
    domains = {"": 17, **{domain.replace("_", "."): version for domain, version in opsets.items()}}
    domains[""] = domains.pop("default", domains[""])
    opset_imports = [helper.make_opsetid(*entry) for entry in domains.items()]
    return helper.make_model(made, ir_version=ir_version, opset_imports=opset_imports)


def node(op_type: str, inputs: Sequence[str] = ("x",), domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), ["y"], "n", domain=domain, **attributes)


def session(model: onnx.ModelProto | str) -> Any:
    data = model if isinstance(model, str) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def refused(action: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of which type differs by version
        action()
    return caught.value


X = {"x": (2,)}
TWO = {"x": ("a", "b"), "z": ("c", "d")}
RELU = graph([node("Relu")], {"x": (2, 3)})

BUILT: dict[str, tuple[onnx.ModelProto, str, str]] = {
    "IR version": (
        graph([node("Relu")], X, ir_version=99),
        r"^Unsupported model IR version: 99, max supported IR version: (\d+)$",
        r"^save it again with IR version (\d+) or older \(ir_version of the model\), or install a newer onnxruntime$",
    ),
    "opset": (
        graph([node("Relu")], X, default=60),
        r"^opset 60 of domain ai.onnx, of which it knows \d\d and older ones$",
        r"^export it with opset \d\d of ai.onnx or an older one, or install a newer onnxruntime$",
    ),
    "opset of ML": (
        graph([node("Scaler", domain="ai.onnx.ml", offset=[0.0], scale=[1.0])], X, ai_onnx_ml=60),
        r"^opset 60 of domain ai.onnx.ml, of which it knows \d and older ones$",
        "^export it with opset . of ai.onnx.ml",
    ),
    "operator of someone's own": (
        graph([node("Foo", domain="my.own")], X, my_own=1),
        r"^my.own:Foo\(-1\) is not a registered function/op$",
        "give the library that has it with --custom-ops FILE$",
    ),
    "operator without a domain": (
        graph([node("Foo")], X),
        "^Foo node 'n': No Op registered for Foo with domain_version of 17$",
        "^give the library that has it with --custom-ops FILE, or check its name: ONNX has no 'Foo'$",
    ),
    "operator of a newer opset": (
        graph([node("Gelu")], X),
        "^Gelu node 'n': No Op registered for Gelu with domain_version of 17$",
        "^ONNX has it from opset 20 on: export with a newer opset$",
    ),
    "no kernel": (
        graph([node("Relu")], X, TensorProto.INT16),
        r"^Could not find an implementation for Relu\(14\) node with name 'n'$",
        "no kernel for it with these types.*--custom-ops FILE$",
    ),
    "random numbers": (
        graph([node("RandomUniformLike")], X, default=22),
        r"^Could not find an implementation for RandomUniformLike\(22\) node with name",
        "opset 21 or older, or with random numbers as inputs",
    ),
    "types": (
        graph([node("Add", ["x", "i"])], {"x": (2,), "i": (2,)}),
        r"^Type Error: Type parameter \(T\) of Optype \(Add\) bound to different types \(tensor\(float\) and tensor",
        "^the types do not fit",
    ),
    "sizes": (
        graph([node("MatMul", ["x", "z"])], {"x": (2, 3), "z": (4, 5)}),
        "^MatMul node 'n': Incompatible dimensions for matrix multiplication$",
        "^the sizes do not fit each other: check --dim and --inputs",
    ),
    "attribute": (
        graph([node("Relu", foo=1)], X),
        "^Relu node 'n': Unrecognized attribute: foo for operator Relu$",
        "^export it with the opset whose operator has this attribute$",
    ),
    "one name for two nodes": (
        graph([helper.make_node("Relu", ["x"], ["h"], "n"), node("Relu", ["h"])], X),
        r"^two nodes with same node name \(n\)",
        "^give every node a name of its own, or none$",
    ),
    "nothing makes it": (graph([node("Relu", ["q"])], X), "Node input 'q' is not a graph input", "^no node makes it"),
}


@pytest.mark.parametrize("name", BUILT)
def test_sessions_that_are_not_built(name: str) -> None:
    model, reason, advice = BUILT[name]
    said = explain(refused(lambda: session(model)))
    assert matches(reason, said.reason), said
    assert matches(advice, said.advice), said


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


INSIDE = helper.make_graph(
    [helper.make_node("MatMul", ["x", "z"], ["inner"], "in it")],
    "b",
    [],
    [helper.make_tensor_value_info("inner", 1, None)],
)
FEEDS = {"x": np.zeros((2, 3), np.float32), "z": np.zeros((4, 5), np.float32)}

RUN: dict[str, tuple[onnx.ModelProto, dict[str, Any], str, str]] = {
    "product": (graph([node("MatMul", ["x", "z"])], TWO), FEEDS, "MatMul node 'n': MatMul dimension mismatch", "sizes"),
    "product in a branch": (
        graph([node("If", ["c"], then_branch=INSIDE, else_branch=INSIDE)], {**TWO, "c": (1,)}),
        {**FEEDS, "c": np.array([True])},
        "If node 'n': MatMul node 'in it': MatMul dimension mismatch",
        "sizes",
    ),
    "broadcast": (
        graph([node("Add", ["x", "z"])], {"x": ("a",), "z": ("b",)}),
        {"x": np.zeros(2, np.float32), "z": np.zeros(3, np.float32)},
        "Add node 'n': Attempting to broadcast an axis by a dimension other than 1. 2 by 3",
        "sizes",
    ),
    "reshape": (
        graph([node("Reshape", ["x", "i"])], {"x": ("a",), "i": (2,)}),
        {"x": np.zeros(6, np.float32), "i": np.array([4, 4])},
        "Reshape node 'n': The input tensor cannot be reshaped to the requested shape. Input shape:{6}, requested "
        "shape:{4,4}",
        "sizes",
    ),
    "channels": (
        graph([node("Conv", ["x", "z"])], {"x": "abcd", "z": "efgh"}),
        {"x": np.zeros((1, 3, 8, 8), np.float32), "z": np.zeros((1, 4, 3, 3), np.float32)},
        "Conv node 'n': Input channels C is not equal to kernel channels * group. C: 3 kernel channels: 4 group: 1",
        "sizes",
    ),
    "index": (
        graph([node("Gather", ["x", "i"])], {"x": (5,), "i": (1,)}),
        {"x": np.zeros(5, np.float32), "i": np.array([7])},
        "Gather node 'n': indices element out of data bounds, idx=7 must be within the inclusive range [-5,4]",
        "--inputs FILE",
    ),
    "memory": (
        graph([node("Expand", ["x", "i"])], {"x": (1,), "i": (3,)}),
        {"x": np.zeros(1, np.float32), "i": np.array([2**20, 2**20, 64])},
        "Expand node 'n': Failed to allocate memory for requested buffer of size 281474976710656",
        "make the sizes smaller",
    ),
    "rank": (RELU, {"x": np.zeros(2, np.float32)}, "Invalid rank for input: x Got: 1 Expected: 2", "shape and type"),
    "sizes of an input": (
        RELU,
        {"x": np.zeros((2, 4), np.float32)},
        "Got invalid dimensions for input: x for the following indices index: 1 Got: 4 Expected: 3",
        "shape and type",
    ),
    "type of an input": (
        RELU,
        {"x": np.zeros((2, 3))},
        "Unexpected input data type. Actual: (tensor(double)) , expected: (tensor(float))",
        "shape and type",
    ),
    "no input": (RELU, {}, "Required inputs (['x']) are missing from input feed ([])", "shape and type"),
}


@pytest.mark.parametrize("name", RUN)
def test_steps_that_fail(name: str) -> None:
    model, feeds, reason, advice = RUN[name]
    if "c" in feeds:
        model.graph.input[-1].type.tensor_type.elem_type = TensorProto.BOOL
    ready = session(model)
    said = explain(refused(lambda: ready.run(None, feeds)))
    assert said.reason == reason
    assert advice in said.advice


def test_files_that_are_missing_or_short(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros(1000, np.float32), "w")
    model = graph([node("Add", ["x", "w"])], {"x": (1000,)}, initializers=[weight])
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").write_bytes(b"1234")
    said = explain(refused(lambda: session(str(path))))
    assert said.reason.startswith("Deserialize tensor w failed.External initializer: w offset: 0 size to read: 4000")
    assert said.advice == "fetch or export the graph and its weights again"
    (tmp_path / "w.bin").unlink()
    said = explain(refused(lambda: session(str(path))))
    assert said.reason.endswith(f'does not exist: "{tmp_path / "w.bin"}"')
    assert said.advice == "put that file beside the graph"
    path.write_bytes(b"no graph at all")
    assert explain(refused(lambda: session(str(path)))) == ("Protobuf parsing failed", "export or fetch the file again")
    path.unlink()
    assert explain(refused(lambda: session(str(path)))).advice == "give the path of an .onnx file"


def test_libraries_that_cannot_be_registered() -> None:
    def register(path: str) -> None:
        onnxruntime.SessionOptions().register_custom_ops_library(path)

    said = explain(refused(lambda: register("/nowhere/libmine.so")))
    assert said.reason.startswith("Failed to load library /nowhere/libmine.so with error")
    assert said.advice == "check its path, and that the libraries that it needs are there"
    library = ctypes.util.find_library("m") or "libm.so.6"
    assert explain(refused(lambda: register(library))).advice.startswith("give a library of onnxruntime operators")


def test_what_the_checker_of_onnx_says() -> None:
    check = onnx.checker.check_model
    said = explain(refused(lambda: check(graph([node("Relu")], X, ir_version=99))))
    assert matches(r"^save it again with IR version \d+ or older", said.advice)
    undeclared = graph([node("Foo", domain="my.own")], X)
    undeclared.graph.output[0].type.tensor_type.shape.SetInParent()
    said = explain(refused(lambda: check(undeclared)))
    assert said.reason == "No opset import for domain 'my.own' in Foo node 'n'"
    assert said.advice == "add the version of 'my.own' to the model's opset_import"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # a template's function, one in a lambda, one of a const method, and what has none
        (
            "/src/core/a.cc:12 onnxruntime::common::Status onnxruntime::F<T>::Compute(onnxruntime::OpKernelContext*) "
            "const [with T = float; Map = std::map<int, int>] x == y was false. Wrong (it is)",
            "Wrong (it is)",
        ),
        ("/src/a.h:3 void std::f(int, g<h(int)>)::<lambda(long int)> too long", "too long"),
        ("/src/a.h:3 auto onnxruntime::F::operator()(ptrdiff_t) const too long", "too long"),
        ("before. helper.cu:7 Run after", "before. after"),
        ("/src/a.cc:9 void f(int) rank > 0 was false.", "rank > 0 was false"),
        (
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=/src/x.cc ; line=9",
            "CUDA failure 2: out of memory ; GPU=0",
        ),
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad Stacktrace: a b c", "bad"),
        ("nothing of this kind", "nothing of this kind"),
    ],
)
def test_places_in_sources_are_left_out(text: str, reason: str) -> None:
    assert explain(RuntimeError(text)).reason == reason


def test_an_unknown_message_has_no_advice() -> None:
    said = explain(ValueError("nothing\nof  this kind"))
    assert said == ("nothing of this kind", "")
    assert said.advice_or("do this") == "do this"
    assert explain(KeyError()).reason == "KeyError"


def test_a_long_text_keeps_its_start_and_its_end() -> None:
    assert one_line(ValueError("a" * 10), 10) == "a" * 10
    assert one_line(ValueError("abcdefghijklmnopqrstuvwxyz"), 12) == "abc...uvwxyz"
    assert explain(ValueError("start " + "x" * 1000 + " the end"), 30).reason == "start xxx...xxxxxxxxxx the end"


@pytest.mark.parametrize("name", ["reshape", "opset", "types"])
def test_a_command_writes_one_line_and_no_log(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    onnxruntime.set_default_logger_severity(2)
    path = tmp_path / "m.onnx"
    if name == "reshape":
        wrong = numpy_helper.from_array(np.array([4, 4]), "s")
        onnx.save(graph([node("Reshape", ["x", "s"])], {"x": ("a",)}, initializers=[wrong]), path)
    else:
        onnx.save(BUILT[name][0], path)
    result = CliRunner().invoke(main, ["profile", str(path), *(["--dim", "a=6"] if name == "reshape" else [])])
    assert result.exit_code == 8, result.output
    assert result.stderr.count("\n") == 1
    assert "onnxruntime_src" not in result.stderr
    assert "the sizes do not fit" in result.stderr or name != "reshape"
    assert capfd.readouterr().err == ""  # what onnxruntime itself writes


def test_a_session_of_the_package_writes_no_log(capfd: pytest.CaptureFixture[str]) -> None:
    onnxruntime.set_default_logger_severity(2)
    model, feeds, *_ = RUN["reshape"]
    opened = open_session(Prepared(model, {}, (), {}), SessionSettings())
    refused(lambda: opened.run(None, feeds))
    assert capfd.readouterr().err == ""


def test_what_is_said_outside_of_sessions_is_silent_too(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.setattr("onnxruntime.set_default_logger_severity", levels.append)
    names.onnxruntime()
    assert levels == [4]  # of errors that end the process


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(graph([node("Relu")], {"x": ("a", 1024)}), path)
    result = CliRunner().invoke(main, ["profile", str(path), "--dim", f"a={10**10}"])
    assert result.exit_code == 8, result.output
    assert result.stderr.startswith("error: there is not enough memory (Unable to allocate")
    assert result.stderr.count("\n") == 1
