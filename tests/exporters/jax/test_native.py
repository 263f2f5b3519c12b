"""Native profiles in JAX: same step as the reference, every equation known and counted, times that add up."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.extend import core

from fathom_exporters.jax import JaxExporter, marks
from fathom_exporters.jax.jaxprs import Place
from fathom_exporters.jax.models import JAX
from fathom_exporters.jax.native import JaxNative, backend
from fathom_exporters.jax.native import profiler as profiler_module
from fathom_exporters.jax.native.equations import OpByOp
from fathom_exporters.jax.native.kept import keep, kept_step
from fathom_exporters.jax.native.ops import Labels
from fathom_exporters.jax.native.plan import take_apart
from fathom_exporters.jax.native.programs import compile_step
from fathom_exporters.jax.native.users import UserStep, on_device
from fathom_exporters.jax.translate.placing import SHARED
from fathom_onnx.analysis.runs.native_run import build_native_run
from fathom_onnx.data import batches_for
from fathom_onnx.errors import UsageError
from fathom_onnx.native import UNKNOWN, NativeRequest, find_native
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.vocabulary import OPS, PHASES
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Gradients, Mode, Workload

WORKLOADS = tuple(JAX.built_in)
CASES: list[tuple[str, Mode]] = [(name, mode) for name in WORKLOADS for mode in workload(name, "tiny").modes]


def made(name: str, mode: Mode) -> tuple[Workload, UserStep, dict[str, Any]]:
    spec = workload(name, "tiny")
    return spec, UserStep(spec, mode), next(batches_for(spec, mode, 0, noise="input"))


def products_of(jaxpr: Any) -> Counter[str]:
    """How often a jaxpr multiplies matrices or convolves, all the bodies of its calls included."""
    found: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            found[equation.primitive.name] += 1
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, core.ClosedJaxpr):
                    found += products_of(inner.jaxpr)
                elif isinstance(inner, core.Jaxpr):
                    found += products_of(inner)
    return found


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_equation_is_known_and_every_product_is_there(name: str, mode: Mode) -> None:
    spec, step, batch = made(name, mode)
    plan, _ = take_apart(step, spec, mode, batch)
    labels = [call.op for call in plan.calls]
    assert {label.op for label in labels} <= set(OPS)
    layers = {layer.name for layer in spec.layers} | {"loss", SHARED, UNKNOWN} | {p.name for p in spec.parameters}
    assert {label.layer for label in labels} <= layers
    # what JAX puts into no layer adds up gradients of a value that several layers have read, and computes nothing else
    assert {label.op for label in labels if UNKNOWN in (label.phase, label.layer)} <= {"Add", "Tile", "Fill"}
    jaxpr = jax.make_jaxpr(step.function)(*step.shapes(batch))
    counted = products_of(jaxpr.jaxpr)
    ours = Counter(label.framework_op for label in labels)
    assert counted
    assert {name: ours[name] for name in counted} == dict(counted)
    of_products = Counter(label.op for label in labels if label.framework_op in counted)
    assert set(of_products) <= {"MatMul", "Conv2D", "Conv2DBackFilter", "Conv2DBackInput"}
    if mode == "training":
        assert {label.phase for label in labels} >= set(PHASES)
        updates = {label.op for label in labels if label.phase == "optimizer"}
        assert updates == {spec.optimizer.OP, *([Gradients.OP] if spec.gradients != Gradients() else [])}
        assert {label.layer for label in labels if label.phase == "optimizer"} == {
            *(p.name for p in spec.parameters),
            *({SHARED} & {label.layer for label in labels}),
        }
        # the images have no gradient, all other convolutions two
        assert of_products["Conv2DBackFilter"] == of_products["Conv2D"] or name == "deepq"
        assert of_products["Conv2DBackInput"] < max(1, of_products["Conv2D"])
    else:
        assert {label.phase for label in labels} <= {"forward", UNKNOWN}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("name", "mode"), [("autoenc", "training"), ("deepq", "training"), ("residual", "inference")])
def test_the_same_step_as_the_references(name: str, mode: Mode, kept: bool, tmp_path: Path) -> None:
    spec = workload(name, "tiny")
    batches = list(itertools.islice(batches_for(spec, mode, 0, noise="input"), 2))
    reference = JaxExporter().reference(spec, mode, "float32")
    values, expected = dict(spec.initial_values(mode, 0)), []
    for batch in batches:
        outputs = reference.step({**values, **batch}).outputs
        expected.append(outputs)
        values |= {v.name: outputs[v.next.name] for v in spec.carried(mode)}
    _, step, batch = made(name, mode)
    start = spec.initial_values(mode, 0)
    step.load(start)
    compiled_step = compile_step(step, spec, mode, batch, threads=2)
    if kept:
        keep(tmp_path, lambda: compiled_step)
        compiled_step = kept_step(tmp_path, step.arguments(on_device(batch)))
    step.use(compiled_step.whole)
    op_by_op = OpByOp(compiled_step.plan, compiled_step.programs)
    for compiled in (True, False):
        step.load(start)
        for batch, wanted in zip(batches, expected, strict=True):
            if compiled:
                outputs = step.run(on_device(batch))
            else:
                outputs, state = op_by_op.run(step.arguments(on_device(batch)))
                step.keep(state)
            for key, value in outputs.items():
                np.testing.assert_allclose(value, wanted[key], rtol=1e-4, atol=1e-5)


def test_a_measurement_adds_up_and_says_what_it_is() -> None:
    spec = workload("autoenc", "tiny")
    progress: list[tuple[str, int, int]] = []
    request = NativeRequest(
        spec, "training", [next(batches_for(spec, "training", 0))], threads=cpu_cores(), warmup=1, steps=2
    )
    measured = JaxNative().measure(request, lambda what, done, total: progress.append((what, done, total)))
    assert measured.profiled_as == "op by op; XLA fuses these"
    series = (("control", 3), ("profile", 3), ("control op by op", 2))  # the last one is warm already
    assert progress == [(what, n, steps) for what, steps in series for n in range(1, steps + 1)]
    assert [len(us) for us in (measured.steps, measured.control_us, measured.comparable_us)] == [2, 2, 2]
    calls = {sum(one.calls for one in step.ops.values()) for step in measured.steps}
    assert calls == {measured.facts["equations"]}
    for step in measured.steps:
        assert 0 < sum(one.us for one in step.ops.values()) <= step.run_us
    drawn = {op.op for op in measured.steps[0].ops if op.op.startswith("Random")}
    assert drawn == {"RandomNormal"}
    manifest = {"workload": "autoenc", "mode": "training", "preset": "tiny", "framework": "jax", "threads": 1}
    facts = {"framework_version": "1", "data": {}, "warmup": 1, "steps": 2}
    run = build_native_run(measured, {**manifest, **facts})
    summary = run.summary()
    assert summary["profiled_as"] == measured.profiled_as
    assert sum(row["us"] for row in summary["by_op"]) == pytest.approx(summary["op_time_us"])
    assert summary["unlisted_us"] == 0


def test_the_compiled_step() -> None:
    spec = workload("memnet", "tiny")
    batches = [next(batches_for(spec, "training", 0, noise="input"))]
    request = NativeRequest(spec, "training", batches, "input", threads=cpu_cores(), warmup=1, steps=2)
    measured = JaxNative().compiled(request, lambda what, done, total: None)
    assert (len(measured.step_us), measured.kernels) == (2, None)
    assert measured.first_us > max(measured.step_us)
    expected = (
        JaxExporter().reference(spec, "training", "float32").step({**spec.initial_values("training", 0), **batches[0]})
    )
    np.testing.assert_allclose(measured.first["loss"], expected.outputs["loss"], rtol=1e-5)


def test_each_step_draws_anew() -> None:
    spec = workload("autoenc", "tiny")
    step = UserStep(spec, "training", seed=3)
    batch = on_device(next(batches_for(spec, "training", 0)))
    losses = []
    for _ in range(2):
        step.load(spec.initial_values("training", 0))
        losses.append([float(step.run(batch)["loss"]) for _ in range(2)])
    assert losses[0] == losses[1]
    first, second = (step.arguments(batch)[3] for _ in range(2))
    assert list(first) != list(second)


def equation_of(function: Any, *arguments: Any) -> Any:
    (equation,) = jax.make_jaxpr(function)(*arguments).jaxpr.eqns
    return equation


def test_labels_by_hand() -> None:
    labels = Labels({"fc"}, "ApplyAdam", {0: "fc.weight", 1: "fc.bias"})
    one = np.ones((2, 3), np.float32)
    multiply, rev = equation_of(jax.lax.mul, one, one), equation_of(lambda x: jax.lax.rev(x, (0,)), one)
    in_layer, update = Place("backward", ("fc",)), Place("optimizer", ())
    assert labels.of(multiply, in_layer, [5, 6], [7])[:4] == ("Mul", "mul", "backward", "fc")
    # of one parameter, of what was computed from it, of two, of none
    owned = [
        labels.of(multiply, update, given, [to]).layer for given, to in (([0, None], 8), ([8, 8], 9), ([9, 1], 10))
    ]
    assert owned == ["fc.weight", "fc.weight", SHARED]
    assert labels.of(multiply, update, [None, 11], [12])[:4] == ("ApplyAdam", "mul", "optimizer", SHARED)
    assert labels.of(multiply, Place("optimizer", (Gradients.OP,)), [0, 0], [13]).op == Gradients.OP
    labels.gradient(14, "fc.bias")
    assert labels.of(multiply, update, [14, 14], [15]).layer == "fc.bias"
    image, kernel = np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 2, 2), np.float32)
    convolve = equation_of(lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"), image, kernel)
    labels.of(rev, in_layer, [20], [21])
    assert labels.of(convolve, in_layer, [22, 21], [23]).op == "Conv2DBackInput"
    assert labels.of(convolve, in_layer, [22, 20], [24]).op == "Conv2DBackFilter"
    assert labels.of(convolve, Place("forward", ("fc",)), [22, 20], [25]).op == "Conv2D"
    marked = equation_of(marks._mark("ClipGrad", lambda x: 2 * x, min=0.0), one)
    assert labels.of(marked, Place(None), [26], [27]) == ("ClipGrad", "fathom.ClipGrad", UNKNOWN, UNKNOWN, False)
    unknown = equation_of(jax.lax.lgamma, one)
    assert labels.of(unknown, in_layer, [28], [29]).op == "jax::lgamma"


def test_it_is_found() -> None:
    profiler = find_native("jax")
    assert (profiler.framework, profiler.version()) == ("jax", jax.__version__)


def test_finding_it_starts_nothing() -> None:
    """A process that measures is a copy of one that has imported the framework, whose threads no copy would have."""
    code = (
        "from fathom_onnx.native import find_native; find_native('jax')\n"
        "from fathom_exporters.jax.jaxprs import backend_runs; print(backend_runs())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.skipif(cpu_cores() < 2, reason="takes two cores to tell")
def test_threads_are_set_before_xla_starts() -> None:
    code = (
        "import os, threading; from fathom_exporters.jax.native.backend import on_cpu\n"
        "with on_cpu(1): pass\n"
        "print(os.environ.get('NPROC'))"
    )
    environment = {**os.environ, "NPROC": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "7\n"


def test_a_step_is_recorded_and_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = workload("memnet", "tiny")
    batches = [next(batches_for(spec, "inference", 0))]
    request = NativeRequest(spec, "inference", batches, threads=cpu_cores(), warmup=1, steps=1, kept=tmp_path / "kept")
    profiler = JaxNative()
    profiler.prepare(request)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert set(kept) == {"step.json", "constants.npz", "programs.bin"}

    def refuse(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(profiler_module, "compile_step", refuse)
    measured = profiler.measure(request, lambda what, done, total: None)
    monkeypatch.undo()
    profiler.prepare(request)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == kept
    anew = profiler.measure(replace(request, kept=None), lambda what, done, total: None)
    for name, made_anew in anew.first.items():
        np.testing.assert_array_equal(measured.first[name], made_anew)
    assert [{op: one.calls for op, one in step.ops.items()} for step in measured.steps] == [
        {op: one.calls for op, one in step.ops.items()} for step in anew.steps
    ]
    assert {name: measured.facts[name] for name in ("equations", "programs")} == {
        name: anew.facts[name] for name in ("equations", "programs")
    }


def test_threads_cannot_change_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_started_with", [3])
    with backend.on_cpu(3):
        pass
    with (
        pytest.raises(UsageError, match="XLA runs with 3 threads in this process and cannot be given 2"),
        backend.on_cpu(2),
    ):
        pass
