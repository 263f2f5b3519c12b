"""Reading onnxruntime's trace: exclusive times, runs, and traces that cannot be trusted."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.errors import RunError
from fathom_onnx.runtime.traces.events import TraceEvent, read_events
from fathom_onnx.runtime.traces.memory import traced_memory
from fathom_onnx.runtime.traces.runs import read_runs
from fathom_onnx.runtime.traces.steps import step_times
from support.graphs.small_models import FLOAT, model, op


def node(name: str, start: int, duration: int, op_type: str = "Add", thread: int = 1) -> TraceEvent:
    return TraceEvent(name, True, thread, start, duration, op_type, "CPUExecutionProvider")


def session(name: str, start: int, duration: int, thread: int = 1) -> TraceEvent:
    return TraceEvent(name, False, thread, start, duration)


def line(event: TraceEvent) -> str:
    return json.dumps(
        {
            "cat": "Node" if event.is_node else "Session",
            "pid": 1,
            "tid": event.thread,
            "dur": event.duration_us,
            "ts": event.start_us,
            "ph": "X",
            "name": event.name + ("_kernel_time" if event.is_node else ""),
            "args": {"op_name": event.op_type, "provider": event.provider} if event.is_node else {},
        }
    )


def write(path: Path, lines: list[str], end: str = "\n]\n") -> Path:
    path.write_text("[\n" + ",\n".join(lines) + end)
    return path


# a Loop of two iterations, each of A and B run by an executor of its own; then C; 100 us in all
NESTED = [
    session("session_initialization", 0, 5),
    node("A", 12, 6),
    node("B", 20, 3),
    session("SequentialExecutor::Execute", 11, 14),
    node("A", 31, 5),
    node("B", 37, 2),
    session("SequentialExecutor::Execute", 30, 12),
    node("L", 10, 40, "Loop"),
    node("C", 60, 30),
    session("SequentialExecutor::Execute", 8, 90),
    session("model_run", 5, 100),
]


def test_bodies_are_counted_once() -> None:
    (run,) = read_runs(NESTED)
    self_us = {(n.name, n.start_us): n.self_us for n in run.nodes}
    # the Loop's own time is 40 less the two executors around its bodies (14 and 12)
    assert self_us == {("A", 12): 6, ("B", 20): 3, ("A", 31): 5, ("B", 37): 2, ("L", 10): 14, ("C", 60): 30}
    assert (run.run_us, run.node_us, run.outside_us) == (100, 60, 40)


def test_loops_within_loops_are_counted_once() -> None:
    events = [
        node("inner", 20, 5),
        node("loop2", 18, 10, "Loop"),
        node("after", 30, 4),
        node("loop1", 15, 25, "Scan"),
        session("model_run", 10, 40),
    ]
    (run,) = read_runs(events)
    assert {n.name: n.self_us for n in run.nodes} == {"inner": 5, "loop2": 5, "after": 4, "loop1": 11}
    assert run.outside_us == 40 - 25


def test_runs_are_told_apart_by_thread_and_by_model_run() -> None:
    events = [
        node("A", 1, 4, thread=1),
        node("A", 2, 7, thread=2),
        session("model_run", 0, 10, thread=1),
        session("model_run", 0, 12, thread=2),
        node("A", 21, 3, thread=1),
        session("model_run", 20, 5, thread=1),
    ]
    times = step_times(read_runs(events))
    assert times.self_us.tolist() == [[4], [7], [3]]
    assert times.outside_us.tolist() == [6, 5, 2]


def test_times_by_step_and_node() -> None:
    again = [
        TraceEvent(e.name, e.is_node, e.thread, e.start_us + 200, e.duration_us, e.op_type, e.provider) for e in NESTED
    ]
    times = step_times(read_runs([*NESTED, *again[7:]]))
    assert times.names == ("A", "B", "L", "C")
    assert times.self_us.tolist() == [[11, 5, 14, 30], [0, 0, 40, 30]]
    assert times.calls.tolist() == [[2, 2, 1, 1], [0, 0, 1, 1]]
    assert (times.run_us == times.node_us + times.outside_us).all()


def test_a_file_is_read_plain_and_compressed(tmp_path: Path) -> None:
    plain = write(tmp_path / "t.json", [line(e) for e in NESTED])
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_events(plain)) == list(read_events(packed)) == NESTED


def test_a_full_profiler_says_how_many_events_were_lost(tmp_path: Path) -> None:
    last = {"cat": "Session", "tid": 1, "dur": 0, "ts": 9, "name": "profile_truncated"}
    last["args"] = {"max_num_events": "1000000", "dropped_event_count": "5006"}
    path = write(tmp_path / "t.json", [*(line(e) for e in NESTED), json.dumps(last)])
    with pytest.raises(RunError, match=r"5006 events were lost .* holds 11"):
        list(read_events(path))


def test_a_cut_trace_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.json", [line(e) for e in NESTED]).read_bytes()
    path = tmp_path / "cut.json"
    for keep, count in ((len(whole) - 3, 11), (len(whole) // 2, None), (0, 0)):
        path.write_bytes(whole[:keep])
        with pytest.raises(RunError, match="is lost" if count is None else f"after {count} events"):
            list(read_events(path))
    packed = tmp_path / "cut.json.gz"
    packed.write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(RunError, match=r"cut\.json\.gz"):
        list(read_events(packed))


def test_a_missing_trace_and_one_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        list(read_events(tmp_path / "none.json"))
    with pytest.raises(RunError, match="holds no run"):
        step_times(read_runs(NESTED[:3]))


def _tree(depth: int) -> st.SearchStrategy[list[object]]:
    leaf = st.integers(0, 9)
    return st.recursive(leaf, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=depth).map(
        lambda found: found if isinstance(found, list) else [found]
    )


def _events(tree: list[object], clock: int) -> tuple[list[TraceEvent], int, int]:
    """Events of a tree of nodes (a list is a Loop with a body), the clock after it, and the time of its leaves."""
    events: list[TraceEvent] = []
    leaves = 0
    for child in tree:
        begin = clock
        if isinstance(child, list):
            inner, clock, within = _events(child, clock + 1)
            clock += 1
            events += [*inner, node(f"loop{len(inner)}", begin, clock - begin, "Loop")]
            leaves += within
        else:
            assert isinstance(child, int)
            clock += child
            events.append(node(f"leaf{child}", begin, child))
            leaves += child
    return events, clock, leaves


@given(st.lists(_tree(12), min_size=1, max_size=3))
def test_run_time_is_node_time_and_time_outside_exactly(trees: list[list[object]]) -> None:
    events: list[TraceEvent] = []
    clock, sums = 0, []
    for tree in trees:
        begin = clock
        made, clock, leaves = _events(tree, clock + 2)
        clock += 3
        events += [*made, session("model_run", begin, clock - begin)]
        sums.append(leaves)
    runs = list(read_runs(events))
    assert len(runs) == len(trees)
    for run, leaves in zip(runs, sums, strict=True):
        assert all(n.self_us >= 0 for n in run.nodes)
        assert sum(n.self_us for n in run.nodes if n.op_type != "Loop") == leaves
        # outside is what stands before the first node and after the last: 2 and 3
        assert run.outside_us == 5
    assert np.array([r.run_us for r in runs]).sum() == clock


def test_steps_can_be_left_out_with_the_nodes_that_ran_in_those_alone() -> None:
    later = session("model_run", 300, 40)
    times = step_times(read_runs([*NESTED, node("C", 310, 20), later]))
    rest = times.without([0])
    assert (rest.names, rest.op_types, rest.providers) == (("C",), ("Add",), ("CPUExecutionProvider",))
    assert (rest.self_us.tolist(), rest.calls.tolist(), rest.run_us.tolist()) == ([[20]], [[1]], [40])
    assert rest.outside_us.tolist() == [20]
    assert times.without([]).self_us.tolist() == times.self_us.tolist()


def profiled(folder: Path) -> Path:
    """The trace of two runs of an exponential and a sum in onnxruntime."""
    import onnxruntime as ort

    made = model(
        [op("Exp", "x", "a", "exp"), op("Concat", "a a", "y", "twice", axis=0)],
        {"x": (FLOAT, (250,))},
        {"y": (FLOAT, (500,))},
    )
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "real")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    running = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for _ in range(2):
        running.run(None, {"x": np.zeros(250, np.float32)})
    return Path(running.end_profiling())


def test_a_trace_of_onnxruntime_is_read(tmp_path: Path) -> None:
    path = profiled(tmp_path)
    times = step_times(read_runs(read_events(path)))
    assert times.names == ("exp", "twice")
    assert times.op_types == ("Exp", "Concat")
    assert times.calls.tolist() == [[1, 1], [1, 1]]
    assert (times.outside_us >= 0).all()


def ort_line(name: str, start: int, duration: int, op_type: str) -> str:
    """A line as onnxruntime writes it."""
    arguments = (
        f'"output_size" : "8","op_name" : "{op_type}","output_type_shape" : [{{"float":[2]}}],"provider" : "cpu"'
    )
    return (
        f'{{"cat" : "Node","pid" :7,"tid" :3,"dur" :{duration},"ts" :{start},"ph" : "X",'
        f'"name" :"{name}_kernel_time","args" : {{{arguments}}}}}'
    )


def test_lines_that_need_not_be_parsed_say_the_same(tmp_path: Path) -> None:
    # a renamed node's further executions; names that only look renamed, or are of several nodes
    lines = [ort_line("k1", 10, 5, "Add"), ort_line("k1", 20, 6, "Add"), ort_line("k1", 30, 7, "Add")]
    lines += [ort_line(name, 40, 1, kind) for name in ("k1x", "", "k") for kind in ("Mul", "Relu")]
    found = list(read_events(write(tmp_path / "t.json", lines)))
    assert found[:3] == [TraceEvent("k1", True, 3, 10 * n, 4 + n, "Add", "cpu") for n in (1, 2, 3)]
    assert [(e.name, e.op_type) for e in found[3:]] == [(n, k) for n in ("k1x", "", "k") for k in ("Mul", "Relu")]
    half = write(tmp_path / "half.json", [lines[0], lines[1][:-20]])
    with pytest.raises(RunError, match="broken after 1 events"):
        list(read_events(half))


def test_memory_of_the_first_run(tmp_path: Path) -> None:
    found = traced_memory(profiled(tmp_path))
    assert [(n.name, n.activation_bytes, n.parameter_bytes, n.output_bytes, n.change_bytes) for n in found.nodes] == [
        ("exp", 1000, 0, 1000, 1000),
        ("twice", 2000, 0, 2000, 2000),
    ]
    first, second = (n.in_use_bytes for n in found.nodes)
    assert first is not None
    assert second == first + 2000
    assert found.peak_bytes is not None
    assert found.held_bytes is not None
    assert found.held_bytes >= found.peak_bytes >= 3000


def test_a_provider_that_says_nothing_of_memory_leaves_it_unknown(tmp_path: Path) -> None:
    found = traced_memory(write(tmp_path / "t.json", [line(e) for e in NESTED]))
    assert (found.peak_bytes, found.held_bytes) == (None, None)
    assert [n.name for n in found.nodes] == ["A", "B", "A", "B", "L", "C"]
    assert {n.in_use_bytes for n in found.nodes} == {None}
    broken = write(tmp_path / "broken.json", [line(NESTED[0]), "{"])
    with pytest.raises(RunError, match="broken after 1 events"):
        traced_memory(broken)


def test_times_of_many_steps_are_added_up_without_holding_their_events() -> None:
    nodes, steps = 50, 400

    def events() -> Iterator[TraceEvent]:
        for step in range(steps):
            start = step * 1000
            yield from (node(f"n{i}", start + 10 * i, 7) for i in range(nodes))
            yield session("model_run", start, 900)

    tracemalloc.start()
    times = step_times(read_runs(events()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert times.self_us.sum() == 7 * nodes * steps
    # two whole numbers a step and node, held twice for a moment; an event alone would take 200 bytes
    assert peak < 4 * 16 * nodes * steps
