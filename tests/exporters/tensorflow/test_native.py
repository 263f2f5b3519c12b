"""Native profiles in TensorFlow: same step as the reference, every operation known, statistics read exactly."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow import TensorFlowExporter
from fathom_exporters.tensorflow.capture import capture
from fathom_exporters.tensorflow.models import TENSORFLOW
from fathom_exporters.tensorflow.native.graph import NativeGraph, native_graph, open_session
from fathom_exporters.tensorflow.native.profiler import TensorFlowNative, set_threads
from fathom_exporters.tensorflow.native.stats import MERGED, canonical_of_executed, executed_type, native_step
from fathom_onnx.data import batches_for
from fathom_onnx.errors import RunError, UsageError
from fathom_onnx.native import UNKNOWN, NativeOp, NativeRequest, Spent
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.vocabulary import OPS, PHASES
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode, NoiseSource
from support.graphs.exports import MODES_OF


def graph_of(name: str, mode: Mode, noise: NoiseSource) -> NativeGraph:
    set_threads(cpu_cores())
    model = TENSORFLOW.model(name)
    captured = capture(workload(name, "tiny"), model, mode, noise, data_format="NHWC", gradients=False)
    return native_graph(captured, mode, noise)


EQUAL: list[tuple[str, Mode]] = [
    ("autoenc", "inference"),
    ("autoenc", "training"),
    ("alexnet", "inference"),
    ("alexnet", "training"),
    ("memnet", "training"),
    ("deepq", "training"),
]


@pytest.mark.parametrize(("name", "mode"), EQUAL)
def test_the_same_step_as_the_references(name: str, mode: Mode) -> None:
    spec = workload(name, "tiny")
    batch = next(batches_for(spec, mode, 0, noise="input"))
    expected = TensorFlowExporter().reference(spec, mode, "float32").step({**spec.initial_values(mode, 0), **batch})
    progress = []
    request = NativeRequest(spec, mode, [batch], "input", threads=cpu_cores(), warmup=1, steps=2)
    measured = TensorFlowNative().measure(request, lambda what, done, total: progress.append((what, done, total)))
    assert set(measured.first) == ({"loss"} if mode == "training" else {o.name for o in spec.outputs})
    for key, value in measured.first.items():
        np.testing.assert_allclose(value, expected.outputs[key], rtol=1e-4, atol=1e-5)
    assert [len(series) for series in (measured.steps, measured.control_us, measured.comparable_us)] == [2, 2, 2]
    series = ("control", "control without rewriting", "profile")
    assert progress == [(what, number, 3) for what in series for number in (1, 2, 3)]


CASES = MODES_OF
DRAWS: list[tuple[str, Mode, NoiseSource]] = [("autoenc", "training", "graph"), ("alexnet", "training", "graph")]


@pytest.mark.parametrize(("name", "mode", "noise"), [*((*case, "input") for case in CASES), *DRAWS])
def test_every_operation_is_known(name: str, mode: Mode, noise: NoiseSource) -> None:
    spec = workload(name, "tiny")
    layers = {layer.name for layer in spec.layers} | {"loss", "step", UNKNOWN} | {p.name for p in spec.parameters}
    graph = graph_of(name, mode, noise)
    with open_session(graph, cpu_cores(), optimized=False) as session:
        session.load(spec.initial_values(mode, 0))
        stats = session.traced_step(next(batches_for(spec, mode, 0, noise=noise)))
    step = native_step(stats, graph.tags, 0.0)
    assert {op.op for op in step.ops} <= set(OPS)
    assert {op.layer for op in step.ops} <= layers
    # what belongs to no layer computes nothing: it hands tensors to the step and takes them from it
    assert {op.op for op in step.ops if UNKNOWN in (op.phase, op.layer)} <= {"Identity"}
    assert 0 < sum(spent.us for spent in step.ops.values()) <= step.run_us
    if mode == "training":
        assert {op.phase for op in step.ops} >= set(PHASES)
        updates = {op.op for op in step.ops if op.phase == "optimizer"}
        assert updates <= {spec.optimizer.OP, spec.gradients.OP}
    else:
        assert {op.phase for op in step.ops} <= {"forward", UNKNOWN}
    drawn = {op.op for op in step.ops if op.op.startswith("Random")}
    assert drawn == ({"autoenc": {"RandomNormal"}, "alexnet": {"RandomUniform"}}[name] if noise == "graph" else set())


def test_the_state_lives_from_step_to_step() -> None:
    spec = workload("autoenc", "tiny")
    batch = next(batches_for(spec, "training", 0, noise="input"))
    start = spec.initial_values("training", 0)
    reference = TensorFlowExporter().reference(spec, "training", "float32")
    losses, values = [], dict(start)
    for _ in range(3):
        outputs = reference.step({**values, **batch}).outputs
        losses.append(outputs["loss"])
        values |= {v.name: outputs[v.next.name] for v in spec.carried("training")}
    with open_session(graph_of("autoenc", "training", "input"), cpu_cores(), optimized=False) as session:
        for _ in range(2):  # loading begins anew
            session.load(start)
            np.testing.assert_allclose([session.step(batch)["loss"] for _ in losses], losses, rtol=1e-5)
    assert losses[2] < losses[0]


def test_types() -> None:
    assert executed_type("forward/conv1/Conv2D = _MklNativeConv2D(x, w)") == "_MklNativeConv2D"
    assert executed_type("_SOURCE") == "_SOURCE"
    named = {name: canonical_of_executed(name) for name in ("_MklMatMul", "_MklNativeMaxPool", "ReadVariableOp", "New")}
    assert named == {"_MklMatMul": "MatMul", "_MklNativeMaxPool": "MaxPool", "ReadVariableOp": "Identity", "New": "New"}
    assert set(MERGED.values()) <= set(OPS)


def test_statistics_are_read_exactly() -> None:
    stats = tf.compat.v1.RunMetadata().step_stats
    device = stats.dev_stats.add(device="/device:CPU:0")
    rows = (
        ("f/conv/BiasAdd", "_MklNativeConv2DWithBias(x)", 1_000, 100, 40_100, 41_000),
        ("b/conv/Filter", "Conv2DBackpropFilter(x)", 51_000, 200, 10_200, 11_000),
        ("stray", "_Arg()", 500, 0, 250, 300),
        ("b/conv/Filter2", "Conv2DBackpropFilter(x)", 70_000, 0, 5_000, 6_000),
    )
    for name, label, start, begin, end, done in rows:
        device.node_stats.add(
            node_name=name,
            timeline_label=f"{name} = {label}",
            all_start_nanos=start,
            op_start_rel_nanos=begin,
            op_end_rel_nanos=end,
            all_end_rel_nanos=done,
        )
    backward = Tag("backward", "conv", "Conv2DBackFilter", "")
    tags = {
        "f/conv/BiasAdd": Tag("forward", "conv", "Add", ""),
        "b/conv/Filter": backward,
        "b/conv/Filter2": backward,
    }
    step = native_step(stats, tags, 99.0)
    # from the first node's scheduling at 0.5 us to the last one's end at 76 us
    assert (step.wall_us, step.run_us) == (99.0, 75.5)
    assert list(step.ops.items()) == [
        (NativeOp("Identity", "_Arg", UNKNOWN, UNKNOWN), Spent(0.25, 1)),
        (NativeOp("Conv2D", "_MklNativeConv2DWithBias", "forward", "conv"), Spent(40.0, 1)),
        (NativeOp("Conv2DBackFilter", "Conv2DBackpropFilter", "backward", "conv"), Spent(15.0, 2)),
    ]
    with pytest.raises(RunError, match="traced no node"):
        native_step(tf.compat.v1.RunMetadata().step_stats, {}, 1.0)


def test_threads_cannot_change_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(count: int) -> None:
        raise RuntimeError("cannot be modified after initialization")

    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", refuse)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 3)
    set_threads(3)
    with pytest.raises(UsageError, match="runs with 3 threads in this process and cannot be given 2"):
        set_threads(2)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    set_threads(cpu_cores())
