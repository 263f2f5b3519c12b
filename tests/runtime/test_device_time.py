"""Device time: which node launched what, sums of a step, and the whole way from a profile to a run folder."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.analysis.runs.kernels import KERNEL_COLUMNS
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, RunError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.devices import recorded
from fathom_onnx.runtime.devices.clocks import ClockPair, clock_error_ns, read_clocks, to_host_ns
from fathom_onnx.runtime.devices.cupti import CuptiRecorder
from fathom_onnx.runtime.devices.node_intervals import NodeIntervals
from fathom_onnx.runtime.devices.records import DeviceActivity, Launch, Recording, read_recording, write_recording
from fathom_onnx.runtime.devices.step import Work, device_step, gaps
from fathom_onnx.runtime.devices.times import DeviceTimes, device_times
from fathom_onnx.runtime.profiler import measurement, sessions
from fathom_onnx.runtime.traces.events import read_events
from fathom_onnx.runtime.traces.node_runs import NodeRun
from fathom_onnx.runtime.traces.runs import StepRun, read_runs
from support.fakes import fake_cupti
from support.fakes.fake_device import MadeUpDevice, kernel_ns
from support.graphs.small_models import FLOAT, cnn, control_flow, line_training, model, op
from support.paths import SAMPLES
from support.runs.sealing import reseal

CUDA = "CUDAExecutionProvider"
THREAD = 41


def ran(
    name: str, start: int, duration: int, op_type: str = "Add", own: int | None = None, where: str = CUDA
) -> NodeRun:
    return NodeRun(name, op_type, where, THREAD, start, duration, duration if own is None else own)


# A from 10 to 20, then a Loop from 30 to 90 with B (40 to 50) and an If (60 to 80) that holds C (65 to 75); us
NODES = (
    ran("A", 10, 10),
    ran("B", 40, 10),
    ran("C", 65, 10),
    ran("I", 60, 20, "If", 10),
    ran("L", 30, 60, "Loop", 30),
)


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "name", "unsure"),
    [
        (12_000, 15_000, "A", False),
        (10_200, 11_900, "A", False),  # it may begin before A's first certain time, but nothing else was there
        (25_000, 26_000, None, False),
        (32_000, 33_000, "L", False),
        (42_000, 47_000, "B", False),
        (55_000, 56_000, "L", False),
        (61_500, 63_000, "I", False),
        (66_000, 74_000, "C", False),
        (76_900, 78_000, "I", False),
        (85_000, 86_000, "L", False),
        (95_000, 96_000, None, False),
        (49_000, 51_900, "B", True),  # B ended between 50 and 52: the Loop may have made it
        (40_100, 40_700, "L", True),  # B began between 40 and 41
    ],
)
def test_a_call_belongs_to_the_innermost_node(start_ns: int, end_ns: int, name: str | None, unsure: bool) -> None:
    found, ambiguous = NodeIntervals(NODES).find(start_ns, end_ns)
    assert (None if found is None else NODES[found].name, ambiguous) == (name, unsure)


def test_neighbours_in_one_microsecond_are_told_apart_by_the_middle() -> None:
    # A is over and B begins within the microsecond from 20 to 21
    nodes = (ran("A", 10, 10), ran("B", 20, 10))
    intervals = NodeIntervals(nodes)
    assert intervals.find(20_000, 20_400) == (0, True)
    assert intervals.find(20_500, 20_900) == (1, True)
    assert intervals.find(21_500, 22_500) == (1, False)
    # a call of 3 us does not fit the first, which took less than 1
    assert NodeIntervals((ran("A", 20, 0), ran("B", 20, 9))).find(20_300, 23_300) == (1, False)


def test_clocks_that_are_off_widen_the_borders() -> None:
    intervals = NodeIntervals((ran("A", 10, 10), ran("B", 24, 10)))
    assert intervals.find(18_000, 19_000) == (0, False)
    assert intervals.find(18_000, 19_000, error_ns=7_000) == (0, True)
    assert intervals.find(22_000, 23_000) == (None, False)
    assert intervals.find(22_000, 23_000, error_ns=1_000) == (0, False)
    assert intervals.find(22_500, 23_500, error_ns=1_500) == (1, True)
    # a call that no bound explains: the node that holds its middle, and not for sure
    assert intervals.find(8_000, 13_000) == (0, True)


@st.composite
def true_runs(draw: st.DrawFn) -> tuple[list[NodeRun], list[tuple[int, int, str]]]:
    """Nodes as a trace rounds them, in the order of their ends, and calls that each made, in nanoseconds."""
    nodes: list[NodeRun] = []
    calls: list[tuple[int, int, str]] = []
    numbers = itertools.count()

    def execute(begin: int, depth: int) -> int:
        name = f"k{next(numbers)}"
        at = begin + draw(st.integers(0, 3_000))
        children = draw(st.integers(1, 3)) if depth < 2 and draw(st.booleans()) else 0
        for _ in range(children):
            at = call(name, at)
            at = execute(at + draw(st.integers(0, 2_500)), depth + 1)
        end = call(name, at) + draw(st.integers(0, 2_500))
        kind = "Loop" if children else "Add"
        nodes.append(ran(name, begin // 1000, (end - begin) // 1000, kind))
        return end

    def call(name: str, at: int) -> int:
        if draw(st.booleans()):
            start = at + draw(st.integers(0, 2_000))
            end = start + draw(st.integers(1, 5_000))
            calls.append((start, end, name))
            return end
        return at

    at = draw(st.integers(0, 5_000))
    for _ in range(draw(st.integers(1, 5))):
        at = execute(at, 0) + draw(st.integers(0, 4_000))
    return nodes, calls


@given(true_runs())
def test_what_is_said_for_sure_is_so(drawn: tuple[list[NodeRun], list[tuple[int, int, str]]]) -> None:
    nodes, calls = drawn
    intervals = NodeIntervals(nodes)
    for start, end, name in calls:
        found, unsure = intervals.find(start, end)
        assert found is not None
        assert unsure or nodes[found].name == name


def test_clocks_are_read_together() -> None:
    told = iter([100, 140, 200, 210, 300, 380])
    # of three readings (20, 5 and 40 each way) the second is the tightest
    assert read_clocks(lambda: 9_000, lambda: next(told), readings=3) == ClockPair(9_000, 205, 5)


def test_times_follow_the_distance_of_the_clocks() -> None:
    since_1970 = 1_795_000_000_000_000_001
    clock = (ClockPair(1_000, since_1970, 300), ClockPair(2_000_001_000, since_1970 + 2_000_000_400, 200))
    asked = np.array([1_000, 1_000_001_000, 2_000_001_000, 3_000_001_000], np.int64)
    moved = [0, 1_000_000_200, 2_000_000_400, 3_000_000_400]
    assert (to_host_ns(asked, clock) - since_1970).tolist() == moved
    assert clock_error_ns(clock) == 300 + 400
    with pytest.raises(RunError, match="never read together"):
        to_host_ns(asked, ())


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 25)), min_size=1, max_size=12)


@given(spans)
def test_busy_and_idle_make_the_span(drawn: list[tuple[int, int]]) -> None:
    work = [
        Work(
            DeviceActivity(("kernel", "copy", "set")[i % 3], "", i, start, start + length), i if i % 2 else None, i != 2
        )
        for i, (start, length) in enumerate(drawn)
    ]
    step, ordered = device_step(work)
    total = sum(length for _, length in drawn)
    busy = {at for start, length in drawn for at in range(start, start + length)}
    assert step.busy_ns == len(busy)
    assert step.busy_ns + step.idle_ns == step.span_ns
    assert step.span_ns == max(s + n for s, n in drawn) - min(s for s, _ in drawn)
    assert step.kernel_ns + step.copy_ns + step.set_ns == total == step.busy_ns + step.overlap_ns
    assert step.attributed_ns + step.outside_nodes_ns == total
    assert sum(one.gap_ns for one in ordered) == step.idle_ns
    assert (step.kernels + step.copies + step.sets) == len(drawn)


def test_a_gap_belongs_to_the_work_that_ends_it() -> None:
    # two streams: the second interval lies within the first, nothing runs from 100 to 130
    assert gaps(np.array([0, 20, 130, 130]), np.array([100, 50, 140, 150])).tolist() == [0, 0, 30, 0]
    assert gaps(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


EXACT = (ClockPair(0, 0, 0), ClockPair(10_000_000, 10_000_000, 0))


def kernel(number: int, start: int, end: int, name: str = "gemm", stream: int = 7) -> DeviceActivity:
    return DeviceActivity("kernel", name, number, start, end, 0, stream, (8, 1, 1), (256, 1, 1), 64, 1024)


def recording(launches: list[Launch], activities: list[DeviceActivity], **facts: Any) -> Recording:
    return Recording("made up", tuple(launches), tuple(activities), facts.pop("clock", EXACT), facts.pop("dropped", 0))


def one_run(launches: list[Launch], activities: list[DeviceActivity], **facts: Any) -> DeviceTimes:
    return device_times([[StepRun(5, 95, NODES)]], [recording(launches, activities, **facts)], CUDA)


def test_every_kind_of_work_goes_where_it_belongs() -> None:
    launches = [
        Launch(1, THREAD, 12_000, 14_000),
        Launch(2, THREAD, 66_500, 68_000),  # in C, in the If, in the Loop
        Launch(3, THREAD, 82_000, 84_000),  # the Loop's own
        Launch(4, THREAD, 96_000, 97_000),  # in the run, after its last node
        Launch(5, 99, 43_000, 44_000),  # while B runs, by another thread
        Launch(6, THREAD, 2_000, 3_000),  # before the run
        Launch(7, THREAD, 45_000, 46_000),  # a graph: one call, two kernels
    ]
    activities = [
        kernel(1, 20_000, 25_000),
        DeviceActivity("set", "memset", 1, 30_000, 30_400, 0, 7, size_bytes=64),
        kernel(7, 50_000, 51_000, "a"),
        kernel(7, 51_000, 53_000, "b"),
        kernel(2, 200_000, 207_000),  # long after the run has ended
        kernel(3, 203_000, 209_000, stream=8),
        DeviceActivity("copy", "DTOH", 4, 210_000, 212_000, 0, 7, size_bytes=4096),
        kernel(5, 60_000, 60_900),
        kernel(6, 4_000, 9_000),  # feeds the run: in no step
        kernel(8, 70_000, 70_050),  # nobody is known to have launched it
    ]
    found = one_run(launches, activities)
    us = dict(zip(found.times.names, found.times.self_us[0].tolist(), strict=True))
    assert us == {"A": 5.4, "B": 3.0, "C": 7.0, "I": 0.0, "L": 6.0}
    (step,) = found.steps
    assert step.span_ns == 212_000 - 20_000
    assert step.kernel_ns == 5_000 + 3_000 + 7_000 + 6_000 + 900 + 50
    assert (step.copy_ns, step.set_ns) == (2_000, 400)
    assert step.overlap_ns == 4_000
    assert step.busy_ns == 5_000 + 400 + 3_000 + 9_000 + 2_000 + 900 + 50
    assert step.idle_ns == step.span_ns - step.busy_ns
    assert step.attributed_ns == 21_400
    assert step.outside_nodes_ns == 2_000 + 900 + 50
    assert (step.unlinked_ns, step.host_ns, step.launches, step.ambiguous_launches) == (50, 0, 6, 0)
    assert step.other_thread_launches == 1
    assert (step.kernels, step.copies, step.sets) == (7, 1, 1)
    assert found.times.run_us[0] == 192.0
    assert found.times.outside_us[0] == pytest.approx((step.idle_ns + step.outside_nodes_ns - step.overlap_ns) / 1000)
    (uses,) = found.uses
    by_node = {(key.node, key.name): astuple(use) for key, use in uses.items()}
    assert by_node[("A", "gemm")] == (1, 5_000, 0, 0)
    assert by_node[("A", "memset")] == (1, 400, 5_000, 64)
    assert by_node[("", "DTOH")] == (1, 2_000, 1_000, 4096)
    assert {name for node, name in by_node if node == "B"} == {"a", "b"}


def test_work_belongs_to_the_step_of_its_launch() -> None:
    runs = [StepRun(0, 10, (ran("A", 1, 8),)), StepRun(20, 10, (ran("A", 21, 8),))]
    # the first step's kernel begins when the second step is over, on a device that is far behind
    launches = [Launch(1, THREAD, 3_000, 4_000), Launch(2, THREAD, 23_000, 24_000), Launch(3, THREAD, 13_000, 14_000)]
    activities = [kernel(1, 50_000, 50_700), kernel(2, 60_000, 60_200), kernel(3, 55_000, 56_000)]
    found = device_times([runs], [recording(launches, activities)], CUDA)
    assert found.times.self_us[:, 0].tolist() == [0.7, 0.2]
    assert [step.launches for step in found.steps] == [1, 1]
    assert found.host_run_us == (10, 10)
    kept = found.without([0])
    assert kept.times.self_us.tolist() == [[0.2]]
    assert (len(kept.steps), len(kept.uses), kept.host_run_us) == (1, 1, (10,))


def test_a_node_that_ran_on_the_host_keeps_the_hosts_time() -> None:
    nodes = (ran("A", 10, 10), ran("S", 30, 7, "Shape", where="CPUExecutionProvider"))
    found = device_times(
        [[StepRun(5, 95, nodes)]], [recording([Launch(1, THREAD, 12_000, 13_000)], [kernel(1, 20_000, 22_000)])], CUDA
    )
    assert found.times.self_us.tolist() == [[2.0, 7.0]]
    assert (found.steps[0].host_ns, found.steps[0].span_ns, found.times.run_us[0]) == (7_000, 2_000, 9.0)


def test_threads_told_by_other_numbers_are_an_error() -> None:
    with pytest.raises(RunError, match="made by another thread than the one that ran the nodes"):
        one_run([Launch(1, 140_046_552, 12_000, 14_000)], [kernel(1, 20_000, 25_000)])


def test_a_call_that_was_not_timed_makes_its_work_unlinked() -> None:
    found = one_run([Launch(1, THREAD, 0, 0)], [kernel(1, 20_000, 25_000)])
    assert (found.steps[0].unlinked_ns, found.steps[0].attributed_ns) == (5_000, 0)


def test_a_step_without_work_on_the_device() -> None:
    found = one_run([], [])
    assert found.times.self_us.tolist() == [[0.0] * 5]
    assert (found.steps[0].span_ns, found.steps[0].idle_ns, found.times.run_us[0]) == (0, 0, 0.0)


def test_clocks_apart_are_corrected() -> None:
    ahead = 5_000_000_000
    clock = (ClockPair(ahead, 0, 20), ClockPair(ahead + 1_000_000, 1_000_000, 30))
    found = one_run(
        [Launch(1, THREAD, ahead + 12_000, ahead + 13_000)], [kernel(1, ahead + 20_000, ahead + 21_000)], clock=clock
    )
    assert found.times.self_us[0, 0] == 1.0
    assert found.clock_error_ns == 30


def test_records_that_cannot_be_are_left_out_and_too_many_refused() -> None:
    launches = [Launch(1, THREAD, 12_000, 14_000)]
    good = [kernel(1, 20_000 + 10 * i, 20_010 + 10 * i) for i in range(300)]
    found = one_run(launches, [*good, kernel(1, 0, 0), kernel(1, 30_000, 29_000), kernel(1, 11_000, 12_000)])
    assert (found.invalid, found.times.self_us[0, 0]) == (3, 3.0)
    with pytest.raises(RunError, match="1 of 2 device records have impossible times"):
        one_run(launches, [good[0], kernel(1, 0, 0)])
    with pytest.raises(RunError, match="17 device records were lost"):
        one_run(launches, good, dropped=17)


def test_a_recording_is_read_back_the_same(tmp_path: Path) -> None:
    made = recording(
        [Launch(1, THREAD, 12, 14, "cudaMemcpyAsync_v3020")],
        [kernel(1, 20, 25), DeviceActivity("copy", "HTOD", 1, 3, 4, 0, 7, size_bytes=12)],
        clock=(ClockPair(1_795_000_000_000_000_001, 2, 3),),
    ).beside(99)
    path = tmp_path / "device.jsonl.gz"
    write_recording(path, made)
    assert read_recording(path) == made


HEADER = b'{"format": "fathom-onnx/device-records/1", "source": "", "dropped": 0, "trace_start_ns": 0}\n'


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]\n",
        b'{"format": "other"}\n',
        b'{"format": "fathom-onnx/device-records/1"}\n',
        HEADER + b'{"record": "x"}\n',
        HEADER + b'{"record": "launch"}\n',
        HEADER + b'{"record": "activity", "kind": "sleep"}\n',
        HEADER + b"not json\n",
    ],
)
def test_a_broken_recording_is_an_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "device.jsonl.gz"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(RunError, match=r"'device.jsonl.gz' cannot be read"):
        read_recording(path)
    path.write_bytes(gzip.compress(text)[:12])
    with pytest.raises(RunError, match="cannot be read"):
        read_recording(path)


def profiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, graph: Graph, **settings: Any
) -> tuple[Run, MadeUpDevice]:
    """A run of the CPU with times of a made-up device, in ``tmp_path / "run"``."""
    device = MadeUpDevice(tmp_path)
    monkeypatch.setattr(sessions, "device_recorder", lambda settings: device)
    run = profile(graph, threads=1, folder=tmp_path / "run", **{"warmup": 1, "steps": 3, **settings})
    return run, device


def wide(width: int = 384) -> Graph:
    """Products that take some milliseconds together."""
    nodes = [op("MatMul", f"{a} w", b, f"forward/m{i}/MatMul") for i, (a, b) in enumerate(itertools.pairwise("xabcy"))]
    weights = np.eye(width, dtype=np.float32)
    made = model(nodes, {"x": (FLOAT, (width, width))}, {"y": (FLOAT, (width, width))}, {"w": weights})
    return from_model(made, "wide")


def test_a_real_trace_with_a_made_up_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run, device = profiled(monkeypatch, tmp_path, wide(), optimization="none")
    # three steps with the recorder alone, then one of warm-up and three that count
    assert device.did == {"start": 2, "step": 3 + 4, "stop": 2}
    # the nodes are k0 to k3 in their order: each has one kernel of known length, in every step
    known = [kernel_ns(f"k{i}") / 1000 for i in range(4)]
    assert run.samples.tolist() == [known] * 3
    assert run.nodes["median_us"].tolist() == known
    assert run.kind_us("attributed") == pytest.approx(sum(known))
    found = run.summary()
    assert found["node_times"] == run.manifest["node_times"] == "device"
    told = found["device_time"]
    assert told["source"] == "made up"
    assert (told["kernels"], told["launches"], told["ambiguous_launches"]) == (4, 4, 0)
    assert told["attributed_us"] == told["kernel_us"] == told["busy_us"] == pytest.approx(sum(known))
    assert told["outside_nodes_us"] == told["unlinked_us"] == told["overlap_us"] == 0
    assert (run.steps["run_us"] - run.steps["node_us"] - run.steps["outside_us"]).abs().max() < 1e-9
    assert found["run_time_us"] == pytest.approx(found["node_time_us"] + found["outside_us"])
    assert (found["statistics"]["floor"], found["statistics"]["below_floor_nodes"]) == (None, None)
    assert told["clock_error_us"] < 1000
    alone = told["unprofiled"]
    assert (alone["span_us"], alone["busy_us"], alone["idle_us"]) == (9, 9, 0)
    assert alone["recording_overhead_us"] == alone["step_us"] - found["control_us"]

    table = run.kernels
    assert table is not None
    assert tuple(table.columns) == KERNEL_COLUMNS
    last = table.iloc[0]
    shown = tuple(last[["node", "kernel", "grid", "block", "calls", "us"]])
    assert shown == ("forward/m3/MatMul", "made_up_MatMul", "8x1x1", "128x1x1", 1, known[3])
    assert table["us"].tolist() == known[::-1]
    (row,) = found["by_kernel"]
    assert (row["kind"], row["name"], row["calls"], row["nodes"], row["share"]) == ("kernel", "made_up_MatMul", 4, 4, 1)


def test_a_run_folder_with_device_times_is_read_back_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run, _ = profiled(monkeypatch, tmp_path, cnn())
    folder = tmp_path / "run"
    again = Run.load(folder)
    assert again.summary() == run.summary()
    assert np.array_equal(again.samples, run.samples)
    assert again.kernels is not None
    assert again.kernels.equals(run.kernels)
    # with the records beside the trace everything can be worked out again
    recorded = read_recording(folder / "device.jsonl.gz")
    runs = list(read_runs(read_events(folder / "trace.json.gz")))[1:]
    found = device_times([runs], [recorded], "CPUExecutionProvider")
    assert sorted(found.times.self_us.sum(axis=0)) == sorted(run.samples.sum(axis=0))
    (folder / "kernels.csv").write_text("executed\n")
    reseal(folder)
    with pytest.raises(DataError, match=r"kernels\.csv has columns executed"):
        Run.load(folder)
    (folder / "kernels.csv").unlink()
    with pytest.raises(DataError, match=r"has no 'kernels\.csv'"):
        Run.load(folder)
    reseal(folder)
    with pytest.raises(DataError, match="malformed"):
        Run.load(folder)


def test_bodies_have_their_own_device_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run, _ = profiled(monkeypatch, tmp_path, control_flow(), optimization="none")
    nodes = run.nodes[~run.nodes["op_type"].isin(["Loop", "If"])]
    assert (run.nodes["median_us"] == 0).sum() == 2
    # a kernel of k<n> takes 1.5 us and n times 0.137: each node has its own n in all its executions
    numbers = (nodes["median_us"] / nodes["calls"] - 1.5) / 0.137
    assert np.allclose(numbers, numbers.round(), atol=1e-6)
    assert numbers.round().nunique() == len(nodes)
    calls = nodes.set_index("op_type")["calls"]
    assert (calls["Add"], calls["MatMul"], calls["Tanh"] + calls["Relu"]) == (1, 5, 5)
    told = run.manifest["device_time"]
    assert told["kernels"] == nodes["calls"].sum()
    assert told["attributed_us"] == told["kernel_us"] == pytest.approx(run.node_time_us)


def test_the_timeline_has_the_devices_streams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profiled(monkeypatch, tmp_path, wide(), optimization="none")
    events = json.loads(gzip.decompress((tmp_path / "run" / "timeline.json.gz").read_bytes()))["traceEvents"]
    tracks = {e["args"]["name"] for e in events if e["ph"] == "M" and e["pid"] == 3}
    assert tracks == {"device", "device 0 stream 7"}
    shown = [e for e in events if e["ph"] == "X" and e["pid"] == 3]
    hosts = [e for e in events if e["ph"] == "X" and e["pid"] == 2]
    assert len(shown) == len(hosts) == 3 * 4
    by_time = zip(sorted(shown, key=lambda e: e["ts"]), sorted(hosts, key=lambda e: e["ts"]), strict=True)
    for work, node in by_time:
        assert (work["name"], work["args"]["node"]) == ("made_up_MatMul", node["args"]["node"])
        # the made-up device runs a kernel no sooner than 40 us after its launch in the middle of its node
        assert work["ts"] - node["ts"] > 40
        assert work["dur"] in [kernel_ns(f"k{i}") / 1000 for i in range(4)]


def test_the_recorder_on_cupti_beside_a_real_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cupti = fake_cupti.install(monkeypatch)
    numbers = itertools.count(1)

    def flush(flag: int) -> None:
        if flag:
            return
        # one kernel a step, launched half a millisecond before the step's end
        number, at = next(numbers), time.time_ns() - 500_000
        launch = fake_cupti.call(number, at, at + 2_000)
        launch.thread_id = threading.get_native_id()
        cupti._completed([launch, fake_cupti.kernel(number, at + 5_000, at + 10_000)])

    monkeypatch.setattr(cupti, "activity_flush_all", flush)
    monkeypatch.setattr(sessions, "device_recorder", lambda settings: CuptiRecorder())
    run = profile(wide(), threads=1, steps=3, warmup=1, folder=tmp_path / "run")
    told = run.manifest["device_time"]
    assert told["source"].startswith("cupti ")
    assert (told["kernels"], told["launches"], told["kernel_us"]) == (1, 1, 5)
    assert told["unprofiled"]["busy_us"] == 5
    assert len(read_recording(tmp_path / "run" / "device.jsonl.gz").activities) == 4
    assert cupti.enabled == set()


def test_state_and_several_sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sessions, "EVENTS_PER_SESSION", 50)
    run, device = profiled(monkeypatch, tmp_path, line_training(), steps=8, feeds={"x": np.ones(3, np.float32)})
    assert run.manifest["sessions"] > 1
    assert device.did["start"] == device.did["stop"] == 1 + run.manifest["sessions"]
    assert len(list((tmp_path / "run").glob("device*.jsonl.gz"))) == run.manifest["sessions"]
    assert len(run.samples) == 8
    assert (np.ptp(run.samples, axis=0) == 0).all()


def test_a_kept_trace_and_its_made_up_records() -> None:
    runs = list(read_runs(read_events(SAMPLES / "device-sample" / "trace.json.gz")))[1:]
    recorded = read_recording(SAMPLES / "device-sample" / "device.jsonl.gz")
    found = device_times([runs], [recorded], "CPUExecutionProvider")
    known = [
        [calls * kernel_ns(name) for calls, name in zip(row, found.times.names, strict=True)]
        for row in found.times.calls
    ]
    # the Loop and the If launch nothing themselves
    own = np.array([kind not in ("Loop", "If") for kind in found.times.op_types])
    assert own.sum() == len(own) - 2
    assert np.rint(found.times.self_us * 1000).tolist() == (np.array(known) * own).tolist()
    for step in found.steps:
        assert (step.kernels, step.launches, step.copies) == (26, 27, 1)
        # the copy to the host is in the run and in no node; the copy that feeds a step is in none
        assert (step.outside_nodes_ns, step.copy_ns, step.unlinked_ns) == (2_500, 2_500, 0)
        assert step.busy_ns + step.idle_ns == step.span_ns
        assert step.attributed_ns == step.kernel_ns
    assert [step.kernel_ns for step in found.steps] == [52_700, 52_837]


def test_the_cuda_providers_own_calls_are_in_their_nodes() -> None:
    runs = list(read_runs(read_events(SAMPLES / "cuda-calls" / "trace.json.gz")))[1:]
    recorded = read_recording(SAMPLES / "cuda-calls" / "device.jsonl.gz")
    found = device_times([runs], [recorded], CUDA)
    # in every run two more calls copy the batch to the device before it
    assert len(recorded.launches) == 3 * (27 + 2)
    kinds = dict(zip(found.times.names, found.times.op_types, strict=True))
    for step, uses in zip(found.steps, found.uses, strict=True):
        assert (step.launches, step.ambiguous_launches, step.other_thread_launches) == (27, 0, 0)
        assert (step.outside_nodes_ns, step.host_ns, step.attributed_ns) == (0, 0, 27 * 2_000)
        # each node launched what it is: no work is at its neighbour
        assert Counter((kinds[key.node], key.name) for key, use in uses.items() for _ in range(use.calls)) == {
            ("MatMul", "library call"): 6,
            ("Gemm", "library call"): 4,
            ("Add", "cudaLaunchKernel"): 5,
            ("Mul", "cudaLaunchKernel"): 3,
            ("Gather", "cudaLaunchKernel"): 3,
            ("Softmax", "cudaLaunchKernel"): 3,
            ("ReduceSum", "memset"): 3,
        }
        assert len(uses) == 27
    silent = [kind for kind, us in zip(found.times.op_types, found.times.self_us[0], strict=True) if us == 0]
    assert Counter(silent) == {"Squeeze": 6, "Unsqueeze": 6}
    assert found.clock_error_ns < 1_000


def test_the_command_shows_the_devices_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sessions, "device_recorder", lambda settings: MadeUpDevice(tmp_path))
    path = tmp_path / "wide.onnx"
    onnx.save(wide().model, path)
    asked = ["profile", str(path), "--steps", "2", "--optimization", "none", "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "times of nodes: of the kernels, copies and sets that a node launched, on the device" in done.stdout
    assert "Device (made up)" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["kernels", "6.8", "us", "4", "kernels", "by", "4", "launching", "calls"] in lines
    assert ["launched", "outside", "nodes", "0.0", "us", "0.0", "us", "by", "no", "recorded", "call"] in lines
    assert any(line[:4] == ["run", "on", "the", "device"] for line in lines)
    assert ["made_up_MatMul", "6.8", "us", "100.0%", "4", "4"] in lines
    assert "floor:" not in done.stdout
    shown = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert shown["device_time"] == json.loads((tmp_path / "run" / "manifest.json").read_text())["device_time"]


def test_serialized_times_are_called_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measurement, "host_node_times", lambda settings: "serialized")
    path = tmp_path / "wide.onnx"
    onnx.save(wide().model, path)
    done = CliRunner().invoke(main, ["profile", str(path), "--steps", "2", "-o", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "while each launch waits for its kernel (serialized)" in done.stdout
    assert "step, unprofiled, serialized" in done.stdout
    run = Run.load(tmp_path / "run")
    assert (run.summary()["node_times"], run.summary()["device_time"], run.kernels) == ("serialized", None, None)


def test_a_profiler_on_another_clock_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded.time, "time_ns", lambda: 5)
    with pytest.raises(RunError, match="not on the system's real-time clock"):
        profiled(monkeypatch, tmp_path, wide())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("session", [1, 2])
def test_recording_ends_when_a_step_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session: int) -> None:
    def fail() -> None:
        if device.did["start"] == session:
            raise RunError("the device is gone", "look for it")

    device = MadeUpDevice(tmp_path)
    monkeypatch.setattr(device, "step_done", fail)
    monkeypatch.setattr(sessions, "device_recorder", lambda settings: device)
    with pytest.raises(RunError, match="the device is gone"):
        profile(wide(), threads=1, steps=2)
    assert device.did == {"start": session, "stop": session}
