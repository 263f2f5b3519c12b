"""``babi``: task files of bAbI v1.2, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload

# the first lines of qa1, and a story in the manner of qa8, whose answers may be several things
TRAINING = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Sandra moved to the garden.
6 Where is Daniel? \thallway\t4
1 Mary took the milk there.
2 Mary got the football.
3 What is Mary carrying? \tmilk,football\t1 2
"""
TEST = "1 John travelled to the office.\n2 Where is John?\toffice\t1\n"
VOCABULARY = """back bathroom carrying daniel football garden got hallway is john mary milk milk,football moved office
sandra the there to took travelled went what where"""
WORDS = VOCABULARY.split()
IDS = {word: index for index, word in enumerate(WORDS, 1)}
SPECS = (("stories", (1, 4, 7), "int64"), ("queries", (1, 7), "int64"), ("answers", (1, 40)))


def ids(text: str, length: int = 7) -> list[int]:
    words = text.split()
    return [IDS[word] for word in words] + [0] * (length - len(words))


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "qa1_single-supporting-fact_train.txt").write_bytes(TRAINING.encode())
    (tmp_path / "qa1_single-supporting-fact_test.txt").write_bytes(TEST.encode())
    return tmp_path / "qa1_single-supporting-fact_train.txt"


def test_a_question_has_the_sentences_before_it_in_its_story_the_nearest_first(task: Path, read) -> None:
    batch = read(f"babi:{task}", *SPECS, split="training", count=3)
    rows = {tuple(query): row for row, query in enumerate(batch["queries"].tolist())}
    empty = [0] * 7
    expected = {
        "where is mary": (["john went to the hallway", "mary moved to the bathroom"], "bathroom"),
        "where is daniel": (
            [
                "sandra moved to the garden",
                "daniel went back to the hallway",
                "john went to the hallway",
                "mary moved to the bathroom",
            ],
            "hallway",
        ),
        "what is mary carrying": (["mary got the football", "mary took the milk there"], "milk,football"),
    }
    assert set(rows) == {tuple(ids(question)) for question in expected}
    for question, (story, answer) in expected.items():
        row = rows[tuple(ids(question))]
        assert batch["stories"][row].tolist() == [ids(text) for text in story] + [empty] * (4 - len(story))
        assert batch["answers"][row].argmax() == IDS[answer]
        assert batch["answers"][row].sum() == 1


def test_the_parts_are_the_official_files_with_one_vocabulary(task: Path, read) -> None:
    held_out = read(f"babi:{task}", *SPECS, split="held-out", count=2)
    assert (held_out["queries"] == ids("where is john")).all()
    assert held_out["stories"][0].tolist() == [ids("john travelled to the office"), *[[0] * 7] * 3]
    everything = read(f"babi:{task}", *SPECS, count=4)
    assert len(np.unique(everything["queries"], axis=0)) == 4


def test_old_sentences_are_left_out_where_the_memory_is_short(task: Path, read) -> None:
    remarks: list[str] = []
    small = (("stories", (1, 2, 7), "int64"), ("queries", (1, 7), "int64"))
    batch = read(f"babi:{task}", *small, split="training", count=3, remarks=remarks)
    row = batch["queries"].tolist().index(ids("where is daniel"))
    assert batch["stories"][row].tolist() == [ids("sandra moved to the garden"), ids("daniel went back to the hallway")]
    assert remarks == [
        f"1 of 3 questions of '{task}' (training) have longer stories than the memory of 2 sentences: those far back "
        "are left out"
    ]


def test_a_folder_is_all_of_its_tasks(task: Path, read) -> None:
    (task.parent / "qa10_more_train.txt").write_text("1 Bill is here.\n2 Is Bill here?\tyes\t1\n")
    (task.parent / "qa10_more_test.txt").write_text("1 Bill is here.\n2 Is Bill here?\tyes\t1\n")
    (task.parent / "readme.txt").write_text("no task")
    answers = read(f"babi:{task.parent}", *SPECS, split="training", count=4)["answers"]
    assert len(np.unique(answers.argmax(1))) == 4
    (task.parent / "qa10_more_test.txt").unlink()
    with pytest.raises(DataError, match=r"no file '.*/qa10_more_test.txt'; expected the questions of evaluation"):
        read(f"babi:{task.parent}", *SPECS)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_change_nothing(task: Path, read, end: str) -> None:
    plain = read(f"babi:{task}", *SPECS, count=4)
    task.write_bytes(b"\xef\xbb\xbf" + TRAINING.replace("\n", end).rstrip().encode())
    again = read(f"babi:{task}", *SPECS, count=4)
    for name, values in plain.items():
        np.testing.assert_array_equal(again[name], values)


