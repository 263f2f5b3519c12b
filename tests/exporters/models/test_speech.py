"""speech: its loss against both frameworks' own and against all paths, its network by hand, its data."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import onnx_ir as ir
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.cleanup import clean_up
from fathom_exporters.tensorflow.ctc import ctc_loss as tensorflow_ctc
from fathom_exporters.torch.ctc import ctc_loss as torch_ctc
from fathom_onnx.data import batches, batches_for
from fathom_onnx.data.speech.cepstra import HOP, RATE, WINDOW, cepstra, mel_filters, samples_for
from fathom_onnx.data.speech.phonemes import INDEX, PHONEMES, SILENCE
from fathom_onnx.data.speech.utterances import SHORTEST, Utterance, speak, syllables
from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.exporting import find_exporter
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.training import train
from fathom_onnx.verification.compare import find_flips
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import TensorSpec
from support.exports import FRAMEWORKS
from support.lowering import FLOAT, close, lowered, run

# the loss: (loss, gradient for the logits) of each framework's function


def by_torch(logits, lengths, labels, label_lengths, dtype="float64"):
    x = torch.tensor(logits, dtype=getattr(torch, dtype), requires_grad=True)
    loss = torch_ctc(x, *(torch.tensor(v) for v in (lengths, labels, label_lengths)))
    return loss.detach().numpy(), torch.autograd.grad(loss.sum(), x)[0].numpy()


def by_tensorflow(logits, lengths, labels, label_lengths, dtype="float64"):
    x = tf.constant(logits, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tensorflow_ctc(x, *(tf.constant(v, tf.int64) for v in (lengths, labels, label_lengths)))
    return loss.numpy(), tape.gradient(loss, x).numpy()


OURS = {"torch": by_torch, "tensorflow": by_tensorflow}


def torch_own(logits, lengths, labels, label_lengths):
    x = torch.tensor(logits, requires_grad=True)
    scores = torch.log_softmax(x, 2)
    rest = (torch.tensor(v) for v in (labels, lengths, label_lengths))
    loss = F.ctc_loss(scores, *rest, blank=x.shape[2] - 1, reduction="none")
    return loss.detach().numpy(), torch.autograd.grad(loss.sum(), x)[0].numpy()


def tensorflow_own(logits, lengths, labels, label_lengths):
    x = tf.constant(logits, tf.float32)  # it has no other type
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.nn.ctc_loss(
            *(tf.constant(labels, tf.int32), x, tf.constant(label_lengths, tf.int32), tf.constant(lengths, tf.int32)),
            logits_time_major=True,
            blank_index=x.shape[2] - 1,
        )
    return loss.numpy(), tape.gradient(loss, x).numpy()


def all_paths(logits, lengths, labels, label_lengths):
    """-log of the sum over every path that spells the labels, one by one."""
    blank = logits.shape[2] - 1
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    losses = []
    for n, (length, count) in enumerate(zip(lengths, label_lengths, strict=True)):
        total = 0.0
        for path in itertools.product(range(blank + 1), repeat=int(length)):
            spelled = [c for c, _ in itertools.groupby(path) if c != blank]
            if spelled == list(labels[n, :count]):
                total += np.prod([p[t, n, c] for t, c in enumerate(path)])
        losses.append(-np.log(total))
    return np.array(losses)


@functools.cache
def case():
    """Repeated labels, as many labels as fit, none, one frame, and lengths of all kinds."""
    rng = np.random.default_rng(0)
    frames, batch, classes, most = 14, 7, 6, 7
    labels = rng.integers(0, classes - 1, (batch, most))
    labels[0] = [0, 1, 2, 3, 4, 0, 1]
    labels[1] = 3  # seven equal labels need six blanks between them: 13 frames
    labels[2, :3] = [2, 2, 1]
    lengths = np.array([7, 13, 14, 9, 1, 1, 12])
    label_lengths = np.array([7, 7, 3, 0, 1, 0, 5])
    labels[6] = [4, 0, 0, 4, 4, 0, 0]
    return 3 * rng.normal(size=(frames, batch, classes)), lengths, labels, label_lengths


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_loss_is_that_of_both_frameworks(framework) -> None:
    loss, gradient = OURS[framework](*case())
    for own, limit in ((torch_own, 1e-12), (tensorflow_own, 1e-5)):
        wanted_loss, wanted = own(*case())
        assert np.isfinite(wanted_loss).all()
        np.testing.assert_allclose(loss, wanted_loss, rtol=limit)
        np.testing.assert_allclose(gradient, wanted, atol=limit)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_loss_is_the_sum_over_all_paths(framework) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, 5, 3))
    labels = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    lengths, label_lengths = np.array([5, 3, 6, 4, 6]), np.array([3, 3, 2, 1, 0])
    loss, _ = OURS[framework](logits, lengths, labels, label_lengths)
    np.testing.assert_allclose(loss, all_paths(logits, lengths, labels, label_lengths), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_loss_at_any_sizes(data) -> None:
    frames, batch = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 3))
    classes, most = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = rng.integers(0, classes - 1, (batch, most))
    lengths = rng.integers(1, frames + 1, batch)
    label_lengths = np.zeros(batch, np.int64)
    for n in range(batch):
        needed = [k + int((labels[n, 1:k] == labels[n, : k - 1]).sum()) if k else 0 for k in range(most + 1)]
        label_lengths[n] = rng.choice([k for k, frames_needed in enumerate(needed) if frames_needed <= lengths[n]])
    logits = 2 * rng.normal(size=(frames, batch, classes))
    loss, gradient = by_torch(logits, lengths, labels, label_lengths)
    wanted_loss, wanted = torch_own(logits, lengths, labels, label_lengths)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient, wanted, atol=1e-10)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_single_precision_over_many_frames(framework) -> None:
    rng = np.random.default_rng(2)
    given = (4 * rng.normal(size=(150, 4, 62)), np.array([150, 149, 90, 80]), rng.integers(0, 61, (4, 40)))
    label_lengths = np.array([40, 25, 40, 1])
    loss, gradient = OURS[framework](*given, label_lengths, dtype="float32")
    wanted_loss, wanted = torch_own(*given, label_lengths)
    np.testing.assert_allclose(loss, wanted_loss, rtol=2e-6)
    assert np.abs(gradient - wanted).max() < 5e-5


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_lies_past_the_lengths_does_not_count(framework) -> None:
    logits, lengths, labels, label_lengths = case()
    loss, gradient = OURS[framework](logits, lengths, labels, label_lengths)
    other, others = logits.copy(), labels.copy()
    for n in range(len(lengths)):
        other[lengths[n] :, n] = 7.0
        others[n, label_lengths[n] :] = 1
        assert not gradient[lengths[n] :, n].any()
    loss_again, gradient_again = OURS[framework](other, lengths, others, label_lengths)
    np.testing.assert_array_equal(loss, loss_again)
    np.testing.assert_allclose(gradient, gradient_again, rtol=1e-12)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_labels_that_do_not_fit_cost_never_and_are_no_nan(framework) -> None:
    logits = np.random.default_rng(3).normal(size=(4, 2, 4))
    labels = np.array([[0, 1, 2, 0, 1], [1, 1, 1, 0, 0]])
    loss, gradient = OURS[framework](logits, np.array([4, 4]), labels, np.array([5, 3]), dtype="float32")
    assert (loss > 1e29).all()
    assert np.isfinite(gradient).all()


# the network


@functools.cache
def values(mode: str = "inference") -> dict[str, np.ndarray]:
    """Inputs with real lengths, and weights large enough for both ends of the clipping."""
    spec = workload("speech", "tiny")
    rng = np.random.default_rng(4)
    given = {**spec.initial_values(mode, 0), **next(batches_for(spec, "training", 0))}
    given["features"] = rng.normal(size=given["features"].shape).astype("float32")  # past the end too
    given["feature_lengths"] = np.array([12, 10, 11])
    given["labels"] = np.array([[5, 5, 7, 1, 0], [60, 2, 0, 0, 0], [3, 3, 3, 0, 0]])
    given["label_lengths"] = np.array([4, 2, 3])
    given["hidden1.weight"] = given["hidden1.weight"] * 10
    for name, value in given.items():
        if name.endswith(".bias"):
            given[name] = rng.normal(size=value.shape).astype("float32")
    wanted = {t.name for t in spec.interface(mode).inputs}
    return {name: value for name, value in given.items() if name in wanted}


def by_hand(v: dict[str, np.ndarray], n: int) -> np.ndarray:
    """Logits of one utterance without any padding (Hannun et al. 2014, section 2)."""
    v = {k: x.astype(np.float64) for k, x in v.items()}

    def g(x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(x, 0), 20)

    h = v["features"][n, : int(v["feature_lengths"][n])]
    for k in (1, 2, 3):
        h = g(h @ v[f"hidden{k}.weight"].T + v[f"hidden{k}.bias"])
    z = h @ v["recurrent.input.weight"].T + v["recurrent.input.bias"]
    ahead, back = np.zeros_like(z), np.zeros_like(z)
    state = np.zeros(z.shape[1])
    for t in range(len(z)):
        ahead[t] = state = g(z[t] + v["recurrent.forwards.weight"] @ state)
    state = np.zeros(z.shape[1])
    for t in reversed(range(len(z))):
        back[t] = state = g(z[t] + v["recurrent.backwards.weight"] @ state)
    h = g((ahead + back) @ v["hidden5.weight"].T + v["hidden5.bias"])
    return h @ v["output.weight"].T + v["output.bias"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_network_by_hand_and_no_padding_in_it(tiny, framework) -> None:
    spec, given = workload("speech", "tiny"), values()
    native = find_exporter(framework).reference(spec, "inference", "float64").step(given)
    ours = Evaluator(tiny("speech", framework, "inference"), spec.layers).step(given)
    for n, length in enumerate(given["feature_lengths"]):
        wanted = by_hand(given, n)
        np.testing.assert_allclose(native.outputs["logits"][:length, n], wanted, rtol=1e-9, atol=1e-9)
        close(ours.outputs["logits"][:length, n], wanted, 1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_clipping_at_both_ends(tiny, framework) -> None:
    """Branches are seen in the graph as in the framework, for every time step, and gradients agree."""
    spec, given = workload("speech", "tiny"), values("training")
    reference = find_exporter(framework).reference(spec, "training", "float64")
    native = reference.step(given)
    ours = Evaluator(tiny("speech", framework, "training"), spec.layers).step(given)
    frames = spec.config.frames
    steps = [f"recurrent.{d}" + (f"#{t}" if t else "") for d in ("forwards", "backwards") for t in range(frames)]
    assert set(ours.kinks) == set(native.kinks) == {"clip1", "clip2", "clip3", "clip5", *steps}
    assert find_flips(ours.kinks, native.kinks, dict.fromkeys(spec_layers(), (0.0, 20.0))).count == 0
    regions = np.bincount(np.concatenate([k.branches.ravel() for k in native.kinks.values()]))
    assert (regions > 100).all()
    assert len(regions) == 3
    for key, kink in ours.kinks.items():
        assert np.abs(kink.value - native.kinks[key].value).max() <= 1e-4 * np.abs(native.kinks[key].value).max()
    close(ours.outputs["loss"], native.outputs["loss"], 1e-5)
    for p in spec.parameters:
        moment = f"{p.name}.adam_m.next"
        close(ours.outputs[moment], native.outputs[moment], 1e-4)
    # branches that are given are taken: with the first layer saturated everywhere no gradient passes it
    branches = {key: kink.branches for key, kink in native.kinks.items()}
    same = reference.step(given, branches)
    np.testing.assert_allclose(same.outputs["loss"], native.outputs["loss"], rtol=1e-12)
    shut = reference.step(given, {**branches, "clip1": np.full_like(branches["clip1"], 2)})
    assert not shut.outputs["hidden1.weight.adam_m.next"].any()
    assert (shut.kinks["clip2"].value == shut.kinks["clip2"].value[0]).all()


def spec_layers() -> list[str]:
    return [layer.name for layer in workload("speech", "tiny").layers if layer.kink]


@pytest.mark.parametrize(("framework", "clip"), [("torch", ["Clip"]), ("tensorflow", ["Relu", "Min"])])
def test_nodes_of_a_time_step(tiny, framework, clip) -> None:
    frames = workload("speech", "tiny").config.frames
    names = [(n.name, n.op_type) for n in tiny("speech", framework, "training").model.graph.node]
    for direction in ("forwards", "backwards"):
        mine = [kind for name, kind in names if name.startswith(f"forward/recurrent.{direction}/")]
        expected = {"Gemm": frames - 1, "Add": frames - 1, "Concat": 1} | dict.fromkeys(clip, frames)
        assert {kind: mine.count(kind) for kind in set(mine) - {"Split"}} == expected
    # taking the block of all steps apart, and its gradient, is one node for both directions
    assert len([kind for name, kind in names if "recurrent" in name and kind == "Split"]) == 2
    assert not [name for name, kind in names if "recurrent" in name and kind in ("Slice", "Pad", "Transpose")]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_lowers_the_loss(tiny, framework) -> None:
    spec = workload("speech", "tiny")
    settings_ = SessionSettings(threads=1)
    losses = train(tiny("speech", framework, "training"), batches_for(spec, "training", 0), 120, settings_)
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])


def test_published_sizes() -> None:
    paper = workload("speech")
    wide = 2048
    weights = 26 * wide + 2 * wide**2 + 3 * wide**2 + wide**2 + wide * 62
    assert sum(p.elements for p in paper.parameters) == weights + 5 * wide + 62
    assert [t.shape for t in paper.batch_inputs("training")] == [(32, 150, 26), (32,), (32, 40), (32,)]
    assert paper.outputs[0].shape == (150, 32, 62)


def test_more_labels_than_frames_can_carry_are_refused() -> None:
    with pytest.raises(UsageError, match="9 frames are fewer than twice the 5 labels"):
        workload("speech", "tiny", {"frames": 9})


# what the exporters gained


@pytest.mark.parametrize(("low", "high"), [(0.0, 20.0), (-1.0, 2.0)])
def test_clip_gradient(low, high) -> None:
    x = np.linspace(low - 3, high + 3, 60, dtype=np.float32).reshape(6, 10)
    x[0, :6] = [low, high, np.nextafter(low, 1, dtype="f"), np.nextafter(high, 0, dtype="f"), 0.0, high + 1]
    dy = np.random.default_rng(0).normal(size=x.shape)
    wanted = torch.ops.aten.hardtanh_backward(torch.tensor(dy), torch.tensor(x, dtype=torch.float64), low, high)
    got = lowered("ClipGrad", {"dy": dy, "x": x}, [x.shape], min=low, max=high)[0]
    close(got, wanted)
    assert ((got != 0) == (wanted.numpy() != 0)).all()


def sliced(cuts: list[tuple[int, int]]) -> ir.Model:
    """A model that doubles each cut of rows of x [6, 2]."""
    x = ir.Value(name="x", type=FLOAT, shape=ir.Shape((6, 2)))
    nodes, constants, outputs = [], [], []
    for index, cut in enumerate(cuts):
        held = [ir.tensor(np.array(c, np.int64)) for c in ([cut[0], 0], [cut[1], 2])]
        ends = [
            ir.Value(name=f"c{index}{k}", const_value=t, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape((2,)))
            for k, t in enumerate(held)
        ]
        constants += ends
        part = ir.node("Slice", [x, *ends])
        part.outputs[0].shape, part.outputs[0].type = ir.Shape((cut[1] - cut[0], 2)), FLOAT
        part.outputs[0].name = f"part{index}"
        double = ir.node("Add", [part.outputs[0], part.outputs[0]])
        double.outputs[0].shape, double.outputs[0].type = part.outputs[0].shape, FLOAT
        double.outputs[0].name = f"double{index}"
        for node in (part, double):
            Tag("backward", "layer", "Slice", node.op_type).put(node)
        nodes += [part, double]
        outputs.append(double.outputs[0])
    graph = ir.Graph([x], outputs, nodes=nodes, initializers=constants, opset_imports={"": 18}, name="g")
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("cuts", "kinds"),
    [
        ([(0, 2), (2, 4), (4, 6)], {"Split": 1, "Add": 3}),
        ([(4, 6), (0, 2), (2, 4)], {"Split": 1, "Add": 3}),
        ([(0, 2), (4, 6)], {"Slice": 2, "Add": 2}),
        ([(0, 2), (2, 4)], {"Slice": 2, "Add": 2}),
        ([(0, 2), (2, 6)], {"Slice": 2, "Add": 2}),
        ([(0, 3), (2, 5), (3, 6)], {"Slice": 3, "Add": 3}),
    ],
)
def test_slices_without_rest_are_one_split(cuts, kinds) -> None:
    model = sliced(cuts)
    clean_up(model)
    found = [node.op_type for node in model.graph]
    assert {kind: found.count(kind) for kind in set(found)} == kinds
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    for got, (start, end) in zip(run(model, {"x": x}), cuts, strict=True):
        np.testing.assert_array_equal(got, 2 * x[start:end])


@pytest.mark.parametrize(("sizes", "listed"), [([2] * 30, False), ([40, 20], True)])
def test_a_split_into_equal_parts_has_no_list_of_sizes(sizes, listed) -> None:
    """A constant of more than 127 bytes here would make onnxruntime refuse the graph."""
    x = ir.Value(name="x", type=FLOAT, shape=ir.Shape((60,)))
    held = ir.Value(
        name="sizes",
        const_value=ir.tensor(np.array(sizes, np.int64)),
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape((len(sizes),)),
    )
    node = ir.node("Split", [x, held], {"axis": 0}, num_outputs=len(sizes))
    for index, (output, size) in enumerate(zip(node.outputs, sizes, strict=True)):
        output.name, output.type, output.shape = f"part{index}", FLOAT, ir.Shape((size,))
    Tag("forward", "layer", "Slice", "one").put(node)
    graph = ir.Graph([x], list(node.outputs), nodes=[node], initializers=[held], opset_imports={"": 18}, name="g")
    model = ir.Model(graph, ir_version=10)
    clean_up(model)
    assert [len(one.inputs) for one in model.graph] == [2 if listed else 1]
    values_ = np.arange(60, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate(run(model, {"x": values_})), values_)


# the data


def test_phonemes_are_the_61_of_timit() -> None:
    assert len(PHONEMES) == len(INDEX) == 61 == workload("speech").config.phonemes
    assert PHONEMES[SILENCE].symbol == "h#"
    assert {p.symbol for p in PHONEMES if p.kind == "closure"} == {f"{c}cl" for c in "bdgptk"}


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(2 * SHORTEST, 200), most=st.integers(2, 50), seed=st.integers(0, 999))
def test_utterances_fit(frames, most, seed) -> None:
    said = syllables(frames, most, np.random.default_rng(seed))
    assert said.frames == frames
    assert 2 <= len(said.labels) <= most
    assert (said.labels[0], said.labels[-1]) == (SILENCE, SILENCE)
    assert min(said.lengths) >= SHORTEST
    repeats = sum(a == b for a, b in itertools.pairwise(said.labels))
    assert frames >= len(said.labels) + repeats


def test_batches() -> None:
    spec = workload("speech", "small")
    stream = batches_for(spec, "training", 5)
    batch, second = next(stream), next(stream)
    again = next(batches_for(spec, "training", 5))
    assert all((batch[k] == again[k]).all() for k in batch)
    assert (batch["features"] != second["features"]).any()
    assert len(set(batch["feature_lengths"])) > 1
    for n, (length, count) in enumerate(zip(batch["feature_lengths"], batch["label_lengths"], strict=True)):
        said = batch["features"][n, :length]
        np.testing.assert_allclose(said.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(said.std(0), 1, atol=1e-4)
        assert not batch["features"][n, length:].any()
        assert 0.6 * spec.config.frames <= length <= spec.config.frames
        assert (batch["labels"][n, count:] == SILENCE).all()
        assert batch["labels"][n].max() < 61
    # the features are the same whether or not the labels are asked for
    np.testing.assert_array_equal(next(batches_for(spec, "inference", 5))["features"], batch["features"])


def test_cepstra() -> None:
    rng = np.random.default_rng(0)
    sound = rng.normal(size=samples_for(20))
    found = cepstra(sound, 26)
    assert found.shape == (20, 26)
    assert (WINDOW, HOP, samples_for(1)) == (400, 160, 400)
    # loudness is a constant of the first coefficient only, and goes with the mean
    np.testing.assert_allclose(cepstra(5 * sound, 26), found, atol=1e-9)
    filters = mel_filters()
    centres = filters.argmax(1)
    assert (np.diff(centres) >= 1).all()
    inside = slice(centres[0] + 1, centres[-1])
    np.testing.assert_allclose(filters.sum(0)[inside], 1, atol=1e-12)


def centroid(symbol: str) -> float:
    """Mean frequency of the power of a phoneme's middle, in Hz."""
    said = Utterance((SILENCE, INDEX[symbol], SILENCE), (5, 40, 5))
    sound = speak(said, np.random.default_rng(0))
    assert sound.shape == (samples_for(50),)
    power = np.abs(np.fft.rfft(sound[10 * HOP : 40 * HOP])) ** 2
    return float((power * np.fft.rfftfreq(30 * HOP, 1 / RATE)).sum() / power.sum())


