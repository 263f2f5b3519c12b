"""Native profiles in PyTorch: same step as the reference, every operation known, events read exactly."""

from __future__ import annotations

import functools
import itertools
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from fathom_exporters.torch import TorchExporter
from fathom_exporters.torch.native.event_tree import ROOT, Event, event_tree, find_step
from fathom_exporters.torch.native.events import operation_times, profiler_mark
from fathom_exporters.torch.native.ops import COMPOSITE, NATIVE, canonical_op, plain_name
from fathom_exporters.torch.native.profiler import TorchNative
from fathom_exporters.torch.native.split import ConvolutionGradients
from fathom_exporters.torch.native.updates import Trained, owners
from fathom_exporters.torch.native.users import UserStep, library_optimizer, treat_in_place
from fathom_onnx.data import batches_for
from fathom_onnx.errors import RunError
from fathom_onnx.native import UNKNOWN, NativeMeasurement, NativeOp, NativeRequest
from fathom_onnx.vocabulary import OPS, PHASES
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Gradients, Mode, NoiseSource, RMSProp
from support.graphs.exports import MODES_OF, TRAINED, WORKLOADS


@functools.cache
def measured(name: str, mode: Mode, noise: NoiseSource = "input") -> NativeMeasurement:
    spec = workload(name, "tiny")
    batch = next(batches_for(spec, mode, 0, noise=noise))
    request = NativeRequest(spec, mode, [batch], noise, threads=1, warmup=1, steps=1)
    return TorchNative().measure(request, lambda what, done, total: None)


CASES = MODES_OF


def test_every_workload_is_here() -> None:
    assert {name for name, _ in CASES} == set(WORKLOADS)
    assert len(WORKLOADS) == 17  # those of two suites, and llama's decoding


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_the_same_step_as_the_references(name: str, mode: Mode) -> None:
    spec = workload(name, "tiny")
    values = {**spec.initial_values(mode, 0), **next(batches_for(spec, mode, 0, noise="input"))}
    expected = TorchExporter().reference(spec, mode, "float32").step(values).outputs
    actual = measured(name, mode).first
    assert set(actual) == ({"loss"} if mode == "training" else {o.name for o in spec.outputs})
    for key, value in actual.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-6)


FORMS: list[tuple[str, dict[str, bool]]] = [
    *((name, {}) for name in TRAINED),
    *((name, {form: True}) for name in ("gat", "vit", "dlrm") for form in ("foreach", "fused")),
]


@pytest.mark.parametrize(("name", "forms"), FORMS, ids=[f"{name}-{'-'.join(forms)}" for name, forms in FORMS])
def test_the_losses_of_several_steps_are_the_references(name: str, forms: dict[str, bool]) -> None:
    spec = workload(name, "tiny")
    batches = list(itertools.islice(batches_for(spec, "training", 0, noise="input"), 3))
    start = spec.initial_values("training", 0)
    reference, values, expected = TorchExporter().reference(spec, "training", "float32"), dict(start), []
    for batch in batches:
        outputs = reference.step({**values, **batch}).outputs
        expected.append(outputs["loss"])
        values |= {v.name: outputs[v.next.name] for v in spec.carried("training")}
    step = UserStep(spec, "training", forms=forms)
    step.load(start)
    losses = [step.run({n: torch.from_numpy(v) for n, v in batch.items()})["loss"].item() for batch in batches]
    # torch.optim.RMSprop adds epsilon to the root, where the workload has it inside
    same = slice(0, 1 if isinstance(spec.optimizer, RMSProp) else None)
    np.testing.assert_allclose(losses[same], expected[same], rtol=2e-5)
    assert len(set(losses)) == len(losses)


def test_loading_begins_anew() -> None:
    spec = workload("memnet", "tiny")
    batch = {n: torch.from_numpy(v) for n, v in next(batches_for(spec, "training", 0, noise="input")).items()}
    step, losses = UserStep(spec, "training"), []
    for _ in range(2):
        step.load(spec.initial_values("training", 0))
        losses.append([step.run(batch)["loss"].item() for _ in range(3)])
    assert losses[0] == losses[1]
    assert losses[0][2] < losses[0][1] < losses[0][0]


