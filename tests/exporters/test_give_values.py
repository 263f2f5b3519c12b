"""Values of a run, back in the model of its graph: the framework then computes the loss that the graph has next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fathom_onnx
from fathom_onnx.errors import DataError, UsageError
from support.documents import blocks

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 4)).astype("float32"), RNG.normal(size=(16, 2)).astype("float32")


def of_torch() -> tuple[Any, Any, Callable[[Any], float]]:
    """A model with running statistics, its graph, and its loss in training."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    x, y = torch.from_numpy(X), torch.from_numpy(Y)

    def loss(out: Any, batch: Any) -> Any:
        return (out - batch["y"]).square().mean()

    graph = fathom_onnx.export_step(model, {"input": x, "y": y}, loss, torch.optim.Adam(model.parameters(), 0.01))
    return model, graph, lambda model: float(loss(model.train()(x), {"y": y}))


def of_keras() -> tuple[Any, Any, Callable[[Any], float]]:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    normalised = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), normalised, keras.layers.Dense(2)])
    loss = keras.losses.MeanSquaredError()
    graph = fathom_onnx.export_step(model, (tf.constant(X), tf.constant(Y)), loss, keras.optimizers.Adam(0.01))
    return model, graph, lambda model: float(loss(Y, model(X, training=True)))


def of_jax() -> tuple[Any, Any, Callable[[Any], float]]:
    import jax.numpy as jnp
    import optax

    def loss(w: Any, batch: Any) -> Any:
        return jnp.square(jnp.tanh(batch["x"] @ w["in"]["kernel"]) @ w["out"] - batch["y"]).mean()

    model = {"in": {"kernel": jnp.asarray(X[:4, :].T)}, "out": jnp.asarray(Y[:4])}
    batch = {"x": jnp.asarray(X), "y": jnp.asarray(Y)}
    return model, fathom_onnx.export_step(model, batch, loss, optax.adam(0.01)), lambda model: float(loss(model, batch))


@pytest.mark.parametrize("made", [of_torch, of_keras, of_jax])
def test_the_framework_goes_on_where_the_graph_ended(made: Callable[[], Any], tmp_path: Path) -> None:
    model, graph, loss = made()
    run = fathom_onnx.train(graph, 20, threads=1, checkpoint=tmp_path)
    following = fathom_onnx.train(graph, 21, threads=1).losses[-1]
    assert abs(following - run.losses[0]) > 0.01
    assert loss(fathom_onnx.give_values(model, run.values)) == pytest.approx(following, rel=1e-5)
    (checkpoint,) = tmp_path.glob("*.safetensors")
    assert loss(fathom_onnx.give_values(model, checkpoint)) == pytest.approx(following, rel=1e-5)
    name = next(n for n, v in run.values.items() if v.shape == (4, 8) or v.shape == (8, 4) or n == "in.kernel")
    with pytest.raises(DataError, match=f"there is no value for '{name}' of the model"):
        fathom_onnx.give_values(model, {n: v for n, v in run.values.items() if n != name})
    with pytest.raises(DataError, match=rf"the value of '{name}' has shape \[3\]"):
        fathom_onnx.give_values(model, {**run.values, name: np.zeros(3, "float32")})


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(UsageError, match="no framework takes a model"):
        fathom_onnx.give_values(object(), {})


@pytest.mark.parametrize("block", blocks("guide/training.md", "python"))
def test_the_examples_of_the_guide(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, "guide/training.md", "exec"), names)
    assert names["run"].losses[-1] < names["run"].losses[0]
    if "model" in names:
        np.testing.assert_array_equal(names["model"].weight.detach().numpy(), names["run"].values["weight"])
