"""The speed gauge: exact readings of planted loops, when it reads, what a run says of a machine that changed speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.runtime.speed.gauge import EVERY_S, LOOPS, TOLERANCE, Gauge, gauge_line, gauge_summary, loop_s
from support.graphs.small_models import model, op


def planted(*seconds: float) -> Gauge:
    """A gauge whose readings are these, on a clock that stands still."""
    loops = (s for reading in seconds for s in [reading] * LOOPS)
    return Gauge(lambda: next(loops), lambda: 0.0)


def readings(*seconds: float) -> Gauge:
    gauge = planted(*seconds)
    for _ in seconds:
        gauge.read()
    return gauge


@pytest.mark.parametrize(
    ("seconds", "spread", "steady"),
    [
        ([0.001, 0.001, 0.001], 0.0, True),
        ([0.001, 0.00105, 0.00102], 0.05, True),
        ([0.001, 0.0015, 0.001], 0.5, False),  # slow for a while
        ([0.0028, 0.001], 1.8, False),  # became faster
        ([0.001, 0.001, 0.002, 0.001, 0.001], 0.0, True),  # one reading that something delayed
        ([0.001, 0.001, 0.0013, 0.0013], 0.3, False),  # became slower
        ([0.0012, 0.0012, 0.0012, 0.001, 0.0011, 0.001, 0.001], 0.2, False),
        ([0.001, 0.00109, 0.001, 0.00109, 0.00106, 0.00109], 0.09, True),
        ([0.001], None, None),
        ([], None, None),
    ],
)
def test_the_spread_is_the_slowest_over_the_fastest_of_three_in_a_row(
    seconds: Sequence[float], spread: float | None, steady: bool | None
) -> None:
    facts = readings(*seconds).facts()
    assert facts["readings_us"] == pytest.approx([s * 1e6 for s in seconds])
    assert facts["spread"] == (None if spread is None else pytest.approx(spread))
    assert facts["steady"] is steady


def test_one_interrupted_loop_does_not_decide_a_reading() -> None:
    loops = iter([0.001, 0.2, 0.001, 0.001, 0.001])
    gauge = Gauge(lambda: next(loops))
    gauge.read()
    assert gauge.readings_us == [1000.0]


def test_it_reads_after_the_first_and_the_last_step_of_a_series_and_between_when_time_has_passed() -> None:
    now = [0.0]
    gauge = Gauge(lambda: 0.001, lambda: now[0])
    told: list[tuple[str, int, int, int]] = []
    progress = gauge.around(lambda what, done, total: told.append((what, done, total, len(gauge.readings_us))))
    for what in ("control", "profile"):
        for number in range(1, 6):
            now[0] += EVERY_S * 0.4
            progress(what, number, 5)
    # a step takes 0.4 of the time between readings: the first, the fourth and the last of each series
    assert [count for *_, count in told] == [1, 1, 1, 2, 3, 4, 4, 4, 5, 6]
    assert told[0][:3] == ("control", 1, 5)


def test_a_gauge_without_a_report_of_progress_reads_too() -> None:
    gauge = planted(0.001, 0.001)
    report = gauge.around(None)
    report("control", 1, 2)
    report("control", 2, 2)
    assert len(gauge.readings_us) == 2


def test_the_loop_takes_time() -> None:
    assert 1e-5 < min(loop_s() for _ in range(20)) < 0.1


def test_lines_say_whether_the_machine_changed_speed() -> None:
    def line(*seconds: float) -> str:
        return gauge_line({"gauge": gauge_summary({"gauge": readings(*seconds).facts()})})

    assert line(1, 1.31).startswith("the machine changed speed: a loop of fixed arithmetic took up to 31% longer")
    assert line(1, 1 + TOLERANCE / 2).startswith("the machine kept its speed")
    assert line(1) == ""
    assert gauge_line({"gauge": gauge_summary({})}) == ""


def test_a_profile_on_a_machine_that_changes_speed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fathom_onnx.analysis.runs.run import Run

    def slower() -> Iterator[float]:
        yield from [0.001] * (2 * LOOPS)
        while True:
            yield 0.002

    loops = slower()
    monkeypatch.setattr("fathom_onnx.profiling.Gauge", partial(Gauge, lambda: next(loops)))
    import onnx

    graph = model([op("Relu", "x", "y", "forward/act/Relu")], {"x": (1, (4, 3))}, {"y": (1, (4, 3))})
    onnx.save(graph, tmp_path / "g.onnx")
    command = ["profile", str(tmp_path / "g.onnx"), "--steps", "3", "--threads", "1", "-o", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "the machine changed speed: a loop of fixed arithmetic took up to 100% longer at times" in result.stdout
    run = Run.load(tmp_path / "run")
    assert run.manifest["gauge"]["steady"] is False
    assert len(run.manifest["gauge"]["readings_us"]) >= 4  # the ends of two series
    assert run.summary()["gauge"] == {"spread": pytest.approx(1.0), "steady": False}
