"""The CTC loss of each framework: against the frameworks' own, and against the sum over all paths."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.jax.ctc import ctc_loss as jax_ctc
from fathom_exporters.tensorflow.ctc import ctc_loss as tensorflow_ctc
from fathom_exporters.torch.ctc import ctc_loss as torch_ctc


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


@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def jax_loss_and_gradient(logits, *whole):
    loss, back = jax.vjp(lambda x: jax_ctc(x, *whole), logits)
    return loss, back(jnp.ones_like(loss))[0]


def by_jax(logits, lengths, labels, label_lengths, dtype="float64"):
    with jax.enable_x64(True):
        whole = [jnp.asarray(v, "int64") for v in (lengths, labels, label_lengths)]
        return tuple(np.asarray(made) for made in jax_loss_and_gradient(jnp.asarray(logits, dtype), *whole))


CTC = {"torch": by_torch, "tensorflow": by_tensorflow, "jax": by_jax}


def torch_ctc_loss(logits, lengths, labels, label_lengths):
    x = torch.tensor(logits, requires_grad=True)
    scores = torch.log_softmax(x, 2)
    rest = (torch.tensor(v) for v in (labels, lengths, label_lengths))
    loss = F.ctc_loss(scores, *rest, blank=x.shape[2] - 1, reduction="none")
    return loss.detach().numpy(), torch.autograd.grad(loss.sum(), x)[0].numpy()


def tensorflow_ctc_loss(logits, lengths, labels, label_lengths):
    x = tf.constant(logits, tf.float32)  # its only type
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


@pytest.mark.parametrize("framework", CTC)
def test_the_loss_is_that_of_both_frameworks(framework) -> None:
    loss, gradient = CTC[framework](*case())
    for native, limit in ((torch_ctc_loss, 1e-12), (tensorflow_ctc_loss, 1e-5)):
        expected_loss, expected = native(*case())
        assert np.isfinite(expected_loss).all()
        np.testing.assert_allclose(loss, expected_loss, rtol=limit)
        np.testing.assert_allclose(gradient, expected, atol=limit)


@pytest.mark.parametrize("framework", CTC)
def test_the_loss_is_the_sum_over_all_paths(framework) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, 5, 3))
    labels = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    lengths, label_lengths = np.array([5, 3, 6, 4, 6]), np.array([3, 3, 2, 1, 0])
    loss, _ = CTC[framework](logits, lengths, labels, label_lengths)
    np.testing.assert_allclose(loss, all_paths(logits, lengths, labels, label_lengths), rtol=1e-12)


@settings(max_examples=30)
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
    expected_loss, expected = torch_ctc_loss(logits, lengths, labels, label_lengths)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient, expected, atol=1e-10)


@pytest.mark.parametrize("framework", [name for name in CTC if name != "jax"])  # XLA takes 20 s to compile it
def test_single_precision_over_many_frames(framework) -> None:
    rng = np.random.default_rng(2)
    arguments = (4 * rng.normal(size=(150, 4, 62)), np.array([150, 149, 90, 80]), rng.integers(0, 61, (4, 40)))
    label_lengths = np.array([40, 25, 40, 1])
    loss, gradient = CTC[framework](*arguments, label_lengths, dtype="float32")
    expected_loss, expected = torch_ctc_loss(*arguments, label_lengths)
    np.testing.assert_allclose(loss, expected_loss, rtol=2e-6)
    assert np.abs(gradient - expected).max() < 5e-5


@pytest.mark.parametrize("framework", CTC)
def test_what_lies_past_the_lengths_does_not_count(framework) -> None:
    logits, lengths, labels, label_lengths = case()
    loss, gradient = CTC[framework](logits, lengths, labels, label_lengths)
    other, others = logits.copy(), labels.copy()
    for n in range(len(lengths)):
        other[lengths[n] :, n] = 7.0
        others[n, label_lengths[n] :] = 1
        assert not gradient[lengths[n] :, n].any()
    loss_again, gradient_again = CTC[framework](other, lengths, others, label_lengths)
    np.testing.assert_array_equal(loss, loss_again)
    np.testing.assert_allclose(gradient, gradient_again, rtol=1e-12)


@pytest.mark.parametrize("framework", CTC)
def test_labels_that_do_not_fit_cost_never_and_are_no_nan(framework) -> None:
    logits = np.random.default_rng(3).normal(size=(4, 2, 4))
    labels = np.array([[0, 1, 2, 0, 1], [1, 1, 1, 0, 0]])
    loss, gradient = CTC[framework](logits, np.array([4, 4]), labels, np.array([5, 3]), dtype="float32")
    assert (loss > 1e29).all()
    assert np.isfinite(gradient).all()
