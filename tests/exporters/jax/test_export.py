"""The JAX exporter: the built-in workloads end to end, places of nodes, refusals, and what must not leak."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("onnxruntime")

import jax.numpy as jnp  # noqa: E402

from fathom_exporters.jax import JaxExporter, marks  # noqa: E402
from fathom_exporters.jax.jaxprs import Place, place_of  # noqa: E402
from fathom_exporters.jax.models import JAX  # noqa: E402
from fathom_exporters.jax.models.contract import layer  # noqa: E402
from fathom_exporters.jax.translate.convert import RULES  # noqa: E402
from fathom_exporters.jax.translate.ops import CANONICAL_OF  # noqa: E402
from fathom_onnx.errors import ExportError  # noqa: E402
from fathom_onnx.exporting import ExportRequest, find_exporter  # noqa: E402
from fathom_onnx.graph import Address, from_model  # noqa: E402
from fathom_onnx.verification.compare import relative_error  # noqa: E402
from fathom_onnx.verification.double import DoubleGraph  # noqa: E402
from fathom_onnx.vocabulary import OPS  # noqa: E402
from fathom_onnx.workloads import workload  # noqa: E402
from support.graphs.of_functions.jax import captured_function  # noqa: E402
from support.graphs.of_functions.jax import exported as exported_function  # noqa: E402
from support.graphs.tensorflow_values import values_of  # noqa: E402

WORKLOADS = tuple(JAX.built_in)
EXPORTER = JaxExporter()


@functools.cache
def exported(name, mode, noise="graph", marks=True, purpose="simulators"):
    return JaxExporter(marks).export(ExportRequest(workload(name, "tiny"), mode, noise, purpose))


@functools.cache
def step(name, mode):
    """Values of every input, and JAX's own step in float64."""
    w, values = values_of(name, mode)
    return values, EXPORTER.reference(w, mode, "float64").step(values)


def judge(model, name, mode):
    """A graph read in float64 gives outputs, gradients and updates of JAX's own step."""
    values, made = step(name, mode)
    graph = from_model(model, name)
    gradients = dict(graph.metadata.gradients)
    outputs = [o.name for o in graph.outputs]
    got = DoubleGraph(model, [*outputs, *gradients.values()]).run(values)
    assert list(made.outputs) == outputs or set(made.outputs) == set(outputs)
    for output in outputs:
        assert relative_error(got[output], made.outputs[output]) < 1e-6, output
    assert set(gradients) == set(made.gradients)
    for parameter, tensor in gradients.items():
        assert relative_error(got[tensor], made.gradients[parameter]) < 1e-6, parameter


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_the_graph_is_the_step_of_jax(name, mode):
    judge(exported(name, mode, "input"), name, mode)


@pytest.mark.parametrize("name", ["autoenc", "memnet", "speech"])
def test_without_marks_it_is_so_too(name):
    judge(exported(name, "training", "input", marks=False), name, "training")


def test_every_primitive_with_a_rule_has_a_canonical_op():
    assert set(CANONICAL_OF) == set(RULES)
    assert set(CANONICAL_OF.values()) <= set(OPS)


@pytest.mark.parametrize(
    ("stack", "phase", "names"),
    [
        ("forward/conv1", "forward", ("conv1",)),
        ("jvp(forward)/layer1.0.conv1", "forward", ("layer1.0.conv1",)),
        ("transpose(jvp(forward))/conv1", "backward", ("conv1",)),
        ("jvp(loss)", "loss", ("loss",)),
        ("transpose(jvp(loss))", "backward", ("loss",)),
        ("jvp(loss)/transpose(jvp())", "loss", ("loss",)),
        ("optimizer/ClipGradient", "optimizer", ("ClipGradient",)),
        ("conv1", None, ()),
        ("", None, ()),
    ],
)
def test_places_are_read_from_name_stacks(stack, phase, names):
    assert place_of(stack) == Place(phase, names)


def test_updates_belong_to_parameters_and_what_is_shared_to_none():
    model = exported("autoenc", "training")
    addresses = [Address.parse(n.name) for n in model.graph.node if n.name.startswith("optimizer/")]
    assert {a.scope for a in addresses} == {"step", *(p.name for p in workload("autoenc", "tiny").parameters)}
    assert {n.op_type for n in model.graph.node if n.name.startswith("optimizer/step/")} >= {"Pow", "Sub", "Cast"}


def test_what_cannot_be_written_is_one_line_with_layer_and_place():
    def odd(x):
        return jax.lax.lgamma(x)

    captured = captured_function(odd, [np.ones(3, "float32")], gradients=False)
    with pytest.raises(
        ExportError, match=r"lgamma in layer 'body' at test_export.py:\d+.* cannot be written in ONNX"
    ) as e:
        exported_function(captured)
    assert "\n" not in str(e.value)


def test_a_draw_of_its_own_is_refused():
    def draw(x):
        return x + jax.random.normal(jax.random.PRNGKey(0), x.shape, x.dtype)

    with pytest.raises(ExportError, match=r"draws random numbers; draw by marks\.random_normal"):
        exported_function(captured_function(draw, [np.ones(3, "float32")], gradients=False))


def test_a_loop_that_depends_on_values_is_refused():
    def loop(x):
        return jax.lax.while_loop(lambda c: c.sum() < 10, lambda c: c * 2, x)

    with pytest.raises(ExportError, match="the number of passes depends on values; give the loop a fixed number"):
        exported_function(captured_function(loop, [np.ones(3, "float32")], gradients=False))


class Lacking:
    """A model that never reads a parameter."""

    @staticmethod
    def forward(config, variables, batch, noise, train):
        with layer("body"):
            return {"y": marks.relu(batch["x"])}, {}

    @staticmethod
    def loss(config, outputs, batch):
        return jnp.square(outputs["y"]).sum()


def test_a_parameter_without_a_gradient_is_refused():
    from fathom_exporters.jax.capture import capture
    from fathom_exporters.jax.translate import translate
    from fathom_onnx.workloads.contract import GradientDescent, Initialiser, Layer, TensorSpec, Variable, Workload

    zero = Initialiser.constant(0.0)
    w = Workload(
        name="lacking",
        preset="tiny",
        config=None,
        features=(TensorSpec("x", (2,)),),
        outputs=(TensorSpec("y", (2,)),),
        layers=(Layer("body", "relu"),),
        parameters=(Variable("body.weight", (2,), zero),),
        optimizer=GradientDescent(0.1),
    )
    with pytest.raises(ExportError, match=r"no gradient of parameter body\.weight"):
        translate(capture(w, Lacking, "training", "graph"))


@pytest.mark.parametrize("name", ["memnet", "residual"])
def test_powers_are_of_one_type(name):
    graph = from_model(exported(name, "training"), name)
    powers = [node for node in graph.model.graph.node if node.op_type == "Pow"]
    assert powers  # optax raises Adam's decays to the number of the step
    for node in powers:
        assert {graph.tensors[i].dtype for i in node.input} == {"float32"}


def test_types_of_64_bits_do_not_leak():
    step("autoenc", "training")
    exported("autoenc", "training")
    assert not jax.config.jax_enable_x64
    assert jnp.ones(2).dtype == jnp.float32


def test_the_exporter_is_found_and_says_its_version():
    exporter = find_exporter("jax")
    assert (exporter.framework, exporter.version()) == ("jax", jax.__version__)
    assert set(exporter.workloads()) >= set(WORKLOADS)


def test_importing_it_loads_no_other_framework():
    code = "import sys, fathom_exporters.jax; print(sorted({'torch', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
