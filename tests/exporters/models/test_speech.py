"""speech: its network against numpy, its clipping, its training."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import find_exporter
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training.loop import train
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS
from support.graphs.lowering import close


@functools.cache
def values(mode: str = "inference") -> dict[str, np.ndarray]:
    """Inputs with real lengths, and weights large enough for both ends of the clipping."""
    spec = workload("speech", "tiny")
    rng = np.random.default_rng(4)
    inputs = {**spec.initial_values(mode, 0), **next(batches_for(spec, "training", 0))}
    inputs["features"] = rng.normal(size=inputs["features"].shape).astype("float32")  # past the end too
    inputs["feature_lengths"] = np.array([12, 10, 11])
    inputs["labels"] = np.array([[5, 5, 7, 1, 0], [60, 2, 0, 0, 0], [3, 3, 3, 0, 0]])
    inputs["label_lengths"] = np.array([4, 2, 3])
    inputs["hidden1.weight"] = inputs["hidden1.weight"] * 10
    for name, value in inputs.items():
        if name.endswith(".bias"):
            inputs[name] = rng.normal(size=value.shape).astype("float32")
    expected = {t.name for t in spec.interface(mode).inputs}
    return {name: value for name, value in inputs.items() if name in expected}


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
    spec, inputs = workload("speech", "tiny"), values()
    native = find_exporter(framework).reference(spec, "inference", "float64").step(inputs)
    evaluated = Evaluator(tiny("speech", framework, "inference")).step(inputs)
    for n, length in enumerate(inputs["feature_lengths"]):
        expected = by_hand(inputs, n)
        np.testing.assert_allclose(native.outputs["logits"][:length, n], expected, rtol=1e-9, atol=1e-9)
        close(evaluated.outputs["logits"][:length, n], expected, 1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_clipping_at_both_ends(tiny, framework) -> None:
    """Values lie below, between and above the bounds, and gradients agree."""
    spec, inputs = workload("speech", "tiny"), values("training")
    reference = find_exporter(framework).reference(spec, "training", "float64")
    native = reference.step(inputs)
    evaluated = Evaluator(tiny("speech", framework, "training")).step(inputs)
    first = inputs["features"] @ inputs["hidden1.weight"].T + inputs["hidden1.bias"]
    regions = np.bincount(((first > 0).astype(int) + (first >= spec.config.bound)).ravel())
    assert (regions > 10).all()
    assert len(regions) == 3
    close(evaluated.outputs["loss"], native.outputs["loss"], 1e-5)
    for p in spec.parameters:
        moment = f"{p.name}.adam_m.next"
        close(evaluated.outputs[moment], native.outputs[moment], 1e-4)


@pytest.mark.parametrize(("framework", "clip"), [("torch", ["Clip"]), ("tensorflow", ["Relu", "Min"])])
def test_nodes_of_a_time_step(tiny, framework, clip) -> None:
    frames = workload("speech", "tiny").config.frames
    names = [(n.name, n.op_type) for n in tiny("speech", framework, "training").model.graph.node]
    for direction in ("forwards", "backwards"):
        kinds = [kind for name, kind in names if name.startswith(f"forward/recurrent.{direction}/")]
        expected = {"Gemm": frames - 1, "Add": frames - 1, "Concat": 1} | dict.fromkeys(clip, frames)
        assert {kind: kinds.count(kind) for kind in set(kinds) - {"Split"}} == expected
    # taking the block of all steps apart, and its gradient, is one node for both directions
    assert len([kind for name, kind in names if "recurrent" in name and kind == "Split"]) == 2
    assert not [name for name, kind in names if "recurrent" in name and kind in ("Slice", "Pad", "Transpose")]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_lowers_the_loss(tiny, framework) -> None:
    spec = workload("speech", "tiny")
    settings_ = SessionSettings(threads=1)
    losses = train(tiny("speech", framework, "training"), batches_for(spec, "training", 0), 120, settings_).losses
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
