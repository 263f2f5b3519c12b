"""Traces of renamed nodes, read by columns: the same runs as event by event, and the same errors."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.errors import RunError
from fathom_onnx.runtime.traces import events
from fathom_onnx.runtime.traces.events import read_events
from fathom_onnx.runtime.traces.node_runs import NodeRun, NodeRuns
from fathom_onnx.runtime.traces.runs import KnownNodes, StepRun, read_runs, read_session
from fathom_onnx.runtime.traces.steps import step_times

OPS = ("Add", "Loop", "If")


def executed(name: str, op_type: str, start: int, us: int, thread: int = 3, provider: str = "cpu") -> str:
    """A line as onnxruntime writes it of a node."""
    arguments = f'"op_name" : "{op_type}","output_type_shape" : [{{"float":[2]}}],"provider" : "{provider}"'
    return (
        f'{{"cat" : "Node","pid" :7,"tid" :{thread},"dur" :{us},"ts" :{start},"ph" : "X",'
        f'"name" :"{name}_kernel_time","args" : {{{arguments}}}}}'
    )


def told(name: str, start: int, us: int, thread: int = 3) -> str:
    """A line of an event that is of no node."""
    return (
        f'{{"cat" : "Session","pid" :7,"tid" :{thread},"dur" :{us},"ts" :{start},"ph" : "X",'
        f'"name" :"{name}","args" : {{}}}}'
    )


def write(path: Path, lines: list[str], end: str = "\n]\n") -> Path:
    path.write_text("[\n" + ",\n".join(lines) + end)
    return path


LINES = st.one_of(
    st.builds(
        # op and provider go by the name, as they do in a trace of one model; k1 is a Loop, k2 an If
        lambda number, start, us, thread: executed(f"k{number}", OPS[number % 3], start, us, thread),
        *(st.integers(0, 5), st.integers(0, 60), st.integers(0, 30), st.integers(1, 2)),
    ),
    st.builds(lambda start, us: executed("Memcpy", "MemcpyToHost", start, us), st.integers(0, 60), st.integers(0, 9)),
    st.builds(
        told,
        st.sampled_from(["model_run", "model_run", "SequentialExecutor::Execute", "session_initialization"]),
        *(st.integers(0, 60), st.integers(0, 90), st.integers(1, 2)),
    ),
)


def plain(runs: list[StepRun]) -> list[tuple[int, int, int, tuple[NodeRun, ...]]]:
    return [(run.start_us, run.run_us, run.outside_us, tuple(run.nodes)) for run in runs]


@given(st.lists(st.lists(LINES, max_size=30), min_size=1, max_size=2), st.integers(20, 3000))
def test_columns_hold_what_the_events_say(traces: list[list[str]], block: int) -> None:
    known, runs, same = KnownNodes(), [], []
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "_BLOCK", block)  # so that events and blocks end in many places
        for number, lines in enumerate(traces):
            path = write(Path(folder, f"{number}.json"), lines)
            runs += list(read_session(path, known))
            same += list(read_runs(read_events(path)))
    assert plain(runs) == plain(same)
    if runs:
        by_columns, by_events = step_times(runs), step_times(same)
        assert by_columns.names == by_events.names
        assert by_columns.providers == by_events.providers
        assert by_columns.self_us.tolist() == by_events.self_us.tolist()
        assert by_columns.calls.tolist() == by_events.calls.tolist()


def test_exclusive_times_of_a_loop_by_columns(tmp_path: Path) -> None:
    # the Loop's own time is 40 less its executor's 14, whose nodes take 6 and 3
    lines = [
        executed("k2", "Add", 12, 6),
        executed("k3", "Mul", 20, 3),
        told("SequentialExecutor::Execute", 11, 14),
        executed("k1", "Loop", 10, 40),
        executed("k0", "Relu", 60, 30),
        told("model_run", 5, 100),
    ]
    (run,) = read_session(write(tmp_path / "t.json", lines), KnownNodes())
    assert [(node.name, node.self_us) for node in run.nodes] == [("k2", 6), ("k3", 3), ("k1", 26), ("k0", 30)]
    assert (run.node_us, run.outside_us) == (65, 35)
    assert run.nodes[2] == NodeRun("k1", "Loop", "cpu", 3, 10, 40, 26)
    assert run.nodes[-2:] == tuple(run.nodes)[-2:]


def test_columns_of_executions_are_the_executions() -> None:
    nodes = (NodeRun("a", "Add", "cpu", 1, 2, 3, 3), NodeRun("b", "Mul", "cuda", 1, 6, 4, 4))
    columns = NodeRuns.of(nodes)
    assert tuple(columns) == nodes
    assert tuple(columns + columns) == nodes + nodes
    assert NodeRuns.of(columns) is columns
    assert (len(NodeRuns.of(())), tuple(NodeRuns.of(()))) == (0, ())


GOOD = [executed("k0", "Add", 10, 5), executed("k0", "Add", 20, 6), told("model_run", 5, 30)]


@pytest.mark.parametrize(
    ("spoiled", "count"),
    [
        (GOOD[1][:-20], 1),  # cut within
        (GOOD[1].replace('"cat" : "Node",', ""), 1),  # facts that are missing
        (GOOD[1].replace('"ts" :20,', ""), 1),
        (executed("k1", "Add", 20, 6).replace('"args" : {', '"args" : ['), 1),
        ("{}", 1),
        ("7", 1),
        ('{"cat" : "Node","name" : 3}', 1),
        (GOOD[1].replace('"ts" :20', '"ts" :"20"'), 1),  # facts of other types
        (GOOD[1].replace('"ts" :20', '"ts" :20.5'), 1),
        (GOOD[1].replace('"dur" :6', '"dur" :null'), 1),
        (GOOD[1].replace('"dur" :6', '"dur" :true'), 1),
        (executed("k1", "Add", 20, 6).replace('"Add"', '["Add"]'), 1),
        (told("model_run", 5, 30).replace('"model_run"', '["model_run"]'), 1),
    ],
)
def test_a_broken_event_is_told_with_its_place(tmp_path: Path, spoiled: str, count: int) -> None:
    path = write(tmp_path / "t.json", [GOOD[0], spoiled, *GOOD[1:]])
    messages = set()
    for read in (lambda: list(read_events(path)), lambda: list(read_session(path, KnownNodes()))):
        with pytest.raises(RunError, match=rf"trace 't\.json' is broken after {count} events") as told_error:
            read()
        messages.add(str(told_error.value))
    assert len(messages) == 1


def test_a_trace_that_is_cut_or_lost_events_is_refused(tmp_path: Path) -> None:
    full = {"cat": "Session", "tid": 1, "dur": 0, "ts": 9, "name": "profile_truncated", "args": {}}
    full["args"] = {"dropped_event_count": "17"}
    with pytest.raises(RunError, match=r"17 events were lost \(trace 'full\.json' holds 3\)"):
        list(read_session(write(tmp_path / "full.json", [*GOOD, json.dumps(full)]), KnownNodes()))
    with pytest.raises(RunError, match=r"cut short after 3 events"):
        list(read_session(write(tmp_path / "open.json", GOOD, end=""), KnownNodes()))
    with pytest.raises(RunError, match=r"'none\.json' cannot be read after 0 events"):
        list(read_session(tmp_path / "none.json", KnownNodes()))
    packed = tmp_path / "cut.json.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "whole.json", GOOD * 9).read_bytes())[:-9])
    with pytest.raises(RunError, match=r"'cut\.json\.gz' cannot be read after \d+ events"):
        list(read_session(packed, KnownNodes()))


def test_foreign_lines_and_line_ends_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(("[\r\n\r\n" + ",\r\n".join(GOOD) + " ,\r\n]\r\n").encode())
    (run,) = read_session(path, KnownNodes())
    assert [(node.name, node.start_us, node.duration_us) for node in run.nodes] == [("k0", 10, 5), ("k0", 20, 6)]
