"""Native profiles in TensorFlow: same step as the reference, every operation known, statistics read exactly."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow import TensorFlowExporter
from fathom_exporters.tensorflow.capture import capture
from fathom_exporters.tensorflow.models import TENSORFLOW
from fathom_exporters.tensorflow.native.graph import NativeGraph, native_graph
from fathom_exporters.tensorflow.native.kept import kept_graph
from fathom_exporters.tensorflow.native.layouts import inverse, permuted_reads, unpermuted
from fathom_exporters.tensorflow.native.profiler import TensorFlowNative, set_threads
from fathom_exporters.tensorflow.native.session import open_session
from fathom_exporters.tensorflow.native.stats import MERGED, canonical_of_executed, executed_type, native_step
from fathom_exporters.tensorflow.native.users import apply_kernels, kernel_slots, treated
from fathom_onnx.data import batches_for
from fathom_onnx.errors import RunError, UsageError
from fathom_onnx.native import UNKNOWN, NativeOp, NativeRequest, Spent
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.vocabulary import OPS, PHASES
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import (
    Adam,
    AdamW,
    GradientDescent,
    Gradients,
    Initialiser,
    Mode,
    NoiseSource,
    RMSProp,
    Variable,
    Workload,
)
from support.graphs.exports import MODES_OF, TRAINED, WORKLOADS


def graph_of(spec: Workload, mode: Mode, noise: NoiseSource) -> NativeGraph:
    set_threads(cpu_cores())
    captured = capture(spec, TENSORFLOW.model(spec.name), mode, noise, data_format="NHWC", update=False)
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


def test_every_workload_is_here() -> None:
    assert {name for name, _ in CASES} == set(WORKLOADS)
    assert len(WORKLOADS) == 17  # those of two suites, and llama's decoding


DRAWS: list[tuple[str, Mode, NoiseSource]] = [("autoenc", "training", "graph"), ("alexnet", "training", "graph")]


@pytest.mark.parametrize(("name", "mode", "noise"), [*((*case, "input") for case in CASES), *DRAWS])
def test_every_operation_is_known(name: str, mode: Mode, noise: NoiseSource) -> None:
    spec = workload(name, "tiny")
    layers = {layer.name for layer in spec.layers} | {"loss", "step", UNKNOWN} | {p.name for p in spec.parameters}
    graph = graph_of(spec, mode, noise)
    with open_session(graph, cpu_cores(), optimized=False) as session:
        session.load(spec.initial_values(mode, 0))
        stats = session.traced_step(graph.laid_out(next(batches_for(spec, mode, 0, noise=noise))))
    step = native_step(stats, graph.tags, 0.0)
    assert {op.op for op in step.ops} <= set(OPS)
    assert {op.layer for op in step.ops} <= layers
    # what belongs to no layer computes nothing: it hands tensors to the step and takes them from it
    assert {op.op for op in step.ops if UNKNOWN in (op.phase, op.layer)} <= {"Identity"}
    assert 0 < sum(spent.us for spent in step.ops.values()) <= step.run_us
    if mode == "training":
        assert {op.phase for op in step.ops} >= set(PHASES)
        updates = {op.op for op in step.ops if op.phase == "optimizer"}
        treatment = spec.gradients != Gradients()
        assert updates == {spec.optimizer.OP, *([spec.gradients.OP] if treatment else [])}
        # a table whose rows are updated too; the powers of Adam's decays are the step's
        updated = {op.layer for op in step.ops if op.op == spec.optimizer.OP}
        assert updated - {"step"} == {p.name for p in spec.parameters}
    else:
        assert {op.phase for op in step.ops} <= {"forward", UNKNOWN}
    drawn = {op.op for op in step.ops if op.op.startswith("Random")}
    assert drawn == ({"autoenc": {"RandomNormal"}, "alexnet": {"RandomUniform"}}[name] if noise == "graph" else set())


KERNELS = {
    "ApplyAdam": "ResourceApplyAdam",
    "ApplyRMSProp": "ResourceApplyRMSProp",
    "ApplyGradientDescent": "ResourceApplyGradientDescent",
}


@pytest.mark.parametrize("name", TRAINED)
def test_the_losses_of_several_steps_are_the_references(name: str, tmp_path: Path) -> None:
    """Of a graph that is read from files, as in all rounds of a study."""
    spec = workload(name, "tiny")
    if isinstance(spec.optimizer, Adam):
        # the kernel adds epsilon to the uncorrected root, which does not show where epsilon is this small
        spec = replace(spec, optimizer=replace(spec.optimizer, epsilon=1e-12))
    batches = list(itertools.islice(batches_for(spec, "training", 0, noise="input"), 3))
    start = spec.initial_values("training", 0)
    reference = TensorFlowExporter().reference(spec, "training", "float32")
    expected, values = [], dict(start)
    for batch in batches:
        outputs = reference.step({**values, **batch}).outputs
        expected.append(outputs["loss"])
        values |= {v.name: outputs[v.next.name] for v in spec.carried("training")}
    graph = kept_graph(tmp_path, lambda: graph_of(spec, "training", "input"))
    laid_out = [graph.laid_out(batch) for batch in batches]
    with open_session(graph, cpu_cores(), optimized=False) as session:
        for _ in range(2):  # loading begins anew
            session.load(start)
            losses = [session.step(batch)["loss"] for batch in laid_out]
            np.testing.assert_allclose(losses, expected, rtol=2e-5)
        step = native_step(session.traced_step(laid_out[0]), graph.tags, 0.0)
    assert len(set(losses)) == len(losses)
    kernel = KERNELS[spec.optimizer.OP]
    updates = {kernel, "ResourceScatterSub"}
    kernels = [(op.layer, op.framework_op, spent.calls) for op, spent in step.ops.items() if op.framework_op in updates]
    by_rows = dict.fromkeys(spec.row_gradients, "ResourceScatterSub")
    assert sorted(kernels) == sorted((p.name, by_rows.get(p.name, kernel), 1) for p in spec.parameters)
    assert {op.layer for op in step.ops if op.op == spec.gradients.OP} <= {"step", *(p.name for p in spec.parameters)}
    # images and filters come as the kernels take them
    convolutions = {op.layer for op in step.ops if op.op == "Conv2D"}
    outward = {"conv_out"}  # unet's last layer gives its image to the loss in the workload's own layout
    assert not {op for op in step.ops if op.op == "Transpose" and op.layer in convolutions - outward}
    assert {f"{layer}.weight" for layer in convolutions} <= set(graph.permuted)


def test_another_process_takes_the_graph_that_is_kept(tmp_path: Path) -> None:
    spec = workload("residual", "tiny")
    fresh = graph_of(spec, "training", "input")

    def never() -> NativeGraph:
        raise AssertionError

    kept_graph(tmp_path / "step", lambda: fresh)
    kept = kept_graph(tmp_path / "step", never)
    assert kept.graph.as_graph_def() == fresh.graph.as_graph_def()
    assert [op.name for op in kept.graph.get_operations()] == [op.name for op in fresh.graph.get_operations()]
    for name in ("tags", "permuted"):
        assert getattr(kept, name) == getattr(fresh, name)
    for name in ("feeds", "results"):
        assert {k: t.name for k, t in getattr(kept, name).items()} == {
            k: t.name for k, t in getattr(fresh, name).items()
        }
    for name in ("zeroed", "updates"):
        assert [op.name for op in getattr(kept, name)] == [op.name for op in getattr(fresh, name)]
    assert {k: (f.name, o.name) for k, (f, o) in kept.loads.items()} == {
        k: (f.name, o.name) for k, (f, o) in fresh.loads.items()
    }
    # a process that was killed between the two files leaves nothing that is taken for a step
    (tmp_path / "step" / "step.json").unlink()
    assert kept_graph(tmp_path / "step", lambda: fresh).tags == fresh.tags
    assert kept_graph(None, lambda: fresh) is fresh


def test_kernels_by_hand() -> None:
    p, g = np.array([1.0, -2.0], np.float32), np.array([3.0, -0.5], np.float32)
    rules = {
        GradientDescent(0.5): p - 0.5 * g,
        # v = 0.25 g^2
        RMSProp(0.5, decay=0.75, epsilon=0.0625): p - 0.5 * g / np.sqrt(0.25 * g**2 + 0.0625),
        # m = 0.5 g, v = 0.25 g^2: corrected by 0.5 and 0.25, and epsilon added to the uncorrected root
        Adam(0.1, beta1=0.5, beta2=0.75, epsilon=1.0): p - 0.1 * (0.5 / 0.5) * 0.5 * g / (0.5 * np.abs(g) + 1),
        AdamW(0.1, beta1=0.5, beta2=0.75, epsilon=1.0, weight_decay=2.0): 0.8 * p
        - 0.1 * (0.5 / 0.5) * 0.5 * g / (0.5 * np.abs(g) + 1),
    }
    parameter = Variable("p", (2,), Initialiser.constant(0.0))
    for rule, expected in rules.items():
        spec = SimpleNamespace(row_gradients={}, optimizer=rule, parameters=(parameter,))
        held = {"p": tf.Variable(p), **{v.name: tf.Variable(tf.zeros(v.shape)) for v in rule.variables((parameter,))}}
        held |= {name: tf.Variable(tf.zeros(v.shape)) for name, v in kernel_slots(spec).items()}  # type: ignore[arg-type]
        handles = {name: variable.handle for name, variable in held.items()}
        apply_kernels(spec, handles, {"p": tf.constant(g)}, {}, lambda name: contextlib.nullcontext())  # type: ignore[arg-type]
        np.testing.assert_allclose(held["p"].numpy(), expected, rtol=1e-6)
        if isinstance(rule, Adam):
            assert held[rule.STEP].numpy() == 1


def test_gradients_are_treated() -> None:
    gradients = {"a": tf.constant([[3.0], [0.0]]), "b": tf.constant([[0.0], [4.0]])}
    rule = Gradients(clip_global_norm=2.5, clip_norm=1.0, noise=0.5, zero_rows=(("b", 0),))
    noise = {rule.noise_of(name): tf.fill((2, 1), 2.0) for name in gradients}
    made = treated(rule, gradients, noise, lambda name: contextlib.nullcontext())
    # norm 5 to 2.5: 1.5 and 2, each to 1, plus 0.5 * 2, and the first row of b to zero
    np.testing.assert_allclose(made["a"].numpy()[:, 0], [2.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(made["b"].numpy()[:, 0], [0.0, 2.0], rtol=1e-6)


def test_what_is_read_through_one_permutation_alone() -> None:
    with tf.Graph().as_default():
        x, y, z, w, axes = (tf.compat.v1.placeholder(tf.float32, (2, 3, 4)) for _ in range(5))
        once = tf.transpose(x, (2, 0, 1))
        tf.transpose(y, (2, 0, 1)), tf.transpose(y, (1, 0, 2))
        tf.transpose(z, (2, 0, 1)), tf.nn.relu(z)
        tf.transpose(axes, tf.compat.v1.placeholder(tf.int32, (3,)))
        found = permuted_reads(x)
        assert found is not None
        assert found[0] == (2, 0, 1)
        assert found[1][0] is once
        assert [permuted_reads(other) for other in (y, z, w, axes)] == [None] * 4
        assert unpermuted(once, (2, 0, 1)) is x
        assert unpermuted(once, (1, 2, 0)) is None
        assert unpermuted(tf.nn.relu(x), (2, 0, 1)) is None
    assert inverse((2, 0, 1)) == (1, 2, 0)


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
