"""Functions of one's own in JAX as steps, judged by JAX: names, layers, state, draws, optimizers, refusals."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
pytest.importorskip("onnxruntime")

import jax.numpy as jnp  # noqa: E402

import fathom_onnx  # noqa: E402
from fathom_onnx.cli import main  # noqa: E402
from fathom_onnx.errors import ExportError, FathomError, UsageError  # noqa: E402
from fathom_onnx.exporting import ExportRequest, export_graph, find_gaps, read_recipe, recipe_name  # noqa: E402
from fathom_onnx.graph import Address  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from fathom_onnx.verification import verify  # noqa: E402

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape) * 0.5, "float32")


def two_layers() -> dict[str, Any]:
    return {"first": {"w": normal(3, 5), "b": jnp.zeros(5)}, "second": {"w": normal(5, 2)}}


def mlp(params, batch):
    hidden = jnp.tanh(batch["x"] @ params["first"]["w"] + params["first"]["b"])
    with jax.named_scope("loss"):
        return jnp.square(hidden @ params["second"]["w"] - batch["y"]).mean()


BATCH = {"x": np.asarray(normal(4, 3)), "y": np.asarray(normal(4, 2))}


def judged(recipe: Recipe, mode="training", steps=3):
    """The workload of a recipe whose graph is judged by JAX's own step in float64."""
    workload = read_recipe(recipe)
    check = verify(workload, "jax", mode, steps=steps)
    assert check.faults == ()
    assert check.in_double < 2e-7
    return workload


