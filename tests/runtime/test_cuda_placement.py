"""Where nodes run: the rule on made-up nodes, and copies between devices on a recorded trace."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto

from fathom_onnx.analysis.attribution.attribution import attribute
from fathom_onnx.analysis.runs.run import build_run
from fathom_onnx.cli import main
from fathom_onnx.cli.run_commands.run_report import _print_placement
from fathom_onnx.errors import RunError
from fathom_onnx.graph import from_model
from fathom_onnx.profiling import profile
from fathom_onnx.runtime import session as session_module
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.providers.placement import (
    Elsewhere,
    assigned_elsewhere,
    is_shape_arithmetic,
    node_facts,
    placement,
    refuse_compute,
)
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.traces.events import read_events
from fathom_onnx.runtime.traces.runs import read_runs
from fathom_onnx.runtime.traces.steps import StepTimes, step_times
from support.graphs.small_models import FLOAT, INT64, model, op
from support.paths import SAMPLES

TRACE = SAMPLES / "cuda_copies_trace.json"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "shape"),
    [
        ("Shape", ["float32"], ["int64"], True),
        ("Size", ["tensor(float)"], ["tensor(int64)"], True),
        ("Gather", ["int64", "int64"], ["int64"], True),
        ("Concat", ["tensor(int64)"] * 2, ["tensor(int64)"], True),
        ("Equal", ["int64", "int64"], ["bool"], True),
        ("Det", ["float32"], ["float32"], False),
        ("ArgMax", ["float"], ["int64"], False),
        ("Cast", ["int64"], ["float16"], False),
        ("ConstantOfShape", ["int64"], ["double"], False),
        ("Add", ["bfloat16", "bfloat16"], ["bfloat16"], False),
        ("Gather", ["", "int64"], ["int64"], False),
        ("Gather", ["int64", "int64"], [""], False),
        ("Print", ["int64"], [], False),
    ],
)
def test_what_is_shape_arithmetic(kind: str, inputs: list[str], outputs: list[str], shape: bool) -> None:
    assert is_shape_arithmetic(kind, inputs, outputs) is shape


def shapes_and_det() -> onnx.ModelProto:
    """A reshape by a computed shape, and an op that CUDA has no kernel for."""
    nodes = [
        op("Shape", "x", "s", "shape"),
        op("Gather", "s zero", "n", "pick"),
        op("Concat", "n four", "target", "join", axis=0),
        op("Reshape", "x target", "flat", "reshape"),
        op("Det", "x", "y", "det"),
    ]
    constants = {"zero": np.array([0]), "four": np.array([4])}
    outputs = {"flat": (FLOAT, (3, 4)), "y": (FLOAT, (3,))}
    return model(nodes, {"x": (FLOAT, (3, 2, 2))}, outputs, constants)


def assignment(**providers: list[str]) -> Any:
    """A session whose nodes, by name, are assigned like this."""
    kinds = {node.name: node.op_type for node in shapes_and_det().graph.node}

    def part(ep_name: str, names: list[str]) -> Any:
        nodes = [SimpleNamespace(name=n, op_type=kinds.get(n, "Fused"), domain="") for n in names]
        return SimpleNamespace(ep_name=ep_name, get_nodes=lambda: nodes)

    parts = [part(ep, names) for ep, names in providers.items()]
    return SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)


def test_shape_arithmetic_elsewhere_is_listed_and_compute_refused() -> None:
    session = assignment(CUDAExecutionProvider=["reshape"], CPUExecutionProvider=["shape", "pick", "join", "det"])
    found = assigned_elsewhere(session, shapes_and_det(), "cuda")
    assert [(e.node, e.op_type, e.provider, e.compute) for e in found] == [
        ("shape", "Shape", CPU, False),
        ("pick", "Gather", CPU, False),
        ("join", "Concat", CPU, False),
        ("det", "Det", CPU, True),
    ]
    refuse_compute(found[:3], "cuda")
    with pytest.raises(
        RunError, match=r"1 node would not run on 'cuda': 'det' \(Det\) on CPUExec.*; allow it with --allow-fallback"
    ):
        refuse_compute(found, "cuda")
    many = [Elsewhere(f"n{i}", "Det", CPU, True) for i in range(5)]
    with pytest.raises(RunError, match=r"5 nodes would not run on 'cuda': 'n0' .*'n2' \(Det\) on \w+ and 2 more"):
        refuse_compute(many, "cuda")


def test_a_node_that_is_not_known_counts_as_compute() -> None:
    found = assigned_elsewhere(assignment(CPUExecutionProvider=["", "made/by/fusion"]), shapes_and_det(), "cuda")
    assert [(e.node, e.compute) for e in found] == [("Fused", True), ("made/by/fusion", True)]


def test_the_assignment_that_onnxruntime_records_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of the CPU build tells its assignment in the form that is read here."""
    ort = session_module.onnxruntime()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    made = shapes_and_det()
    session = ort.InferenceSession(made.SerializeToString(), options, providers=[CPU])
    assert assigned_elsewhere(session, made, "cpu") == []
    found = {e.node: e.compute for e in assigned_elsewhere(session, made, "cuda")}
    assert found == {"shape": False, "pick": False, "join": False, "reshape": True, "det": True}


