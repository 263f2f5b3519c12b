"""Sizes of open dimensions: expressions in exporters' notations, what follows from sizes given, and what cannot be."""

from __future__ import annotations

import time
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from fathom_onnx.cli import main
from fathom_onnx.errors import FathomError, GraphError, UnknownNameError, UsageError
from fathom_onnx.graph.dimensions.expressions import read_expressions
from fathom_onnx.graph.dimensions.openings import fix_dimensions
from fathom_onnx.graph.dimensions.sizes import asked_names, command_line, solve_sizes


def model(*shapes: list[int | str | None]) -> onnx.ModelProto:
    """Inputs ``i0``, ``i1``, ... of these shapes."""
    inputs = [
        helper.make_tensor_value_info(f"i{number}", TensorProto.FLOAT, shape) for number, shape in enumerate(shapes)
    ]
    nodes = [helper.make_node("Shape", [i.name], [f"o{i.name}"]) for i in inputs]
    outputs = [helper.make_tensor_value_info(f"o{i.name}", TensorProto.INT64, None) for i in inputs]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs))


def shapes(made: onnx.ModelProto) -> list[list[int | str]]:
    return [
        [d.dim_value if d.HasField("dim_value") else d.dim_param for d in i.type.tensor_type.shape.dim]
        for i in made.graph.input
    ]


@pytest.mark.parametrize(
    ("text", "sizes", "size"),
    [
        ("past_sequence_length + 1", {"past_sequence_length": 9}, 10),
        ("past_sequence_length+1", {"past_sequence_length": 0}, 1),
        ("2*seq", {"seq": 7}, 14),
        ("batch * heads", {"batch": 2, "heads": 3}, 6),
        ("seq//2", {"seq": 7}, 3),
        ("h/2", {"h": 8}, 4),
        ("floor(h/2)", {"h": 7}, 3),
        ("floor(h/2 - 1/2) + 1", {"h": 7}, 4),
        ("ceiling(h/2)", {"h": 7}, 4),
        ("ceil(0.5*h)", {"h": 7}, 4),
        ("Max(1, s0)", {"s0": 0}, 1),
        ("min(s0, s1, 5)", {"s0": 9, "s1": 6}, 5),
        ("Mod(s0, 8)", {"s0": 21}, 5),
        ("s0 % 8", {"s0": 21}, 5),
        ("(s0//2)*s1", {"s0": 5, "s1": 3}, 6),
        ("s0**2", {"s0": 3}, 9),
        ("-s0 + 12", {"s0": 5}, 7),
        ("-(-s0//2)", {"s0": 5}, 3),
        ("FloorDiv(s0, 4)", {"s0": 11}, 2),
        ("CeilToInt(IntTrueDiv(s0, 4))", {"s0": 9}, 3),
        ("ModularIndexing(s0, 2, 3)", {"s0": 11}, 2),
        ("seq - 1", {"seq": 4}, 3),
    ],
)
def test_an_expression_follows_from_its_names(text: str, sizes: dict[str, int], size: int) -> None:
    assert asked_names([text]) == list(sizes)
    assert solve_sizes([text], sizes).known == {text: size}


@pytest.mark.parametrize(
    "text",
    [
        "unk__1",
        "input.1_dim_0",
        "batch-size",
        "past-sequence-length",
        "dim-0",
        "?",
        "None",
        "True",
        "8",
        "-1",
        "batch size",
        "2seq",
        "seq +",
        "a = b",
        "a, b",
        "a < b",
        "f(x)",
        "__import__('os').getcwd()",
        "x.shape[0]",
        "[x for x in y]",
        "floor()",
        "floor(a, b)",
        "Max(a, key=b)",
        "größe",
        "(" * 400 + "a" + ")" * 400,
        "a+" * 300 + "a",
    ],
)
def test_what_is_no_expression_is_a_name(text: str) -> None:
    assert asked_names([text]) == [text]
    assert solve_sizes([text], {text: 3}).known == {text: 3}