def test_rmsprop_is_pytorchs_own() -> None:
    spec = SimpleNamespace(optimizer=RMSProp(0.5, decay=0.75, epsilon=0.0625))
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    p.grad = torch.tensor([3.0, 0.0], dtype=torch.float64)
    library_optimizer(spec, [p]).step()  # type: ignore[arg-type]
    # v = 0.25 * 9; p - 0.5 * 3 / (1.5 + 0.25), where the workload divides by the root of 2.25 + 0.0625
    np.testing.assert_allclose(p.detach().numpy(), [1 - 1.5 / 1.75, -2.0], rtol=1e-12)


def test_gradients_are_treated_in_place() -> None:
    names, gradients = ["a", "b"], [[3.0, 0.0], [0.0, 4.0]]
    parameters = {name: torch.nn.Parameter(torch.zeros(2, 1, dtype=torch.float64)) for name in names}
    for parameter, gradient in zip(parameters.values(), gradients, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)[:, None]
    rule = Gradients(clip_global_norm=2.5, clip_norm=1.0, noise=0.5, zero_rows=(("b", 0),))
    noise = {rule.noise_of(name): torch.full((2, 1), 2.0, dtype=torch.float64) for name in names}
    treat_in_place(rule, parameters, noise)
    # norm 5 to 2.5: 1.5 and 2, each to 1, plus 0.5 * 2, and the first row of b to zero
    for name, expected in (("a", [2.0, 1.0]), ("b", [0.0, 2.0])):
        gradient = parameters[name].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient[:, 0].numpy(), expected, rtol=2e-6)


