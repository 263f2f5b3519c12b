"""The suites beside each other: means, and what counts as changed, of hand-made numbers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fathom_onnx.analysis.similarity.movement import ClassShift, movement
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.study.comparisons.movements import StepWork, SuiteComparison
from fathom_onnx.study.sections import movement_sections


def mix(workload: str, **ops: float) -> OpMix:
    return OpMix(RunLabel(workload, "torch", "training"), pd.DataFrame([ops], dtype=float))


def comparison(
    shifts: tuple[ClassShift, ...] = (), work: tuple[StepWork, ...] = (), newer: dict[str, float] | None = None
) -> SuiteComparison:
    older = [mix("vgg", Conv2D=1.0), mix("autoenc", Conv2D=4.0, MatMul=3.0)]
    return SuiteComparison((movement(older, [mix("llama", **(newer or {"MatMul": 1.0}))], "op"),), shifts, work)


def test_a_class_has_moved_when_every_framework_says_so_in_one_direction() -> None:
    def shifts(*points: float) -> tuple[ClassShift, ...]:
        return tuple(ClassShift(f, "A", 0.3, 0.3 + p) for f, p in zip(("torch", "tensorflow"), points, strict=True))

    assert list(comparison(shifts(0.11, 0.2)).moved_classes) == ["A"]
    assert list(comparison(shifts(-0.11, -0.2)).moved_classes) == ["A"]
    assert not comparison(shifts(0.11, -0.2)).moved_classes
    assert not comparison(shifts(0.11, 0.09)).moved_classes


@pytest.mark.parametrize(("newer", "changed"), [(8.1, True), (7.9, False), (1.9, True), (2.1, False)])
def test_intensity_changes_by_the_ratio_of_geometric_means(newer: float, changed: bool) -> None:
    work = [StepWork("vgg", "torch", "2016", 2.0, None), StepWork("autoenc", "torch", "2016", 8.0, None)]
    found = comparison(work=(*work, StepWork("llama", "torch", "2026", newer, None)))
    assert found.means("intensity") == {"torch": (pytest.approx(4.0), pytest.approx(newer))}
    assert found.changed("intensity") is changed
    assert found.means("memory") == {}
    assert found.changed("memory") is None


def test_the_section_says_what_the_comparison_found() -> None:
    work = (StepWork("vgg", "torch", "2016", 2.0, 1.0), StepWork("llama", "torch", "2026", 8.0, 1.5))
    shifts = (ClassShift("torch", "A", 0.2, 0.9),)
    (section,) = movement_sections(comparison(shifts, work, {"Gather": 1.0}))
    assert section.lead[0].startswith("Workloads have moved: 1 of 1 workloads of 2026")
    assert section.lead[1] == "Op classes whose mean share of training has changed: A (torch 20% to 90%)."
    assert section.lead[2] == "FLOPs a byte, geometric mean of 2016 and 2026: torch: 2 and 8; changed."
    assert section.lead[3].endswith("torch: 1 and 1.5; not changed by the factor that is asked for.")
    assert not movement_sections(None)


def test_the_criteria_in_the_documents_are_those_of_the_code() -> None:
    from fathom_onnx.analysis.similarity.movement import CRITERIA

    text = " ".join(Path("docs/results/2016-and-2026.md").read_text().split())
    for name, words in CRITERIA:
        assert f"**{name}**" in text
        assert words in text, name