def test_a_dash_before_a_digit_is_a_difference_where_the_name_is_known() -> None:
    assert solve_sizes(["seq", "seq-1"], {"seq": 5}).known == {"seq": 5, "seq-1": 4}
    assert solve_sizes(["unk-1", "unk-2"], {"unk-1": 5, "unk-2": 5}).known == {"unk-1": 5, "unk-2": 5}


@pytest.mark.parametrize(
    ("labels", "given", "known"),
    [
        (["batch*heads", "batch * heads", "seq"], {"batch *heads": 6, "seq": 4}, [6, 6, 4]),
        (["2*seq", "seq//2"], {"2*seq": 8}, [8, 2]),
        (["2*seq", "seq"], {"2 * seq": 8}, [8, 4]),
        (["seq + seq + 1", "seq"], {"seq+seq+1": 7}, [7, 3]),
        (["(h - 1)/2", "h"], {"(h-1)/2": 3}, [3, 7]),
        # the second is found with the first
        (["b*s", "2*b", "s"], {"b*s": 12, "2*b": 6}, [12, 6, 4]),
        (["b*s", "b", "s"], {"b*s": 12, "b": 3}, [12, 3, 4]),
        # no single size of its name
        (["seq//2"], {"seq//2": 4}, [4]),
        (["seq//2", "seq"], {"seq//2": 4, "seq": 9}, [4, 9]),
        (["Max(1, s)"], {"Max(1,s)": 1}, [1]),
    ],
)
def test_sizes_of_whole_expressions(labels: list[str], given: dict[str, int], known: list[int]) -> None:
    solved = solve_sizes(labels, given)
    assert solved.missing == {}
    assert [solved.known[label] for label in labels] == known


def test_what_does_not_follow_is_missing() -> None:
    assert solve_sizes(["seq//2", "seq"], {"seq//2": 4}) == ({"seq//2": 4}, {"seq": ("seq",)})
    assert solve_sizes(["a*b", "c"], {"b": 2}) == ({}, {"a*b": ("a",), "c": ("c",)})