@pytest.mark.parametrize("forms", [{"foreach": True}, {"fused": True}], ids=["foreach", "fused"])
def test_other_forms_of_an_update_are_read_too(forms: dict[str, bool]) -> None:
    spec = workload("vit", "tiny")
    batch = {n: torch.from_numpy(v) for n, v in next(batches_for(spec, "training", 0, noise="input")).items()}
    step = UserStep(spec, "training", mark=profiler_mark, forms=forms)
    step.load(spec.initial_values("training", 0))
    step.run(batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(ROOT):
        step.run(batch)
    found = list(operation_times(find_step(event_tree(profiler)), "training", [0.0], step.trained()))
    updates = [(op, us) for op, us in found if op.op == "ApplyAdam"]
    assert {op.op for op, _ in found if op.phase == "optimizer"} == {"ApplyAdam", "ClipGradient"}
    sizes = {p.name: p.elements for p in spec.parameters}
    assert {op.layer for op, _ in updates} == {"step", *sizes}
    split = {op.layer: us for op, us in updates if op.split}
    assert bool(split) == ("fused" in forms)
    if split:  # by elements
        us = sum(split.values())
        np.testing.assert_allclose([split[n] / us for n in sizes], [n / sum(sizes.values()) for n in sizes.values()])


DRAWS: list[tuple[str, Mode, NoiseSource]] = [("autoenc", "training", "graph"), ("alexnet", "training", "graph")]


@pytest.mark.parametrize(("name", "mode", "noise"), [*((*case, "input") for case in CASES), *DRAWS])
def test_every_operation_is_known(name: str, mode: Mode, noise: NoiseSource) -> None:
    spec = workload(name, "tiny")
    layers = {layer.name for layer in spec.layers} | {"loss", "step", UNKNOWN} | {p.name for p in spec.parameters}
    for step in measured(name, mode, noise).steps:
        assert {op.op for op in step.ops} <= set(OPS)
        assert {op.phase for op in step.ops} <= {*PHASES, UNKNOWN}
        assert {op.layer for op in step.ops} <= layers
        total = sum(spent.us for spent in step.ops.values())
        assert 0 < total <= step.run_us <= step.wall_us
        owners = {p.layer for p in spec.parameters}
        assert {op.layer for op in step.ops if op.phase == "forward"} >= owners
        if mode == "training":
            assert {op.phase for op in step.ops} >= set(PHASES)
            assert {op.layer for op in step.ops if op.phase == "backward"} >= owners
            updates = {op.op for op in step.ops if op.phase == "optimizer"}
            treated = spec.gradients != Gradients()
            assert updates == {spec.optimizer.OP, *([spec.gradients.OP] if treated else [])}
            # the loop over parameters leaves nothing of the update without a parameter
            assert {op.layer for op in step.ops if op.op == spec.optimizer.OP} == {p.name for p in spec.parameters}
            assert not any(op.split for op in step.ops if op.phase == "optimizer")
        else:
            assert not {op for op in step.ops if op.op == "BatchNormTraining"}


def test_gradients_of_convolutions_are_split_but_for_the_first_layer() -> None:
    spec = workload("alexnet", "tiny")
    convolutions = [layer.name for layer in spec.layers if layer.name.startswith("conv")]
    for step in measured("alexnet", "training").steps:
        parts = {(op.op, op.layer): op.split for op in step.ops if op.framework_op == "aten::convolution_backward"}
        expected = {("Conv2DBackFilter", name): name != convolutions[0] for name in convolutions}
        expected |= {("Conv2DBackInput", name): True for name in convolutions[1:]}
        assert parts == expected


def test_the_table_is_total_over_its_composites() -> None:
    assert set(NATIVE) >= COMPOSITE
    assert set(NATIVE.values()) <= set(OPS)


def _is_composite(name: str) -> bool:
    kernels = []
    packet = getattr(torch.ops.aten, name)
    for overload in packet.overloads():
        if overload.endswith("out"):
            continue
        try:
            key = getattr(packet, overload).name()
            composite, own = (
                torch._C._dispatch_has_kernel_for_dispatch_key(key, where)
                for where in ("CompositeImplicitAutograd", "CPU")
            )
            kernels.append(composite and not own)  # silu_backward is composite on devices that have no kernel of it
        except RuntimeError:  # an overload of TorchScript alone
            continue
    return any(kernels)


_MIXED = {"softmax", "log_softmax", "split", "where", "_convolution"}
"""Operations of which some overloads are composite and some are not."""


def test_what_is_composite_is_what_pytorch_says() -> None:
    run = {op.framework_op for name, mode in CASES for step in measured(name, mode).steps for op in step.ops}
    names = {plain_name(name) for name in run} - _MIXED - {"binary_cross_entropy_with_logits"}
    assert {name for name in names if name in COMPOSITE} == {
        name for name in names if hasattr(torch.ops.aten, name) and _is_composite(name)
    }


def test_names() -> None:
    assert [plain_name(name) for name in ("aten::add_", "aten::mm", "aten::__and__")] == ["add", "mm", "__and__"]
    assert canonical_op("addmm", "training") == "MatMul"
    assert canonical_op("native_batch_norm", "training") == "BatchNormTraining"
    assert canonical_op("native_batch_norm", "inference") == "BatchNorm"
    assert canonical_op("fractional_max_pool3d", "training") == "aten::fractional_max_pool3d"


def event(name: str, us: float, *children: Event, at: int = 0, seq: int = -1) -> Event:
    """An event: ``us`` is its exclusive time."""
    called = sorted(children, key=lambda child: child.start_ns)
    return Event(name, at, us + sum(child.us for child in called), seq, called)


def scope(children: list[Event], at: int = 0, **marks: str) -> Event:
    text = json.dumps({f"fathom_{key}": value for key, value in marks.items()})
    return event(f"fathom_onnx:{text}", 1, *children, at=at)


Listed = tuple[str, float, int, list["Listed"]]
"""Name, whole time, sequence number and children of an event."""


def listed(event: Any) -> Listed:
    """An event of PyTorch's own list."""
    children = sorted(event.cpu_children, key=lambda child: child.time_range.start)
    return event.name, event.cpu_time_total, event.sequence_nr, [listed(child) for child in children]


def in_tree(event: Event) -> Listed:
    return event.name, pytest.approx(event.us), event.sequence_nr, [in_tree(child) for child in event.children]


@pytest.mark.parametrize("name", ["residual", "speech", "dlrm"])
def test_the_tree_is_that_of_pytorchs_own_list(name: str) -> None:
    spec = workload(name, "tiny")
    batch = {n: torch.from_numpy(v) for n, v in next(batches_for(spec, "training", 0, noise="input")).items()}
    step = UserStep(spec, "training", mark=profiler_mark)
    step.load(spec.initial_values("training", 0))
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(ROOT):
        step.run(batch)
    tops = sorted((e for e in profiler.events() or () if e.cpu_parent is None), key=lambda e: e.time_range.start)
    assert [listed(top) for top in tops] == [in_tree(top) for top in event_tree(profiler)]
    assert find_step(event_tree(profiler)).us == pytest.approx(sum(e.us for e in event_tree(profiler)))


def test_events_are_read_exactly() -> None:
    linear = event("aten::linear", 2, event("aten::addmm", 10, event("aten::copy_", 3), at=2, seq=5), at=1, seq=5)
    forward = scope([event("aten::detach", 1, at=0, seq=5), scope([linear], scope="fc")], phase="forward", at=1)
    gradient = event("AddmmBackward0", 4, event("aten::mm", 20, at=1), at=1, seq=5)
    beside = [event("aten::sum", 6, at=2), event("aten::add_", 7, at=3)]
    backward = event("autograd::engine::evaluate_function: AddmmBackward0", 5, gradient, *beside, at=2, seq=5)
    convolution = event(
        "autograd::engine::evaluate_function: ConvolutionBackward0",
        0,
        event("ConvolutionBackward0", 0, event("aten::convolution_backward", 100), seq=3),
        event("torch::other", 0, event("aten::convolution_backward", 50, at=1), at=1),
        at=3,
        seq=3,
    )
    update = scope([event("aten::mul", 8)], phase="optimizer", scope="fc.weight", op="ApplyAdam", at=4)
    step = event(ROOT, 9, update, backward, event("aten::clone", 2), convolution, forward)
    assert list(operation_times(step, "training", [0.25, 0.0])) == [
        (NativeOp("Identity", "aten::clone", UNKNOWN, UNKNOWN), 2),
        (NativeOp("Identity", "aten::detach", "forward", UNKNOWN), 1),
        (NativeOp("MatMul", "aten::linear", "forward", "fc"), 2),
        (NativeOp("MatMul", "aten::addmm", "forward", "fc"), 13),
        (NativeOp("MatMul", "aten::mm", "backward", "fc"), 20),
        (NativeOp("Sum", "aten::sum", "backward", "fc"), 6),
        (NativeOp("Add", "aten::add_", "backward", UNKNOWN), 7),
        (NativeOp("Conv2DBackInput", "aten::convolution_backward", "backward", UNKNOWN, True), 25),
        (NativeOp("Conv2DBackFilter", "aten::convolution_backward", "backward", UNKNOWN, True), 75),
        (NativeOp("Conv2DBackFilter", "aten::convolution_backward", "backward", UNKNOWN), 50),
        (NativeOp("ApplyAdam", "aten::mul", "optimizer", "fc.weight"), 8),
    ]
    with pytest.raises(RunError, match="more convolution gradients"):
        list(operation_times(step, "training", [0.25]))
    with pytest.raises(RunError, match="fewer convolution gradients"):
        list(operation_times(step, "training", [0.25, 0.0, 1.0]))


UPDATED = [Trained("w", 30), Trained("b", 10)]


def test_owners_of_operations() -> None:
    assert owners(["mul", "add", "mul", "add"], UPDATED) == ["w", "w", "b", "b"]
    assert owners(["add", "add"], UPDATED) == ["w", "b"]
    # not the same ones for each parameter, or not the same number
    assert owners(["mul", "add", "add", "mul"], UPDATED) == [""] * 4
    assert owners(["add", "add", "add"], UPDATED) == [""] * 3
    assert owners([], UPDATED) == owners([], []) == []
    assert owners(["add"], []) == [""]


def update_of(*events: Any) -> list[tuple[str, str, float, bool]]:
    """Framework operation, layer, microseconds and mark of the operations of an update."""
    hook = event("Optimizer.step#Adam.step", 1, *events)
    step = event(ROOT, 1, scope([hook], phase="optimizer", scope="step", op="ApplyAdam"))
    found = list(operation_times(step, "training", [], UPDATED))
    assert {(op.op, op.phase) for op, _ in found} <= {("ApplyAdam", "optimizer")}
    return [(op.framework_op.removeprefix("aten::"), op.layer, us, op.split) for op, us in found]


def test_updates_are_read_exactly() -> None:
    def loop(*us: float) -> list[Any]:
        return [event(("aten::mul_", "aten::add_")[i % 2], each, at=i) for i, each in enumerate(us)]

    assert update_of(*loop(1, 2, 3, 4)) == [
        ("mul_", "w", 1, False),
        ("add_", "w", 2, False),
        ("mul_", "b", 3, False),
        ("add_", "b", 4, False),
    ]
    assert [row[1] for row in update_of(*loop(1, 2, 3))] == ["step"] * 3
    listed = event("aten::_foreach_mul_", 5, event("aten::mul_", 7, at=0), event("aten::mul_", 8, at=1), at=0)
    device = event("aten::_foreach_add_", 9, at=1)  # a device calls nothing for each
    assert update_of(listed, device) == [
        ("_foreach_mul_", "step", 5, False),
        ("mul_", "w", 7, False),
        ("mul_", "b", 8, False),
        ("_foreach_add_", "step", 9, False),
    ]
    steps = event("aten::_foreach_add_", 2, at=0)
    fused = event("aten::_fused_adam_", 80, at=1)
    assert update_of(steps, fused) == [
        ("_foreach_add_", "step", 2, False),
        ("_fused_adam_", "w", 60, True),
        ("_fused_adam_", "b", 20, True),
    ]
    assert canonical_op("_fused_adamw", "training") == "ApplyAdam"


def test_a_trace_that_cannot_be_trusted_is_refused() -> None:
    step = event(ROOT, 1)
    assert find_step([step, event("other", 1)]) is step
    with pytest.raises(RunError, match="holds 0 steps"):
        find_step([event("aten::mm", 1)])
    with pytest.raises(RunError, match="'aten::mm' ran outside the step"):
        find_step([step, event("aten::mm", 1)])


@pytest.mark.parametrize(("of_input", "of_filter"), [(True, True), (True, False), (False, True)])
def test_gradients_are_timed_apart_and_stay_the_same(of_input: bool, of_filter: bool) -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=of_input)
    w = torch.randn(4, 3, 3, 3, requires_grad=of_filter)

    def gradients() -> list[Tensor]:
        loss = torch.conv2d(x, w).square().sum()
        return list(torch.autograd.grad(loss, [t for t in (x, w) if t.requires_grad]))

    expected = gradients()
    timed = ConvolutionGradients()
    with timed:
        actual = gradients()
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    (share,) = timed.input_shares
    assert share == {(True, False): 1.0, (False, True): 0.0}.get((of_input, of_filter), share)
    assert (0 < share < 1) == (of_input and of_filter)


def test_threads_are_set_and_given_back() -> None:
    before = torch.get_num_threads()
    spec = workload("autoenc", "tiny")
    seen = []
    request = NativeRequest(spec, "inference", [next(batches_for(spec, "inference", 0))], threads=before + 1, steps=1)
    TorchNative().measure(request, lambda what, done, total: seen.append((what, done, total, torch.get_num_threads())))
    # three steps of warm-up, and one before a further series
    assert seen == [
        (w, n, all_, before + 1) for w, all_ in (("control", 4), ("profile", 2)) for n in range(1, all_ + 1)
    ]
    assert torch.get_num_threads() == before
