"""New parameters and optimizer state are made and judged in pieces, with the same errors as in one go."""

from __future__ import annotations

import pytest

import fathom_onnx.verification.double.numbers as numbers
import fathom_onnx.verification.judge as judge
import fathom_onnx.verification.subject as subject
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS
from fathom_onnx.verification import verify, verify_pair
from fathom_onnx.verification.subject import Subject, make_subject
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS, exported
from verification.test_verification import with_a_wrong_update

SYSTEM_ALLOCATOR = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"


def of(name: str, framework: str = "torch") -> Subject:
    graph = from_model(exported(name, framework, "training", "input"), name)
    return make_subject(workload(name, "tiny"), framework, "training", DEFAULT_SETTINGS, "simulators", graph)


@pytest.fixture
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every model were a large one: a parameter a piece, nothing held in float64, memory given back."""
    monkeypatch.setenv(SYSTEM_ALLOCATOR, "0")  # not in the tests that follow
    monkeypatch.setattr(subject, "HELD", 0)
    monkeypatch.setattr(subject, "_PIECE", 1)
    monkeypatch.setattr(numbers, "HELD", 0)
    monkeypatch.setattr(judge, "HELD", 0)


@pytest.mark.usefixtures("in_small_pieces")
def test_a_piece_is_a_parameter_with_its_state() -> None:
    memnet = of("memnet")
    first = memnet.workload.parameters[0].name
    assert sorted(memnet.pieces[0]) == sorted(f"{first}{slot}.next" for slot in ("", ".adam_m", ".adam_v"))
    made = [name for piece in memnet.pieces for name in piece]
    assert len(memnet.pieces) == len(memnet.workload.parameters) + 1  # the number of the step is of all of them
    assert sorted((*made, "loss")) == sorted(output.name for output in memnet.graph.outputs)


def test_small_models_are_one_piece() -> None:
    assert len(of("memnet").pieces) == 1


@pytest.mark.parametrize("name", ["memnet", "residual", "deepq"])
def test_errors_are_those_of_one_go(name: str, request: pytest.FixtureRequest) -> None:
    asked = workload(name, "tiny")
    graphs = [from_model(exported(name, framework, "training", "input"), name) for framework in FRAMEWORKS]

    def checks() -> list[object]:
        own = verify(asked, "torch", "training", steps=2, graph=graphs[0])
        return [own, verify_pair(asked, FRAMEWORKS, "training", steps=2, graphs=(graphs[0], graphs[1]))]

    in_one_go = checks()
    request.getfixturevalue("in_small_pieces")
    assert checks() == in_one_go


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize("number", [0, -1])
def test_a_wrong_update_of_any_piece_is_found(number: int) -> None:
    asked = workload("memnet", "tiny")
    name = asked.parameters[number].name
    right = exported("memnet", "torch", "training", "input")
    wrong = from_model(with_a_wrong_update(right, name), "memnet")
    assert verify(asked, "torch", "training", steps=1, graph=wrong).faults
    pair = verify_pair(asked, ("torch", "torch"), "training", steps=1, graphs=(from_model(right, "memnet"), wrong))
    assert [fault.split(" is")[0] for fault in pair.faults] == [f"update of '{name}'"]


@pytest.mark.parametrize(("held", "given"), [(0, {SYSTEM_ALLOCATOR: "1"}), (subject.HELD, {})])
def test_tensorflow_gives_the_memory_of_large_models_back(
    held: int, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = {}
    exported("memnet", "torch", "training", "input")
    monkeypatch.setattr(subject, "HELD", held)
    monkeypatch.setattr(subject.os, "environ", environment)
    of("memnet")
    assert environment == given


def test_an_optimizer_that_reads_the_batch_is_read_with_the_step() -> None:
    dlrm = of("dlrm")  # its rows are updated by the numbers in the batch
    assert not dlrm.optimizer_is_apart
    assert sorted(dlrm.compared) == sorted(dlrm.tensors)
    assert of("memnet").optimizer_is_apart
