"""The training loop: exact steps, checkpoints that go on bit for bit, and what ends a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from fathom_onnx.errors import DataError, FathomError, GraphError, OutputError, RunError, UnknownNameError, UsageError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import (
    CheckpointFolder,
    CheckpointPlan,
    EvaluationPlan,
    HeldOutLoss,
    TrainingRun,
    read_checkpoint,
    train,
)
from fathom_onnx.training.figure import curves
from fathom_onnx.training.record import Record
from support.graphs.small_models import line_inference, line_training

CPU = SessionSettings(threads=1)
ONES = {"x": np.ones(3, np.float32)}


def noisy_training() -> Graph:
    """The line whose input has a draw added to it, so that each step's update is another one."""
    model = onnx.ModelProto()
    model.CopyFrom(line_training().model)
    draw = onnx.helper.make_node("RandomNormal", [], ["drawn"], "forward/line/RandomNormal", shape=[3], scale=0.5)
    add = onnx.helper.make_node("Add", ["x", "drawn"], ["noisy"], "forward/line/Add")
    for node in model.graph.node:
        node.input[:] = ["noisy" if name == "x" else name for name in node.input]
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([draw, add, *old])
    return from_model(model, "noisy-train")


def batches(seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    while True:
        yield {"x": rng.normal(size=3).astype("float32")}


def run(graph: Graph, steps: int, folder: CheckpointFolder | None = None, **options) -> TrainingRun:
    kept = {name: options.pop(name) for name in ("every", "resume", "data") if name in options}
    plan = CheckpointPlan(folder, **kept) if folder else None
    return train(graph, batches(), steps, options.pop("settings", CPU), kept=plan, **options)


def test_losses_are_exact_and_every_step_is_told() -> None:
    told: list[tuple[int, float]] = []
    found = train(line_training(), itertools.repeat(ONES), 3, CPU, on_step=lambda n, loss: told.append((n, loss)))
    assert found.losses == pytest.approx([9.0, 2.82**2, (3 * 0.8836) ** 2], rel=1e-5)
    assert told == list(enumerate(found.losses, 1))
    assert (found.first_step, found.last_step, found.interrupted) == (1, 3, False)
    assert found.values["step"] == 3
    np.testing.assert_allclose(found.values["line.w"], np.full(3, 0.8836 - 0.02 * 3 * 0.8836), rtol=1e-5)


def test_what_cannot_go_on_is_refused() -> None:
    graph = line_training()
    with pytest.raises(UsageError, match="steps cannot be 0"):
        train(graph, [ONES], 0, CPU)
    with pytest.raises(RunError, match="ran out after 1 of 2 steps"):
        train(graph, iter([ONES]), 2, CPU)
    with pytest.raises(RunError, match="ran out after 0 of 2 steps"):
        train(graph, [], 2, CPU)
    with pytest.raises(RunError, match="loss is nan at step 1"):
        train(graph, [{"x": np.full(3, np.nan, np.float32)}], 1, CPU)
    with pytest.raises(GraphError, match="not a training graph"):
        train(line_inference(), [ONES], 1, CPU)
    with pytest.raises(RunError, match=r"step 2: input 'x' must be float32 \[3\]"):
        train(graph, [ONES, {"x": np.ones(4, np.float32)}], 3, CPU)
    with pytest.raises(RunError, match=r"a batch has 2 parts, the graph 1 batch inputs \(x\)"):
        train(graph, [(ONES["x"], ONES["x"])], 1, CPU)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (DataError("file 'a' is cut short", "fetch it again"), "^step 4: file 'a' is cut short; fetch it again$"),
        (UnknownNameError("word", "a", ["b"]), "^step 4: unknown word 'a'; known: b$"),
        (OSError("no disk"), r"^step 4: what makes the batches failed \(OSError: no disk\); mend it, and go on"),
        (None, "^the batches ran out after 3 of 5 steps"),
    ],
)
def test_a_failing_data_source_loses_no_step(failure: Exception | None, said: str, tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield from itertools.islice(batches(), 3)
        if failure:
            raise failure

    folder = CheckpointFolder(tmp_path)
    with pytest.raises(FathomError, match=said):
        train(line_training(), broken(), 5, CPU, kept=CheckpointPlan(folder, every=2))
    rest = run(line_training(), 5, folder, resume=True)
    assert rest.first_step == 4
    assert rest.losses == run(line_training(), 5).losses


def test_a_data_source_that_fails_at_once_leaves_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="ran out after 0 of 2 steps"):
        train(line_training(), [], 2, CPU, kept=CheckpointPlan(CheckpointFolder(tmp_path)))
    assert not CheckpointFolder(tmp_path).paths()