def said(recipe: Recipe) -> str:
    with pytest.raises(FathomError) as caught:
        export_graph("jax", ExportRequest(read_recipe(recipe), "training"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_step_has_the_values_of_the_formula():
    # loss = 4 + 16; gradient 2 (2 + 8) = 20; w.next = 2 - 20 / 8
    def line(params, batch):
        x, y = batch
        return jnp.square(params["w"] * x - y).sum()

    batch = np.array([1, 2], "float32"), np.zeros(2, "float32")
    graph = fathom_onnx.export_step({"w": jnp.float32(2)}, batch, line, optax.sgd(0.125))
    result = fathom_onnx.run_step(graph)
    assert {name: float(value) for name, value in result.items()} == {"loss": 20.0, "w.next": -0.5}
    assert fathom_onnx.run_step(graph, values=result)["loss"] == 1.25
    assert fathom_onnx.run_step(graph, batch)["loss"] == 20.0


class Pair(NamedTuple):
    w: Any
    b: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Model:
    pair: Pair
    more: list[Any]


def test_names_are_the_paths_of_the_pytree():
    params = Model(Pair(normal(2), normal(2)), [{"kernel": normal(2)}, (normal(2),)])
    workload = read_recipe(Recipe(params, normal(2), lambda p, x: (p.pair.w * x).sum(), optax.adam(0.1)))
    assert [p.name for p in workload.parameters] == ["pair.w", "pair.b", "more.0.kernel", "more.1.0"]
    slots = [v.name for v in workload.optimizer.variables(workload.parameters)]
    assert slots[:3] == ["optimizer.count", "pair.w.mu", "pair.b.mu"]
    assert [t.name for t in workload.features] == ["batch"]
    assert {o for o, _ in workload.interface("training").state} == {
        f"{v.name}.next" for v in workload.carried("training")
    }


def test_layers_are_scopes_or_the_paths_of_parameters():
    graph = fathom_onnx.export_step(two_layers(), BATCH, mlp, optax.adam(0.1))
    places = {(a.phase, a.scope) for n in graph.model.graph.node if (a := Address.parse(n.name)) is not None}
    assert places >= {("forward", "first"), ("loss", "loss"), ("backward", "first"), ("backward", "loss")}
    assert ("optimizer", "second.w") in places
    assert {scope for phase, scope in places if phase != "optimizer"} == {"first", "loss"}


def test_scopes_within_scopes_are_one_layer():
    def nested(params, x):
        with jax.named_scope("encoder"), jax.named_scope("attention"):
            return jnp.einsum("ij,j->i", x, jnp.tanh(params)).sum()

    workload = judged(Recipe(normal(3), normal(2, 3), nested, optax.sgd(0.1)))
    assert [layer.name for layer in workload.layers] == ["encoder.attention", "nested"]


def test_a_compiled_function_of_two_layers_has_both():
    dense = jax.jit(lambda layer, x: jnp.tanh(x @ layer["w"]))
    params = {"a": {"w": normal(3, 3)}, "b": {"w": normal(3, 3)}}

    @jax.jit
    def both(params, x):
        return dense(params["b"], jax.checkpoint(dense)(params["a"], x)).sum()

    workload = judged(Recipe(params, normal(2, 3), both, optax.sgd(0.1)))
    assert [layer.name for layer in workload.layers] == ["a", "b", "both"]


def test_state_is_carried():
    def normalised(params, state, batch):
        mean = batch["x"].mean(0)
        new = {"mean": 0.9 * state["mean"] + 0.1 * mean}
        loss = jnp.square((batch["x"] - mean) @ params["first"]["w"]).sum()
        return loss, (new, {"size": jnp.abs(mean).max()})

    state = {"mean": jnp.zeros(3)}
    recipe = Recipe(two_layers(), BATCH, normalised, optax.adam(0.1), state=state)
    workload = judged(recipe)
    assert [b.name for b in workload.buffers] == ["mean"]
    assert [o.name for o in judged(recipe, "inference").outputs] == ["loss", "size"]
    graph = fathom_onnx.export_step(two_layers(), BATCH, normalised, optax.adam(0.1), state=state)
    np.testing.assert_allclose(fathom_onnx.run_step(graph)["mean.next"], 0.1 * BATCH["x"].mean(0), rtol=1e-5)
    assert "does not return the new state" in said(
        dataclasses.replace(recipe, loss=lambda p, s, b: p["first"]["w"].sum())
    )


def noisy(params, batch):
    key, other = jax.random.split(batch["key"])
    kept = jax.random.bernoulli(key, 0.8, batch["x"].shape)
    hidden = jnp.where(kept, batch["x"], 0) @ params["first"]["w"]
    return jnp.square(hidden + jax.random.normal(other, hidden.shape)).mean()


def test_draws_are_nodes_or_inputs():
    batch = {**BATCH, "key": jax.random.PRNGKey(0)}
    workload = judged(Recipe(two_layers(), batch, noisy, optax.sgd(0.1)))
    assert [(n.distribution, n.shape) for n in workload.noise["training"]] == [("uniform", (4, 3)), ("normal", (4, 5))]
    graph = export_graph("jax", ExportRequest(workload, "training"))
    assert {n.op_type for n in graph.model.graph.node} >= {"RandomUniform", "RandomNormal"}
    assert np.isfinite(fathom_onnx.run_step(graph, batch)["loss"])
    assert "'key' of the batch is a typed random key; give a raw one" in said(
        Recipe(two_layers(), {**BATCH, "key": jax.random.key(0)}, noisy, optax.sgd(0.1))
    )


def test_a_draw_in_a_loop_is_refused():
    def loop(params, batch):
        def body(carry, key):
            return carry + jax.random.normal(key, ()), None

        return jax.lax.scan(body, params["w"], batch)[0]

    text = said(Recipe({"w": jnp.float32(1)}, jax.random.split(jax.random.PRNGKey(0), 3), loop, optax.sgd(0.1)))
    assert "draws random numbers" in text
    assert "outside of loops" in text


OPTIMIZERS = {
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "nesterov": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "decayed": lambda: optax.adamw(0.01, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)),
    "rmsprop": lambda: optax.rmsprop(0.01, centered=True, momentum=0.9),
    "adagrad": lambda: optax.adagrad(0.1),
    "adafactor": lambda: optax.adafactor(0.01, min_dim_size_to_factor=2),
    "lamb": lambda: optax.lamb(0.01),
    "adan": lambda: optax.adan(0.01),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.adaptive_grad_clip(0.1), optax.adam(0.01)),
    "warmup": lambda: optax.adam(optax.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10)),
    "one cycle": lambda: optax.adam(optax.linear_onecycle_schedule(10, 0.1)),
    "several": lambda: optax.multi_transform(
        {"adam": optax.adam(0.1), "none": optax.set_to_zero()}, {"first": "adam", "second": "none"}
    ),
    "injected": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    "finite": lambda: optax.apply_if_finite(optax.adam(0.1), 3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    judged(Recipe(two_layers(), BATCH, mlp, OPTIMIZERS[name]()), steps=4)


def test_what_the_update_does_not_read_has_no_gradient():
    graph = fathom_onnx.export_step(two_layers(), BATCH, mlp, OPTIMIZERS["several"]())
    assert set(graph.metadata.gradients) == {"first.w", "first.b"}
    new = fathom_onnx.run_step(graph)["second.w.next"]
    held = {v.name: v for v in graph.metadata.variables}["second.w"]
    assert new.shape == held.shape

    def part(params, batch):
        return jnp.square(params["first"]["w"]).sum() * batch["x"].mean()

    workload = judged(Recipe(two_layers(), BATCH, part, optax.adam(0.1)))
    graph = export_graph("jax", ExportRequest(workload, "training"))
    assert set(graph.metadata.gradients) == {"first.w"}


def test_shared_weights_have_the_sum_of_their_gradients():
    def tied(params, tokens):
        table = params["table"]
        return -jax.nn.log_softmax(table[tokens] @ table.T)[jnp.arange(3), tokens].mean()

    judged(Recipe({"table": normal(5, 4)}, np.array([1, 4, 1]), tied, optax.sgd(0.1)))


def test_a_derivative_within_the_loss():
    def residual(params, x):
        u = lambda x: jnp.tanh(x * params["w"]).sum()  # noqa: E731
        return jnp.square(jax.vmap(jax.grad(jax.grad(u)))(x)).mean()

    judged(Recipe({"w": normal(4)}, normal(3), residual, optax.adam(0.1)))


def test_gradients_of_parts_are_added_up():
    whole, parts = (
        fathom_onnx.run_step(fathom_onnx.export_step(PARAMS, BATCH, mlp, optax.sgd(0.1), accumulate=n)) for n in (1, 2)
    )
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-6)
    judged(Recipe(PARAMS, BATCH, mlp, optax.sgd(0.1), accumulate=2))
    assert "cannot be cut into 3 equal parts" in said(Recipe(PARAMS, BATCH, mlp, optax.sgd(0.1), accumulate=3))


