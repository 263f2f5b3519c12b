"""Traces of other sessions: old and new forms, nodes told apart, threads, what cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fathom_onnx.errors import RunError
from fathom_onnx.runtime.traces.foreign import read_foreign
from support.runs.traces import Event, events_of, write_trace

CHAIN = [Event("a", "Relu", 0, 7), Event("", "Exp", 1, 5), Event("", "Exp", 2, 3)]


def times(path: Path) -> list[dict[str, int]]:
    """Exclusive time by name and index, by run."""
    trace = read_foreign(path)
    labels = [f"{n.name}|{n.op_type}|{n.node_index}" for n in trace.nodes]
    return [{labels[int(n.name)]: n.self_us for n in run.nodes} for run in trace.read_runs()]


def test_nodes_without_a_name_are_told_apart_by_their_index(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json", [CHAIN, CHAIN])
    assert times(path) == [{"a|Relu|0": 7, "|Exp|1": 5, "|Exp|2": 3}] * 2
    assert read_foreign(path).runs == 2


def test_without_indices_they_are_told_apart_by_their_order(tmp_path: Path) -> None:
    chain = [Event("a", "Relu", None, 7), Event("", "Exp", None, 5), Event("", "Exp", None, 3)]
    trace = read_foreign(write_trace(tmp_path / "t.json", [chain, chain]))
    assert [(n.name, n.op_type, n.node_index) for n in trace.nodes] == [("a", "Relu", None), *[("", "Exp", None)] * 2]
    assert [[n.self_us for n in run.nodes] for run in trace.read_runs()] == [[7, 5, 3]] * 2


def test_fences_and_events_of_devices_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    lines = events_of([CHAIN], fences=True)
    lines.insert(2, {"cat": "Kernel", "pid": -1, "tid": 0, "dur": 50, "ts": 101, "ph": "X", "name": "k", "args": {}})
    path.write_text("[\n" + ",\n".join(map(json.dumps, lines)) + "\n]\n")
    assert times(path) == [{"a|Relu|0": 7, "|Exp|1": 5, "|Exp|2": 3}]
    assert read_foreign(path).device_events == 1


@pytest.mark.parametrize("form", ["one line", "indented", "traceEvents", "gzip"])
def test_a_trace_that_went_through_a_tool_is_read(form: str, tmp_path: Path) -> None:
    lines = events_of([CHAIN])
    path = tmp_path / ("t.json.gz" if form == "gzip" else "t.json")
    if form == "gzip":
        path.write_bytes(gzip.compress(("[\n" + ",\n".join(map(json.dumps, lines)) + "\n]\n").encode()))
    elif form == "traceEvents":
        path.write_text(json.dumps({"traceEvents": lines}))
    else:
        path.write_text(json.dumps(lines, indent=2 if form == "indented" else None))
    assert times(path) == [{"a|Relu|0": 7, "|Exp|1": 5, "|Exp|2": 3}]


def test_a_body_is_inside_its_loop_and_its_time_is_counted_once(tmp_path: Path) -> None:
    # two iterations of a body of 10 and 20 us, inside a Loop of 100 us that starts at 5
    inner = [Event("", "Relu", 0, 10, start=10), Event("", "Relu", 1, 20, start=20)]
    again = [Event("", "Relu", 0, 10, start=50), Event("", "Relu", 1, 20, start=60)]
    run = [Event("", "Relu", 0, 4, start=0), *inner, *again, Event("", "Loop", 1, 100, start=5)]
    trace = read_foreign(write_trace(tmp_path / "t.json", [run]))
    assert [(n.op_type, n.node_index, n.parent) for n in trace.nodes] == [
        ("Relu", 0, None),
        ("Loop", 1, None),
        ("Relu", 0, 1),
        ("Relu", 1, 1),
    ]
    (only,) = trace.read_runs()
    us = [0, 0, 0, 0]
    for node in only.nodes:
        us[int(node.name)] += node.self_us
    assert us == [4, 40, 20, 40]
    assert only.run_us == only.node_us + only.outside_us == 115


def test_nodes_of_a_parallel_session_belong_to_the_run_that_called_them(tmp_path: Path) -> None:
    run = [Event("a", "Relu", 0, 50, start=0, thread=2), Event("b", "Relu", 1, 40, start=5, thread=3)]
    trace = read_foreign(write_trace(tmp_path / "t.json", [run, run]))
    assert trace.parallel
    assert [sorted(n.self_us for n in r.nodes) for r in trace.read_runs()] == [[40, 50], [40, 50]]


def test_what_is_no_whole_trace_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json", [CHAIN])
    text = path.read_text()
    lost = {"name": "profile_truncated", "cat": "Session", "args": {"dropped_event_count": "12"}}
    for broken, why in (
        (text[: len(text) // 2], "cut short"),
        ("", "cut short after 0 events"),
        ("no trace", "is no trace of onnxruntime"),
        ("7", "it has no list of events"),
        ('{"traceEvents": "x"}', "it has no list of events"),
        ("[\n" + json.dumps(events_of([])[0]) + "\n]\n", "holds no run"),
        (text[:-3] + ",\n" + json.dumps(lost) + "\n]\n", "12 events were lost"),
    ):
        path.write_text(broken)
        with pytest.raises(RunError, match=why):
            read_foreign(path)
    with pytest.raises(RunError, match=r"missing\.json"):
        read_foreign(tmp_path / "missing.json")


def test_runs_that_overlap_on_threads_of_their_own_are_refused(tmp_path: Path) -> None:
    lines = events_of([CHAIN, CHAIN])
    for line in lines:
        if line["cat"] == "Node":
            line["tid"] = 9
        if line["name"] == "model_run":
            line["dur"] += 1000
    path = tmp_path / "t.json"
    path.write_text("[\n" + ",\n".join(map(json.dumps, lines)) + "\n]\n")
    with pytest.raises(RunError, match="overlap"):
        read_foreign(path)
