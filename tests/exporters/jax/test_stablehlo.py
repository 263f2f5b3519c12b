"""A step as StableHLO: the names and order of the ONNX graph, layers in locations, and the same numbers by XLA."""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict

import numpy as np
import pytest
from click.testing import CliRunner

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
pytest.importorskip("onnxruntime")

import jax.numpy as jnp  # noqa: E402

from fathom_exporters.jax.recipes import step_of  # noqa: E402
from fathom_exporters.jax.stablehlo import exported_step  # noqa: E402
from fathom_onnx.cli import main  # noqa: E402
from fathom_onnx.errors import UsageError  # noqa: E402
from fathom_onnx.exporting import ExportRequest, export_graph, export_stablehlo, read_recipe  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from fathom_onnx.runtime.evaluate import Evaluator  # noqa: E402
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS  # noqa: E402
from fathom_onnx.workloads import workload  # noqa: E402
from support.graphs.tensorflow_values import values_of  # noqa: E402


def by_xla(data: bytes, exported, values):
    """The results of a file of bytecode, run by XLA: JAX's own record of the step with the file in its place."""
    held = jax.export.deserialize(exported.serialize())
    held = dataclasses.replace(held, mlir_module_serialized=data)
    with jax.enable_x64(True):
        return held.call(OrderedDict((name, jnp.asarray(value)) for name, value in values.items()))


def recipe():
    rng = np.random.default_rng(0)
    params = {"dense": {"w": jnp.asarray(rng.normal(size=(3, 4)), "float32"), "b": jnp.zeros(4)}}
    batch = {"z": rng.normal(size=(5, 3)).astype("float32"), "label": np.array([0, 1, 2, 3, 0])}

    def classify(params, batch):
        logits = batch["z"] @ params["dense"]["w"] + params["dense"]["b"]
        with jax.named_scope("loss"):
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()

    return Recipe(params, batch, classify, optax.adam(0.1))


def test_a_function_of_one_s_own(tmp_path):
    own = read_recipe(recipe())
    request = ExportRequest(own, "training")
    text = tmp_path / "step.mlir"
    made = export_stablehlo("jax", request, text)
    assert made.nodes > 20
    content = text.read_text()
    arguments = re.findall(r"%arg\d+: tensor<[^>]*> loc\(\"values\['([^']+)'\]\"\)", content.split("->")[0] + content)
    names = [spec.name for spec in own.interface("training").inputs]
    assert list(dict.fromkeys(arguments))[: len(names)] == names
    results = re.findall(r"jax.result_info = \"result\['([^']+)'\]\"", content)
    assert results == [spec.name for spec in own.interface("training").outputs]
    places = set(re.findall(r'loc\("[^"]*?((?:transpose\()?(?:jvp\()?(?:forward|loss)\)*(?:/[\w.]+)*)/\w+"', content))
    assert {"jvp(forward)/dense", "transpose(jvp(forward))/dense", "jvp(loss)"} <= places

    bytecode = tmp_path / "step.mlirbc"
    export_stablehlo("jax", request, bytecode)
    single = own.described.traced("float32")
    exported = exported_step(request, lambda values: step_of(own, "training", values, single))
    values = own.initial_values("training", 0) | dict(own.example)
    inputs = OrderedDict((spec.name, values[spec.name]) for spec in own.interface("training").inputs)
    got = by_xla(bytecode.read_bytes(), exported, inputs)
    want = (
        Evaluator(export_graph("jax", ExportRequest(own, "training", "input")), DEFAULT_SETTINGS).step(inputs).outputs
    )
    assert list(got) == list(want)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_workload_and_its_layers(tmp_path):
    path = tmp_path / "autoenc.mlir"
    spec = workload("autoenc", "tiny")
    export_stablehlo("jax", ExportRequest(spec, "training", "input"), path)
    content = path.read_text()
    located = set(re.findall(r'loc\("jit\(\w+\)/(?:transpose\()?jvp\(forward\)+/([\w.]+)/', content))
    assert {layer.name for layer in spec.layers} <= located | {"loss"}

    from fathom_exporters.jax.models import JAX
    from fathom_exporters.jax.step import draw_from, run_step

    request = ExportRequest(spec, "training", "input")
    model = JAX.model("autoenc")
    exported = exported_step(
        request, lambda values: run_step(spec, model, "training", values, draw_from(spec, "training", values))
    )
    _, values = values_of("autoenc", "training")
    inputs = OrderedDict(
        (t.name, np.asarray(values[t.name], t.dtype)) for t in spec.interface("training", "input").inputs
    )
    bytecode = tmp_path / "autoenc.mlirbc"
    export_stablehlo("jax", request, bytecode)
    got = by_xla(bytecode.read_bytes(), exported, inputs)
    want = Evaluator(export_graph("jax", request), DEFAULT_SETTINGS).step(inputs).outputs
    for name, value in want.items():
        scale = max(np.abs(value).max(), 1e-6)
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-4 * scale, err_msg=name)


def test_refusals(tmp_path):
    with pytest.raises(UsageError, match="the exporter of torch writes no StableHLO"):
        export_stablehlo("torch", ExportRequest(workload("memnet", "tiny"), "inference"), tmp_path / "a.mlir")
    with pytest.raises(UsageError, match=r"draws random numbers.*--noise input"):
        export_stablehlo("jax", ExportRequest(workload("autoenc", "tiny"), "training"), tmp_path / "a.mlir")
    with pytest.raises(UsageError, match=r"does not end in \.mlir or \.mlirbc"):
        export_stablehlo("jax", ExportRequest(workload("memnet", "tiny"), "inference"), tmp_path / "a.onnx")
    words = ["export", "memnet", "--framework", "all", "--preset", "tiny", "--format", "stablehlo", "-o", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "torch writes no StableHLO" in result.output
    assert not any(tmp_path.iterdir())


def test_the_command_writes_files_of_both_kinds(tmp_path):
    words = [
        "export",
        "memnet",
        "--framework",
        "jax",
        "--preset",
        "tiny",
        "--format",
        "stablehlo",
        "--noise",
        "input",
        "-o",
    ]
    result = CliRunner().invoke(main, [*words, str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "jax").iterdir()} == {"memnet.mlir", "memnet-train.mlir"}
    result = CliRunner().invoke(main, [*words, str(tmp_path / "memnet.mlirbc"), "--mode", "inference"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "memnet.mlirbc").read_bytes()[:4] == b"ML\xefR"