PARAMS = two_layers()


def test_a_planted_fault_is_found():
    workload = read_recipe(Recipe(PARAMS, BATCH, mlp, optax.sgd(0.1)))
    graph = export_graph("jax", ExportRequest(workload, "training", "input"))
    node = next(n for n in graph.model.graph.node if n.name.startswith("backward/first") and n.op_type == "Mul")
    node.op_type = "Add"
    check = verify(workload, "jax", "training", steps=1, graph=graph)
    assert any("gradient of 'first." in fault for fault in check.faults)


def test_shapes_without_values_are_enough():
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (PARAMS, BATCH))
    graph = fathom_onnx.export_step(*shapes, mlp, optax.adam(0.1))
    known = fathom_onnx.export_step(PARAMS, BATCH, mlp, optax.adam(0.1))
    assert [n.name for n in graph.model.graph.node] == [n.name for n in known.model.graph.node]


def test_any_function_is_exported_for_inference():
    def outputs(params, batch):
        return {"hidden": batch["x"] @ params["first"]["w"], "largest": batch["x"].argmax(1)}

    workload = judged(Recipe(PARAMS, BATCH, outputs), "inference")
    assert [(o.name, o.dtype) for o in workload.outputs] == [("hidden", "float32"), ("largest", "int32")]
    assert "returns no scalar" in said(Recipe(PARAMS, BATCH, outputs, optax.sgd(0.1)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"loss": lambda p, b: p["first"]["w"].sum() if b["x"].sum() > 0 else 0.0},
            "depends on values; write it with jnp.where",
        ),
        ({"loss": lambda p: 0.0}, "cannot be called with (parameters, batch)"),
        ({"loss": lambda p, b: jax.lax.lgamma(p["first"]["w"]).sum()}, "lgamma in layer 'first' at test_recipes.py:"),
        ({"loss": "mse"}, "the loss is no function"),
        ({"model": {"w": jnp.ones(2, "int32")}}, "the parameter 'w' is of int32; give it in the batch, or as state"),
        ({"model": {"w": jnp.ones(2, "bfloat16")}}, "'w' of parameter is of bfloat16; give float32"),
        ({"model": {"w": jnp.ones(2), "act": jnp.tanh}}, "and no array; take it out of the pytree"),
        (
            {"optimizer": optax.MultiSteps(optax.sgd(0.1), 2)},
            "give a transformation of optax: its gradient_transformation()",
        ),
        ({"optimizer": optax.lbfgs()}, "missing 2 required keyword-only arguments: 'grad' and 'value_fn'"),
        ({"specialise": True}, "specialise is not for JAX"),
        (
            {"rate_input": True},
            "rate_input is not for JAX, where optax has the rate as state; give optax.inject_hyperparams",
        ),
        ({"batch": {"n": 3}}, "the example batch has no array"),
    ],
)
def test_refusals_are_one_line(change, text):
    assert text in said(dataclasses.replace(Recipe(PARAMS, BATCH, mlp, optax.sgd(0.1)), **change))


