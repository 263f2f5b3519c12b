"""The graphs of the frameworks: contract, identity of interface and layers, what must not be in a file."""

from __future__ import annotations

import gc
from collections import Counter

import numpy as np
import onnx
import pytest

from fathom_exporters.jax.models import JAX
from fathom_onnx.errors import ExportError, MissingDependencyError, UnknownNameError
from fathom_onnx.exporting import (
    ExportRequest,
    export_file,
    find_exporter,
    frameworks,
    graph_path,
    graphs,
    usual_frameworks,
)
from fathom_onnx.graph import Address, GraphMetadata
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.vocabulary import OPS, PHASES
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Workload
from support.graphs.exports import FRAMEWORKS, MODES_OF, TRAINED

CELLS = [
    (name, framework, mode)
    for framework in (*FRAMEWORKS, "jax")
    for name, mode in MODES_OF
    if framework != "jax" or name in JAX.built_in
]


@pytest.mark.parametrize(("name", "framework", "mode"), CELLS)
def test_a_graph_keeps_its_contract(tiny, name, framework, mode) -> None:
    graph = tiny(name, framework, mode)
    model = graph.model
    spec = workload(name, "tiny")
    interface = spec.interface(mode)
    assert [(t.name, t.shape, t.dtype) for t in graph.inputs] == [(t.name, t.shape, t.dtype) for t in interface.inputs]
    assert [(t.name, t.shape, t.dtype) for t in graph.outputs] == [
        (t.name, t.shape, t.dtype) for t in interface.outputs
    ]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert model.ir_version == 10
    assert not model.functions
    onnx.checker.check_model(model, full_check=True)
    # every tensor's shape is in the file itself, static, and what strict inference finds from the inputs alone
    stated = {v.name: v for v in [*model.graph.value_info, *model.graph.output]}
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    actual = {v.name: v.type for v in [*inferred.graph.value_info, *inferred.graph.output]}
    for node in model.graph.node:
        for output in filter(None, node.output):
            assert stated[output].type == actual[output]
            assert all(d.HasField("dim_value") for d in stated[output].type.tensor_type.shape.dim)
    # no weights: besides the inputs there are only small constants
    assert sum(t.ByteSize() for t in model.graph.initializer) < 20_000


@pytest.mark.parametrize(("name", "framework", "mode"), CELLS)
def test_every_node_has_an_address(tiny, name, framework, mode) -> None:
    graph = tiny(name, framework, mode)
    spec = workload(name, "tiny")
    layers = {layer.name for layer in spec.layers}
    parameters = {p.name for p in spec.parameters}
    names = [node.name for node in graph.model.graph.node]
    assert len(set(names)) == len(names)
    groups: Counter[tuple[str, str, str]] = Counter()
    for one in names:
        address = Address.parse(one)
        assert address is not None, one
        assert address.op in OPS
        assert (
            address.scope
            in {
                "forward": layers,
                "loss": {"loss"},
                "backward": layers | {"loss"},
                "optimizer": parameters | {"step"},
            }[address.phase]
        )
        groups[address.phase, address.scope, address.op] += 1
    for one in names:
        address = Address.parse(one)
        assert bool(address.part) == (groups[address.phase, address.scope, address.op] > 1), one
    phases = {Address.parse(one).phase for one in names}
    assert phases == (set(PHASES) if mode == "training" else {"forward"})


@pytest.mark.parametrize(("name", "mode"), MODES_OF)
def test_frameworks_name_the_same_layers(tiny, name, mode) -> None:
    seen = []
    for framework in FRAMEWORKS:
        addresses = tiny(name, framework, mode).addresses.values()
        seen.append({(a.phase, a.scope) for a in addresses})
    # TensorFlow makes the gradient of a softmax cross-entropy with the loss; where that is a sum, nothing is left of it
    assert seen[0] - {("backward", "loss")} == seen[1] - {("backward", "loss")}


@pytest.mark.parametrize(("name", "framework"), [(n, f) for n in TRAINED for f in FRAMEWORKS])
def test_noise_as_input_is_the_same_graph_without_the_draw(tiny, name, framework) -> None:
    drawn, given = (tiny(name, framework, "training", noise) for noise in ("graph", "input"))
    kinds = [Counter(node.op_type for node in graph.model.graph.node) for graph in (drawn, given)]
    noise = workload(name, "tiny").noise.get("training", ())
    expected = Counter(f"Random{n.distribution.title()}" for n in noise)
    assert kinds[0] - kinds[1] == +expected
    assert kinds[1] - kinds[0] == Counter()


