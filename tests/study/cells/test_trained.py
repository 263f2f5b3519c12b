"""Runs with the values of training runs: which checkpoint a cell gets, what is measured in turn, what is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.study import Cell, CellResult, Job, Options, Role, run_study
from fathom_onnx.study.cells.plan import cells
from fathom_onnx.study.cells.trained import checkpoints_of
from fathom_onnx.study.comparisons.trained import value_effects, value_finding
from fathom_onnx.study.sections import trained_sections
from fathom_onnx.training import CheckpointFolder
from fathom_onnx.workloads import workload
from support.fakes.fake_stages import World, conduct
from support.runs.summaries import spent

pytestmark = pytest.mark.usefixtures("drawn_on_request")


def trained(folder: Path, name: str = "autoenc", step: int = 5, preset: str = "tiny") -> Path:
    """A checkpoint of zeros."""
    values = {p.name: np.zeros(p.shape, np.float32) for p in workload(name, preset).parameters}
    return CheckpointFolder(folder).save(step, values, {})


def test_a_cell_gets_the_newest_checkpoint_of_its_framework_or_its_workload(tmp_path: Path) -> None:
    trained(tmp_path / "autoenc", step=5)
    newest = trained(tmp_path / "autoenc", step=7)
    own = trained(tmp_path / "autoenc-tensorflow")
    chosen = cells("tiny", ["autoenc", "residual"], ["torch", "tensorflow"], ["training"])
    assert checkpoints_of(tmp_path, chosen, "tiny") == {
        Cell("autoenc", "torch", "training"): newest,
        Cell("autoenc", "tensorflow", "training"): own,
    }


def test_checkpoints_that_are_missing_or_of_another_graph_are_one_line(tmp_path: Path) -> None:
    chosen = cells("tiny", ["autoenc"], ["torch"])
    with pytest.raises(DataError, match="has no checkpoints of autoenc; give the folder above those that"):
        checkpoints_of(tmp_path, chosen, "tiny")
    (tmp_path / "autoenc").mkdir()
    with pytest.raises(DataError, match=r"autoenc' has no checkpoint; give the folder"):
        checkpoints_of(tmp_path, chosen, "tiny")
    trained(tmp_path / "autoenc", preset="small")
    with pytest.raises(UsageError, match=r"is not of autoenc at preset tiny: '.*' is \[.*\] there, not \[.*\]; train"):
        checkpoints_of(tmp_path, chosen, "tiny")
    other = tmp_path / "other"
    trained(other / "autoenc", name="residual")
    with pytest.raises(UsageError, match=r"is not of autoenc at preset tiny: '.*' is not in it; train"):
        checkpoints_of(other, chosen, "tiny")
    command = ["study", "autoenc", "--preset", "tiny", "--values", str(other), "-o", str(tmp_path / "study")]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 2
    assert "is not of autoenc at preset tiny" in told.output
    assert not (tmp_path / "study").exists()


def result_of(role: Role, steps: list[dict[str, float]], rounds: tuple[int, ...] = ()) -> CellResult:
    job = Job(Cell("w", "torch", "training"), Options(), Path("study"), role, values=Path("runs/w/step-00000007.x"))
    return CellResult(job, op_mix=replace(spent("w", "torch", "training", steps), rounds=rounds))


def test_an_effect_is_a_ratio_beside_what_rounds_differ_by() -> None:
    before = [{"Mul": 50.0, "MatMul": 50.0}, {"Mul": 50.0, "MatMul": 60.0}]  # two rounds of a step: 100 and 110
    after = [{"Mul": 100.0, "MatMul": 50.0}, {"Mul": 100.0, "MatMul": 60.0}]
    (effect,) = value_effects([result_of(Role.MAIN, before, (1, 1))], [result_of(Role.TRAINED, after, (1, 1))])
    assert (effect.before_us, effect.after_us) == (105, 155)
    assert effect.ratio == pytest.approx(155 / 105)
    assert effect.spread == pytest.approx(0.1)
    assert effect.interval == pytest.approx((150 / 110, 160 / 100))
    assert effect.differs
    assert effect.classes["A"] == pytest.approx((50 / 105, 100 / 155))
    assert effect.checkpoint == "w/step-00000007.x"
    # the medians are (50, 55) and (100, 55)
    assert effect.distance == pytest.approx(1 - (5000 + 3025) / (np.hypot(50, 55) * np.hypot(100, 55)))
    assert json.loads(json.dumps(effect.json()))["ratio"] == effect.ratio
    assert value_finding([effect]) == (
        "With trained values the node time of a step is 1.48 (w training (torch)) to 1.48 (w training (torch)) times "
        "that with starting values; it differs by more than noise in 1 of 1."
    )


@pytest.mark.parametrize(
    ("after", "differs"),
    [((100.0, 110.0), False), ((108.0, 109.0), False), ((121.0, 122.0), True), ((80.0, 81.0), True)],
)
def test_a_time_differs_by_more_than_rounds_of_the_same_values_do(after: tuple[float, ...], differs: bool) -> None:
    first = result_of(Role.MAIN, [{"Mul": 100.0}, {"Mul": 110.0}], (1, 1))
    (effect,) = value_effects([first], [result_of(Role.TRAINED, [{"Mul": us} for us in after], (1, 1))])
    assert effect.differs is differs


def test_of_one_round_it_is_not_known_whether_a_time_differs() -> None:
    alone = [result_of(role, [{"Mul": 100.0}, {"Mul": 102.0}]) for role in (Role.MAIN, Role.TRAINED)]
    (effect,) = value_effects(alone[:1], alone[1:])
    assert (effect.spread, effect.floor, effect.differs) == (None, None, None)
    assert effect.interval is not None
    assert value_finding([effect]).endswith("times that with starting values.")
    assert value_finding([]) == ""


@pytest.mark.slow
def test_both_are_run_one_after_the_other_in_every_round(tmp_path: Path, world: World, drawn: None) -> None:
    trained(tmp_path / "runs" / "autoenc")
    world.ops_trained = {"autoenc": {"MatMul": 99.0, "Add": 10.0}}
    folder = tmp_path / "study"
    result = conduct(folder, world, modes=["training"], frameworks=["torch"], rounds=2, values=tmp_path / "runs")
    measured = [what for what in world.did if what.startswith("profile")]
    assert measured == [
        f"profile {name} training (torch) round {number}"
        for number in (1, 2)
        for name in ("autoenc", "autoenc", "residual")
    ]
    (effect,) = result.value_effects
    assert (effect.before_us, effect.after_us, effect.interval) == (100, 109, (1.09, 1.09))
    assert effect.differs
    held = json.loads((folder / "study.json").read_text())
    assert [row["ratio"] for row in held["value_effects"]] == [1.09]
    assert "1 of 1 with trained values" in " ".join(result.findings)
    (section,) = trained_sections(result)
    assert section.tables[1].columns == ("run", "A before", "A after", "B before", "B after")
    assert "Node time with trained values" in (folder / "report.html").read_text()
    assert "--values" in (folder / "report.html").read_text()
    # main runs, and with them figures and verdicts, are those with starting values
    assert [c.job.values for c in result.cells] == [None, None]
    assert len(pd.read_csv(folder / "runs.csv")) == 2


@pytest.mark.slow
def test_a_real_run_has_the_values_of_the_checkpoint(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    path = trained(runs / "autoenc")
    options = {"modes": ["training"], "steps": 2, "warmup": 1, "threads": 1, "native": False, "verify": False}
    result = run_study(tmp_path / "study", "tiny", ["autoenc"], ["torch"], rounds=1, values=runs, **options)  # type: ignore[arg-type]
    assert result.ok
    assert [c.manifest["values"] for c in (*result.cells, *result.trained_runs)] == [None, str(path)]
    assert len(result.value_effects) == 1