def test_gaps_are_listed_at_once():
    def odd(params, batch):
        return (jax.lax.lgamma(batch["x"]) @ params["first"]["w"] + jax.lax.digamma(batch["x"]).sum()).sum()

    gaps = find_gaps(Recipe(PARAMS, BATCH, odd, optax.sgd(0.1)), "training")
    assert [(g.operation, g.phase) for g in gaps] == [("lgamma", "forward"), ("digamma", "forward")]
    assert find_gaps(Recipe(PARAMS, BATCH, mlp, optax.sgd(0.1)), "training") == ()


def test_state_is_for_functions():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="holds its state itself"):
        read_recipe(Recipe(torch.nn.Linear(2, 2), torch.ones(1, 2), state={}))
    with pytest.raises(UsageError, match=r"the model is of type dict, no torch\.nn\.Module"):
        read_recipe(Recipe({"w": torch.ones(2)}, torch.ones(2)))


def test_a_recipe_is_named_for_its_function():
    assert recipe_name(Recipe(PARAMS, BATCH, mlp)) == "mlp"
    assert recipe_name(Recipe(PARAMS, BATCH, lambda p, b: 0)) == "step"


TARGET = """
import jax, jax.numpy as jnp, numpy as np, optax

def build(width: int = 3):
    params = {"dense": {"w": jnp.ones((2, width)), "b": jnp.arange(3.0)[:width]}}

    def fit(params, batch):
        return jnp.square(jnp.tanh(batch["x"] @ params["dense"]["w"] + params["dense"]["b"])).sum()

    return params, {"x": np.ones((4, 2), "float32")}, fit, optax.adam(0.1)
"""


def test_the_command_line_takes_targets_and_graphs_without_marks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TARGET)

    def call(*words, code=0):
        result = CliRunner().invoke(main, [*words])
        assert result.exit_code == code, result.output
        return result.output

    call("export", "mine.py", "--set", "width=2", "-o", "out")
    assert (tmp_path / "out/jax/fit-train.onnx").is_file()
    assert "2 of 2 comparisons passed" in call("verify", "mine.py", "--steps", "2")
    assert "fit training: no gaps" in call("gaps", "mine.py")
    assert "is one of jax, not of torch" in call("export", "mine.py", "--framework", "torch", code=2)
    call("export", "memnet", "--framework", "jax", "--preset", "tiny", "--mode", "training", "--no-marks", "-o", "out")
    metadata = fathom_onnx.load("out/jax/memnet-train.onnx").metadata
    assert metadata.derivation == "framework"
    words = ("verify", "memnet", "--framework", "jax", "--no-marks", "--mode", "training", "--steps", "1")
    assert "1 of 1 comparisons passed" in call(*words)
    for command in ("export", "verify"):
        text = call(command, "memnet", "--framework", "all", "--preset", "tiny", "--no-marks", code=2)
        assert "torch has no such graph; leave out --no-marks" in text


def test_graphs_with_marks_say_nothing_of_their_derivation():
    graph = fathom_onnx.workload("memnet", "tiny").export("jax", "training")
    assert graph.metadata.derivation == ""
    with pytest.raises(UsageError, match="leave out --no-marks"):
        fathom_onnx.workload("memnet", "tiny").export("torch", "training", marks=False)


def test_a_function_that_is_of_float32_alone_is_exported_and_cannot_be_judged():
    def typed(params, batch):
        def step(carry, x):
            return carry + x @ params["first"]["w"], None

        return jax.lax.scan(step, jnp.zeros(5, "float32"), batch["x"])[0].sum()

    workload = read_recipe(Recipe(PARAMS, BATCH, typed, optax.sgd(0.1)))
    assert workload.described.width == "float32"
    result = fathom_onnx.run_step(export_graph("jax", ExportRequest(workload, "training")))
    np.testing.assert_allclose(result["loss"], typed(PARAMS, BATCH), rtol=1e-5)
    with pytest.raises(ExportError, match=r"typed at .* cannot be recorded in float64 \(TypeError"):
        verify(workload, "jax", "training")


def test_errors_of_the_function_name_its_line():
    def wrong(params, batch):
        return (params["first"]["w"] @ batch["x"]).sum()

    with pytest.raises(ExportError, match=r"wrong at .*test_recipes\.py:\d+ cannot be recorded in float32 \(TypeError"):
        read_recipe(Recipe(PARAMS, BATCH, wrong, optax.sgd(0.1)))