def test_memnet_is_fed(task: Path) -> None:
    batch = next(batches_for(workload("memnet", "tiny"), "training", 0, f"babi:{task}", split="training"))
    assert batch["stories"].shape == (4, 10, 7)
    assert batch["stories"].dtype == np.int64
    assert (batch["answers"].sum(1) == 1).all()


# what is refused

START = "1 Mary moved to the bathroom.\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no question"),
        (START, "ends in line 1 with a sentence; expected a question at the end of a story"),
        (TRAINING + "1 John went", "ends in line 10 with a sentence"),
        (
            START + "2 Where is Mary? \tbath",
            r"line 2 has 2 parts with tabs between; expected a question, its answer and",
        ),
        (START + "2 Where is Mary? \tbathroom\t", "line 2: nothing is not the number of a line before the question"),
        (START + "2 Where is Mary? \tbathroom\t2", "line 2: '2' is not the number of a line before"),
        (START + "2 Where is Mary? \tbathroom\tx", "line 2: 'x' is not the number"),
        (START + "2 Where is Mary? \t\t1", "line 2 has 3 parts"),
        (START + "2 Where is Mary?\n", "line 2 is a question without an answer"),
        (START + "3 Where is Mary? \tbathroom\t1", "line 2 has the number 3; expected 2, or 1 for another story"),
        ("2 Mary moved.\n", "line 1 has the number 2; expected 1"),
        (START + "Where is Mary? \tbathroom\t1", "line 2 begins with no number; expected 2 or 1"),
        (START + "\n" + START, "line 2 begins with no number"),
        (START + "2 .\n", "line 2 has no words"),
        ("mary moved\tbathroom\n", "line 1 begins with no number"),
    ],
)
def test_a_line_that_is_wrong_is_named(task: Path, read, text: str, message: str) -> None:
    task.write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        read(f"babi:{task}", *SPECS, split="held-out")
    assert f"'{task}'" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (START.encode() + b"2 M\xe9lanie moved.\n", r"is not UTF-8 in line 2, at its byte 3 \(0xe9\)"),
        (TRAINING.encode("utf-16"), "is UTF-16 text; expected UTF-8"),
        (b"1 \0\0", "has a zero byte in line 1, at its byte 2"),
    ],
    ids=["latin-1", "utf-16", "zeros"],
)
def test_what_is_no_text_is_refused(task: Path, read, data: bytes, message: str) -> None:
    task.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read(f"babi:{task}", *SPECS)


def test_what_the_graph_has_no_room_for_is_refused(task: Path, read) -> None:
    short = (("stories", (1, 4, 5), "int64"),)
    with pytest.raises(DataError, match=r"_train.txt', line 4 has 6 words, and the graph's sentences 5; .*sentence=6"):
        read(f"babi:{task}", *short)
    few = (SPECS[0], SPECS[1], ("answers", (1, len(WORDS))))
    size = len(WORDS)
    with pytest.raises(
        DataError, match=rf"has {size} words, and the graph's vocabulary {size} .*vocabulary={size + 1}"
    ):
        read(f"babi:{task}", *few)
    with pytest.raises(DataError, match=rf"the graph's vocabulary {size} "):
        read(f"babi:{task}", *SPECS[:2], draws={"stories": size, "queries": size})
    assert read(f"babi:{task}", *SPECS[:2], ("answers", (1, size + 1)))["answers"].shape == (1, size + 1)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([("stories", (1, 4), "int64")], "cannot fill stories of"),
        ([("queries", (1, 4), "int64")], "cannot fill stories of no shape"),
        ([SPECS[0], ("queries", (1, 8), "int64")], r"cannot fill queries of \[1, 8\]"),
        ([SPECS[0], ("answers", (2, 40))], r"cannot fill answers of \[2, 40\]"),
        ([("images", (1, 4))], "has no input 'images'"),
    ],
)
def test_what_cannot_be_filled_is_said(task: Path, read, specs: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(f"babi:{task}", *specs)


def test_paths_that_are_no_tasks_are_refused(task: Path, read) -> None:
    with pytest.raises(DataError, match=r"_test.txt' is not named '..._train.txt'"):
        read(f"babi:{str(task).replace('train', 'test')}", *SPECS)
    (task.parent / "none").mkdir()
    with pytest.raises(DataError, match=r"none' has no file '..._train.txt'"):
        read(f"babi:{task.parent}/none", *SPECS)
    with pytest.raises(DataError, match=r"no file '.*/gone_train.txt'"):
        read(f"babi:{task.parent}/gone_train.txt", *SPECS)