def test_a_list_is_begun_anew_and_parts_go_by_the_order_of_the_inputs() -> None:
    named = train(line_training(), [ONES], 4, CPU)
    assert train(line_training(), [(ONES["x"],)], 4, CPU).losses == named.losses
    assert train(line_training(), [ONES["x"]], 4, CPU).losses == named.losses


@pytest.mark.parametrize("graph", [line_training(), noisy_training()], ids=["plain", "noisy"])
@pytest.mark.parametrize("stopped_at", [1, 3, 4, 5])
def test_a_run_that_is_resumed_ends_bit_for_bit_as_one_that_was_not_stopped(
    tmp_path: Path, graph: Graph, stopped_at: int
) -> None:
    whole = run(graph, 7)
    folder = CheckpointFolder(tmp_path)

    class Killed(Exception):  # noqa: N818  # not an error of ours
        pass

    def kill(number: int, loss: float) -> None:
        if number == stopped_at:
            raise Killed

    with pytest.raises(Killed):
        run(graph, 7, folder, every=2, on_step=kill)
    found = run(graph, 7, folder, every=2, resume=True)
    assert found.first_step == 1 + 2 * ((stopped_at - 1) // 2)  # a step that was not ended has no checkpoint
    assert found.losses == whole.losses
    for name, value in whole.values.items():
        assert value.tobytes() == found.values[name].tobytes(), name


def test_a_run_that_is_asked_to_stop_keeps_the_step_that_it_took(tmp_path: Path) -> None:
    graph, folder, taken = noisy_training(), CheckpointFolder(tmp_path), []
    found = run(graph, 9, folder, on_step=lambda n, _: taken.append(n), stop=lambda: len(taken) == 4)
    assert (found.interrupted, found.last_step, len(found.losses)) == (True, 4, 4)
    rest = run(graph, 9, folder, resume=True)
    assert (rest.first_step, rest.last_step) == (5, 9)
    assert rest.losses == run(graph, 9).losses


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    first = run(line_training(), 3, folder)
    again = run(line_training(), 3, folder, resume=True)
    assert again.losses == first.losses
    assert again.first_step == 4
    assert again.last_step == 3


def test_draws_are_other_ones_in_every_step_and_the_same_for_a_seed() -> None:
    fixed = itertools.repeat(ONES)
    losses = [train(noisy_training(), fixed, 4, CPU, seed).losses for seed in (0, 0, 1)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    assert len(set(losses[0])) == 4


def test_an_evaluation_leaves_the_run_as_it_is() -> None:
    held_out = HeldOutLoss([next(batches(9)), next(batches(8))])
    plain = run(noisy_training(), 6)
    found = run(noisy_training(), 6, evaluated=EvaluationPlan([held_out], 2))
    assert found.losses == plain.losses
    assert [(step, name) for step, name, _ in found.metrics] == [(s, "held-out loss") for s in (0, 2, 4, 6)]
    expected = np.mean([float(b["x"].sum()) ** 2 for b in (next(batches(9)), next(batches(8)))])
    assert run(line_training(), 1, evaluated=EvaluationPlan([held_out])).metrics[0][2] == pytest.approx(
        expected, rel=1e-6
    )


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    bad = [ONES, ONES, ONES, {"x": np.full(3, np.inf, np.float32)}]
    with pytest.raises(RunError, match="at step 4"):
        train(line_training(), bad, 9, CPU, kept=CheckpointPlan(folder, every=2))
    found, faults = folder.latest()
    assert found is not None
    assert (found.step, faults) == (2, [])
    assert np.isfinite(found.values["line.w"]).all()


def test_a_full_disk_names_the_step_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fathom_onnx.training import checkpoints as module

    folder, real = CheckpointFolder(tmp_path), module.write_bytes

    def full(path: Path, data: bytes) -> None:
        if "00000004" in path.name:
            raise OutputError(f"cannot write '{path}' (No space left on device)", "free some space")
        real(path, data)

    monkeypatch.setattr(module, "write_bytes", full)
    with pytest.raises(OutputError, match=r"after step 4: cannot write .* \(No space left on device\)"):
        run(line_training(), 9, folder, every=2)
    monkeypatch.undo()
    assert run(line_training(), 9, folder, resume=True).losses == run(line_training(), 9).losses


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    run(line_training(), 2, folder, data="here")
    with pytest.raises(UsageError, match="has checkpoints of a run; go on with --resume"):
        run(line_training(), 4, folder)
    with pytest.raises(UsageError, match="of a run with another graph"):
        run(noisy_training(), 4, folder, resume=True, data="here")
    with pytest.raises(UsageError, match="of a run with another seed"):
        run(line_training(), 4, folder, resume=True, data="here", seed=3)
    with pytest.raises(UsageError, match=r"of a run with another data source \(here\)"):
        run(line_training(), 4, folder, resume=True, data="there")
    other = run(line_training(), 4, folder, resume=True, data="here", settings=SessionSettings(threads=2))
    assert other.remarks == ("threads was 1 and is 2: results may differ in their last digits",)


def test_a_run_whose_random_tensors_were_drawn_in_another_way_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr("fathom_onnx.training.loop.DRAWING", "some other way")
        run(noisy_training(), 2, folder)
    (remark,) = run(noisy_training(), 4, folder, resume=True).remarks
    assert remark.startswith("random tensors were drawn in another way")
    assert run(noisy_training(), 6, folder, resume=True).remarks == ()


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    whole = run(noisy_training(), 6, folder, every=2)
    newest, middle, oldest = folder.paths()
    newest.write_bytes(newest.read_bytes()[:-3])
    flipped = bytearray(middle.read_bytes())
    flipped[-2] ^= 1
    middle.write_bytes(bytes(flipped))
    found = run(noisy_training(), 6, folder, resume=True)
    assert found.first_step == read_checkpoint(oldest).step + 1 == 3
    assert found.losses == whole.losses
    assert "step-00000006.safetensors' is no checkpoint" in found.remarks[0]
    assert "not those that were written" in found.remarks[1]
    for path in folder.paths():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="is no checkpoint"):
        run(noisy_training(), 6, folder, resume=True)


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    run(line_training(), 9, CheckpointFolder(tmp_path, keep=2), every=2)
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [
        "step-00000008.safetensors",
        "step-00000009.safetensors",
    ]
    assert not list(tmp_path.glob("*.part"))


def test_a_record_that_does_not_reach_its_checkpoint_is_refused(tmp_path: Path) -> None:
    run(line_training(), 4, CheckpointFolder(tmp_path))
    for damaged, said in (
        ("step,loss\n1,2.0\n", "does not hold every step to 4"),
        ("step,loss\nx,2.0\ny,1.0\n", "cannot be read"),
        ("", "cannot be read"),
    ):
        (tmp_path / "losses.csv").write_text(damaged)
        with pytest.raises(DataError, match=said):
            run(line_training(), 6, CheckpointFolder(tmp_path), resume=True)


@pytest.mark.parametrize("torn", ["", "5", "5,0.", "5,0.25\n6,"])
def test_losses_are_added_to_their_file_and_a_torn_line_is_not_read(tmp_path: Path, torn: str) -> None:
    whole = run(line_training(), 6)
    run(line_training(), 4, CheckpointFolder(tmp_path), every=1)
    path = tmp_path / "losses.csv"
    assert path.read_text() == "step,loss\n" + "".join(f"{n},{x!r}\n" for n, x in enumerate(whole.losses[:4], 1))
    with path.open("a") as file:
        file.write(torn)
    assert run(line_training(), 6, CheckpointFolder(tmp_path), resume=True).losses == whole.losses
    assert [float(line.split(",")[1]) for line in path.read_text().splitlines()[1:]] == whole.losses


def test_the_figure_has_a_panel_for_the_loss_and_each_metric() -> None:
    metrics = [(0, "top-1 accuracy", 0.5), (9000, "top-1 accuracy", 0.9), (0, "held-out loss", 2.0)]
    svg = curves(Record([1.0] * 9000, metrics), "vgg-train")
    for text in ("vgg-train: loss", "top-1 accuracy", "held-out loss", "step"):
        assert f">{text}</text>" in svg
    assert len(svg) < 200_000
    assert "vgg-train" in curves(Record([1.0], []), "vgg-train")


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    (tmp_path / ".step-00000001.safetensors.x.part").write_bytes(b"left by a run that was killed")
    with folder.held():
        assert not list(tmp_path.glob(".*.part"))
        with pytest.raises(OutputError, match="another run writes into"):
            run(line_training(), 1, CheckpointFolder(tmp_path))
    run(line_training(), 1, CheckpointFolder(tmp_path))