@pytest.mark.parametrize(
    ("labels", "given", "message"),
    [
        (["2*seq", "seq"], {"2*seq": 8, "seq": 5}, "dimension '2*seq' cannot be 8: it is 10 with seq=5"),
        (["2*seq", "3*seq"], {"2*seq": 8, "3*seq": 15}, "dimension '3*seq' cannot be 15: it is 12 with seq=4"),
        (["2*seq", "seq"], {"2*seq": 7}, "dimension '2*seq' cannot be 7: 'seq' would be 7/2"),
        (["seq + 1", "seq"], {"seq + 1": 0}, "dimension 'seq + 1' cannot be 0: 'seq' would be -1"),
        (["seq//2"], {"seq//2": 4, "seq": 6}, "dimension 'seq//2' cannot be 4: it is 3 with seq=6"),
        (["past - 1", "past"], {"past": 0}, "dimension 'past - 1' would be -1 with past=0"),
        (["h/2"], {"h": 5}, "dimension 'h/2' would be 5/2 with h=5"),
        (["a//b"], {"a": 5, "b": 0}, "dimension 'a//b' divides by 0 with a=5, b=0"),
        (["2**n"], {"n": 10**12}, "dimension '2**n' is no size with n=1000000000000"),
        (["((n**n)**n)**n"], {"n": 60}, "is no size with n=60"),
        (["n*n"], {"n": 2**40}, "would be 1208925819614629174706176 with n="),
        (["n"], {"n": -1}, "dimension 'n' cannot be '-1'; give a whole number, 0 or more"),
        (["n"], {"n": 2.5}, "dimension 'n' cannot be '2.5'; give a whole number, 0 or more"),
        (["n"], {"n": 2**63}, "cannot be '9223372036854775808'"),
        (["a*b"], {"a*b": 4, "a * b": 6}, "dimension 'a*b' cannot be both 4 and 6"),
    ],
)
def test_sizes_that_cannot_be(labels: list[str], given: dict[str, Any], message: str) -> None:
    started = time.perf_counter()
    with pytest.raises(UsageError) as caught:
        solve_sizes(labels, given)
    assert message.replace("dimension 'a*b'", "dimension 'a * b'") in str(caught.value)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("sq", "did you mean 'seq'? known: seq, batch, 2*seq"),
        ("3*seq", "did you mean '2*seq'?"),
        ("Batch", "did you mean 'batch'?"),
    ],
)
def test_a_wrong_name_gets_the_nearest(wrong: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        solve_sizes(["2*seq", "batch"], {wrong: 3})
    assert message in str(caught.value)


def test_all_missing_names_are_one_command_line() -> None:
    made = model(["batch", None], ["batch", "past_sequence_length"], ["batch", "past_sequence_length + 1"])
    with pytest.raises(GraphError) as caught:
        fix_dimensions(made, {}, "g", all_of_them=True)
    given = "--dim batch=N --dim i0.1=N --dim past_sequence_length=N"
    assert str(caught.value).endswith(f"give them with {given}")
    assert shapes(made) == [["batch", ""], ["batch", "past_sequence_length"], ["batch", "past_sequence_length + 1"]]
    with pytest.raises(GraphError, match=r"'N' of input 'i0' and no value for it; give one with --dim N=N$"):
        fix_dimensions(model(["N"], ["N"]), {}, "g", all_of_them=True)
    assert command_line(["batch size", "n"]) == "--dim 'batch size=N' --dim n=N"


def test_dimensions_are_filled() -> None:
    made = model(["batch", None, 3], ["batch", "past + 1"])
    assert fix_dimensions(made, {"batch": 2, "i0.1": 0, "past": 9}, "g", all_of_them=True)
    assert shapes(made) == [[2, 0, 3], [2, 10]]
    some = model(["batch", None], ["batch * 2", "past + 1"])
    assert fix_dimensions(some, {"batch": 2}, "g", all_of_them=False)
    assert shapes(some) == [[2, ""], [4, "past + 1"]]
    assert not fix_dimensions(some, {}, "g", all_of_them=False)


def test_the_same_in_the_syntax_of_python() -> None:
    """Whatever Python itself makes of random whole expressions."""
    import random

    drawn = random.Random(0)
    for _ in range(200):
        text = "a"
        for _ in range(4):
            operator = drawn.choice(["+", "-", "*", "//", "%"])
            operand = drawn.choice(["a", "b", "2", "3"])
            text = f"({text} {operator} {operand})" if drawn.random() < 0.5 else f"({operand} {operator}{text})"
        try:
            expected: int | None = eval(text, {"a": 7, "b": 5})
        except ZeroDivisionError:
            expected = None
        if expected is None or expected < 0:
            with pytest.raises(FathomError):
                solve_sizes([text], {"a": 7, "b": 5} if "b" in text else {"a": 7})
        else:
            assert read_expressions([text])[text].value({"a": 7, "b": 5}) == expected


@pytest.mark.parametrize(
    ("dims", "exit_code", "said"),
    [
        (["past=-1"], 2, "dimension 'past' cannot be '-1'; give a whole number, 0 or more"),
        (["past=1.5"], 2, "dimension 'past' cannot be '1.5'"),
        (["past=x"], 2, "dimension 'past' cannot be 'x'"),
        (["past"], 2, "'past' is not NAME=N"),
        (["past=1", "past=2"], 2, "dimension 'past' cannot be both 1 and 2"),
        (["past=0"], 2, "dimension 'past - 1' would be -1 with past=0"),
        (["pst=2"], 2, "did you mean 'past'?"),
        (["past - 1=2"], 0, ""),
        (["past=1"], 0, ""),
    ],
)
def test_the_option(tmp_path: Any, dims: list[str], exit_code: int, said: str) -> None:
    path = tmp_path / "g.onnx"
    onnx.save(model(["past - 1"], ["past"]), path)
    result = CliRunner().invoke(main, ["inspect", str(path), *(f"--dim={dim}" for dim in dims)])
    assert result.exit_code == exit_code, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == (1 if said else 0)