def test_a_session_refuses_by_the_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's part is played by the CPU's: options, refusal and permission are the session's own."""
    as_cpu = SimpleNamespace(full_name=CPU, extra="cuda", fix="", device="cpu")
    given: list[Any] = []
    ort = session_module.onnxruntime()

    def building(data: Any, options: Any, providers: Any, **more: Any) -> Any:
        given.append((providers, more))
        return ort.InferenceSession(data, options, providers=[CPU])

    fake = SimpleNamespace(**{name: getattr(ort, name) for name in ("SessionOptions", "GraphOptimizationLevel")})
    fake.InferenceSession = building
    monkeypatch.setattr(session_module, "check_provider", lambda name: as_cpu)
    monkeypatch.setattr(session_module, "onnxruntime", lambda extra="cpu": fake)
    prepared = prepare(from_model(shapes_and_det(), "g"))
    with pytest.raises(RunError, match="2 nodes would not run on 'cuda': 'reshape'"):
        open_session(prepared, SessionSettings("cuda", optimization="none"))
    providers, more = given[0]
    assert providers == [(CPU, SessionSettings("cuda").provider_options)]
    assert more == {"enable_fallback": 0}
    open_session(prepared, SessionSettings("cuda", optimization="none", allow_fallback=True))


def copied() -> onnx.ModelProto:
    """The optimized model of the recorded run, as onnxruntime saved it."""
    nodes = [
        op("Relu", "x", "a_CUDAExecutionProvider", "first"),
        op("MemcpyToHost", "a_CUDAExecutionProvider", "a", "Memcpy_token_0"),
        op("Det", "a", "b", "det"),
        op("MemcpyFromHost", "b", "b_CUDAExecutionProvider", "Memcpy"),
        op("Relu", "b_CUDAExecutionProvider", "y", "last"),
    ]
    return model(nodes, {"x": (FLOAT, (3, 2, 2))}, {"y": (FLOAT, (3,))}, infer=False)


def recorded() -> StepTimes:
    return step_times(itertools.islice(read_runs(read_events(TRACE)), 1, None))


def test_copies_and_nodes_elsewhere_of_a_recorded_trace() -> None:
    times = recorded()
    placed = placement(times, copied(), "cuda", TRACE)
    total = times.self_us.sum()
    away = times.self_us[:, times.names.index("k2")].sum()
    assert placed.shares == {CUDA: 1 - away / total, CPU: away / total}
    assert [(e.node, e.op_type, e.provider, e.compute, e.us) for e in placed.elsewhere] == [
        ("det", "Det", CPU, True, away / 2)
    ]
    copies = {c.node: (c.direction, c.size_bytes, c.calls) for c in placed.copies}
    assert copies == {"Memcpy_token_0": ("to the host", 48, 1), "Memcpy": ("to the device", 12, 1)}
    assert placed.facts()["elsewhere"][0]["node"] == "det"


def test_what_a_trace_does_not_say_is_unknown() -> None:
    facts = node_facts(TRACE, ["k2", "k9"])
    assert set(facts) == {"k2"}
    assert (facts["k2"].inputs, facts["k2"].outputs, facts["k2"].output_bytes) == (("float",), ("float",), 12)
    assert node_facts(TRACE, []) == {}
    count = np.ones((1, 2), np.int64)
    times = StepTimes(("k7", "Memcpy_1"), ("Det", "MemcpyToHost"), (CPU, CUDA), 5 * count, count, np.array([12]))
    placed = placement(times, copied(), "cuda", TRACE)
    assert placed.elsewhere == (Elsewhere("k7", "Det", CPU, True, 5.0),)
    # a copy that was put in when the model was loaded again goes by the name it has
    assert [(c.node, c.size_bytes) for c in placed.copies] == [("Memcpy_1", None)]