def test_phonemes_sound_as_they_should() -> None:
    at = {symbol: centroid(symbol) for symbol in ("uw", "aa", "iy", "sh", "s")}
    assert at["uw"] < at["aa"] < at["sh"] < at["s"]
    assert at["s"] > 4000
    loud = speak(Utterance((SILENCE, INDEX["aa"], SILENCE), (20, 40, 20)), np.random.default_rng(1))
    assert loud[30 * HOP : 50 * HOP].std() > 100 * loud[: 15 * HOP].std()


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([("labels", (2, 5))], "was not asked for features"),
        ([("features", (2, 30))], r"cannot fill features of shape \[2, 30\]"),
        ([("features", (2, 3, 26))], r"cannot fill features of shape \[2, 3, 26\]"),
        ([("features", (2, 30, 41))], r"cannot fill features of shape \[2, 30, 41\]"),
        ([("features", (2, 30, 26)), ("labels", (3, 5))], r"cannot fill labels of shape \[3, 5\] with 2 utterances"),
        ([("features", (2, 30, 26)), ("label_lengths", (2, 1))], "cannot fill label_lengths"),
        ([("features", (2, 30, 26)), ("words", (2,))], "has no input 'words'"),
    ],
)
def test_what_utterances_cannot_fill_is_refused(specs, message) -> None:
    with pytest.raises(DataError, match=message):
        batches("utterances", [TensorSpec(name, shape) for name, shape in specs], 0)