@pytest.mark.parametrize(("name", "framework", "mode"), CELLS)
def test_what_a_graph_draws_has_the_distribution_that_the_workload_states(tiny, name, framework, mode) -> None:
    """Verification takes noise as input: it does not see what is drawn."""
    defaults = {"RandomNormal": {"mean": 0.0, "scale": 1.0}, "RandomUniform": {"low": 0.0, "high": 1.0}}
    drawn: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for node in tiny(name, framework, mode).model.graph.node:
        if node.op_type in defaults:
            stated = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            drawn[node.op_type, tuple(stated["shape"])] += 1
            assert {k: stated.get(k, v) for k, v in defaults[node.op_type].items()} == defaults[node.op_type]
            assert "seed" not in stated
    noise = workload(name, "tiny").noise.get(mode, ())
    assert drawn == Counter((f"Random{n.distribution.title()}", n.shape) for n in noise)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_noise_is_drawn_anew_in_every_run(tiny, framework) -> None:
    graph = tiny("autoenc", framework, "inference")
    evaluator = Evaluator(graph)
    values = workload("autoenc", "tiny").initial_values("inference", 0)
    values["images"] = np.full((8, 196), 0.5, np.float32)
    first, second = (evaluator.step(values).outputs["reconstruction"] for _ in range(2))
    assert np.isfinite(first).all()
    assert (first != second).any()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_metadata(tiny, framework) -> None:
    graph = tiny("residual", framework, "training")
    spec = workload("residual", "tiny")
    actual = graph.metadata
    assert isinstance(actual, GraphMetadata)
    assert (actual.workload, actual.preset, actual.mode, actual.framework) == (
        "residual",
        "tiny",
        "training",
        framework,
    )
    assert actual.framework_version == find_exporter(framework).version()
    assert actual.variables == spec.variables("training")
    assert actual.state == spec.interface("training").state
    assert tuple(actual.config["blocks"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(("name", "framework", "mode"), CELLS)
def test_a_relu_or_pool_is_one_node(tiny, name, framework, mode) -> None:
    kinds = {"Relu": "relu", "MaxPool": "max pool"}
    nodes = tiny(name, framework, mode).model.graph.node
    spec = workload(name, "tiny")
    # a clipping may be a ReLU and a minimum
    clipped = {layer.name for layer in spec.layers if layer.kind in ("clipped relu", "recurrent")}
    places = [(Address.parse(node.name).scope, kinds[node.op_type]) for node in nodes if node.op_type in kinds]
    actual = Counter(place for place in places if place[0] not in clipped)
    # a frozen network is there in training only
    absent = {v.name.partition(".")[0] for v in spec.frozen} if mode == "inference" else set()
    layers = [layer for layer in spec.layers if layer.name.partition(".")[0] not in absent]
    assert actual == Counter((layer.name, layer.kind) for layer in layers if layer.kind in kinds.values())


@pytest.mark.parametrize(("name", "first"), [("residual", "conv1"), ("vgg", "conv1_1"), ("alexnet", "conv1")])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_backward_pass_has_the_right_convolutions(tiny, name, first, framework) -> None:
    addresses = list(tiny(name, framework, "training").addresses.values())
    convolutions = {layer.name for layer in workload(name, "tiny").layers if layer.kind == "convolution"}
    by_op = {
        op: {a.scope for a in addresses if a.op == op and a.phase == phase}
        for op, phase in (("Conv2D", "forward"), ("Conv2DBackFilter", "backward"), ("Conv2DBackInput", "backward"))
    }
    assert by_op["Conv2D"] == by_op["Conv2DBackFilter"] == convolutions
    # the gradient of the images is not needed
    assert by_op["Conv2DBackInput"] == convolutions - {first}


def test_finding_exporters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert frameworks() == ("torch", "tensorflow", "jax")
    assert usual_frameworks() == ("torch", "tensorflow")
    with pytest.raises(UnknownNameError, match="unknown framework 'tensorflw'; did you mean 'tensorflow'"):
        find_exporter("tensorflw")

    class Absent:
        name = "torch"

        def load(self) -> None:
            raise ImportError("No module named 'torch'")

    monkeypatch.setattr("fathom_onnx.plugins.entry_points", lambda group: [Absent()])
    with pytest.raises(MissingDependencyError, match=r"pip install 'fathom-onnx\[torch\]'"):
        find_exporter("torch")


def test_a_workload_without_a_model_is_an_error(tmp_path) -> None:
    spec = workload("autoenc", "tiny")
    stranger = Workload(**{**vars(spec), "name": "stranger"})
    for framework in FRAMEWORKS:
        with pytest.raises(ExportError, match=f"'stranger' has no model in {framework}"):
            export_file(framework, ExportRequest(stranger, "inference"), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_of_garbage_is_as_it_was_after_an_export_that_fails(enabled, monkeypatch) -> None:
    during = []

    class Failing:
        def workloads(self) -> tuple[str, ...]:
            return ("memnet",)

        def export(self, request: ExportRequest) -> None:
            during.append(gc.isenabled())
            raise ExportError("no")

    monkeypatch.setattr(graphs, "find_exporter", lambda name: Failing())
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ExportError, match="no"):
            graphs.export_graph("torch", ExportRequest(workload("memnet", "tiny"), "training"))
        assert (during, gc.isenabled()) == ([False], enabled)
    finally:
        (gc.enable if before else gc.disable)()


def test_where_graphs_lie(tmp_path) -> None:
    assert graph_path(tmp_path, "residual", "torch", "training") == tmp_path / "residual-train.onnx"
    assert graph_path(tmp_path, "residual", "tensorflow", "inference") == tmp_path / "tensorflow" / "residual.onnx"