def test_copies_are_charged_to_the_node_they_are_for() -> None:
    nodes = [op("Relu", "x", "a", "first"), op("Det", "a", "b", "det"), op("Relu", "b", "y", "last")]
    graph = from_model(model(nodes, {"x": (FLOAT, (3, 2, 2))}, {"y": (FLOAT, (3,))}), "det")
    times = recorded()
    run = build_run(attribute(graph, copied()), times, times.run_us, {"control_steps_us": [9], "warmup": 1, "steps": 2})
    rows = {row.name: (row.kind, tuple(row.originals)) for row in run.nodes.itertuples(index=False)}
    assert rows == {
        "first": ("attributed", ("first",)),
        "Memcpy_token_0": ("charged", ("first",)),
        "det": ("attributed", ("det",)),
        "Memcpy": ("charged", ("last",)),
        "last": ("attributed", ("last",)),
    }
    assert run.summary()["unattributed_us"] == 0


def test_a_run_on_the_cpu_says_where_it_ran() -> None:
    graph = from_model(shapes_and_det(), "g")
    run = profile(graph, steps=2, feeds={"x": np.ones((3, 2, 2), np.float32)}, threads=1)
    shares = run.summary()["node_shares"]
    assert set(shares) <= {CPU}
    assert sum(shares.values()) in (0, pytest.approx(1))
    assert (run.manifest["elsewhere"], run.manifest["device_copies"]) == ([], [])
    assert (run.manifest["tf32"], run.manifest["gpu"]) == (None, None)


def test_the_tables_of_a_run_with_nodes_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    facts = placement(recorded(), copied(), "cuda", TRACE).facts()
    _print_placement({**facts, "provider": "cuda", "tf32": False}, 1)
    told = capsys.readouterr().out
    assert "TensorFloat-32: off" in told
    assert f"on {CUDA}" in told
    assert "Nodes elsewhere" in told
    assert "Copies between devices (1 more)" in told
    assert "48 B" in told


def test_tf32_is_for_cuda_alone(tmp_path: Path) -> None:
    onnx.save(shapes_and_det(), tmp_path / "g.onnx")
    done = CliRunner().invoke(main, ["profile", str(tmp_path / "g.onnx"), "--tf32"])
    assert done.exit_code == 2
    assert "leave out --tf32, or give --ep cuda" in done.output


def test_a_look_up_by_integers_is_compute() -> None:
    """The rows that it gives are the model's numbers."""
    made = model(
        [op("Gather", "table ids", "y", "look")],
        {"table": (FLOAT, (9, 3)), "ids": (INT64, (2,))},
        {"y": (FLOAT, (2, 3))},
    )
    session = SimpleNamespace(
        get_provider_graph_assignment_info=lambda: [
            SimpleNamespace(ep_name=CPU, get_nodes=lambda: [SimpleNamespace(name="look", op_type="Gather", domain="")])
        ]
    )
    assert [e.compute for e in assigned_elsewhere(session, made, "cuda")] == [True]


def test_casts_that_onnxruntime_puts_in_are_charged() -> None:
    """The CPU has no kernel for 16-bit floats here: onnxruntime casts around it, under names of its own."""
    half = TensorProto.FLOAT16
    made = model(
        [op("Mul", "x x", "h", "mul"), op("Tanh", "h", "y", "tanh")], {"x": (half, (64,))}, {"y": (half, (64,))}
    )
    run = profile(from_model(made, "half"), steps=2, feeds={"x": np.ones(64, np.float16)}, threads=1)
    inserted = run.nodes[run.nodes["name"].str.startswith("InsertedPrecisionFreeCast")]
    assert len(inserted) >= 2
    assert set(inserted["op_type"]) == {"Cast"}
    assert set(inserted["kind"]) == {"charged"}
    assert set(run.nodes["kind"]) == {"attributed", "charged"}
    assert {name for row in inserted["originals"] for name in row} <= {"mul", "tanh"}
