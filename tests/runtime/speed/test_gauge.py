"""The speed gauge: exact readings of planted loops, when it reads, what a run says of a machine that changed speed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

import fathom_onnx
from fathom_onnx.cli import main
from fathom_onnx.runtime.speed.gauge import EVERY_S, LOOPS, TOLERANCE, Gauge, doubt, gauge_line, gauge_summary, loop_s
from fathom_onnx.runtime.speed.waiting import CROWDED, thread_times
from support.graphs.small_models import model, op


def planted(*seconds: float) -> Gauge:
    """A gauge whose readings are these, on a clock that stands still."""
    loops = (s for reading in seconds for s in [reading] * LOOPS)
    return Gauge(lambda: next(loops), lambda: 0.0, dict)


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


def test_waiting_is_what_threads_stood_in_line_between_the_first_look_and_the_last() -> None:
    looks = iter(
        [
            {1: (1000, 5000)},
            {1: (1700, 5100), 2: (150, 50)},  # a thread that began meanwhile
            {1: (1750, 5150)},  # which has ended
        ]
    )
    gauge = Gauge(lambda: 0.001, lambda: 0.0, lambda: next(looks))
    gauge.read()
    assert gauge.facts()["waited"] is None
    gauge.read()
    assert gauge.facts()["waited"] == pytest.approx(150 / 1000)
    gauge.read()
    assert gauge.facts()["waited"] == pytest.approx(200 / 1100)


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="the system does not tell of waiting threads")
def test_linux_tells_of_threads_that_wait() -> None:
    before = thread_times()
    for _ in range(30):
        loop_s()
    after = thread_times()
    assert os.getpid() in after
    assert after[os.getpid()][0] > before[os.getpid()][0]
    assert after[os.getpid()][1] >= before[os.getpid()][1]


def test_a_system_that_does_not_tell_is_unknown_and_not_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fathom_onnx.runtime.speed.waiting._TASKS", tmp_path / "none")
    gauge = Gauge(lambda: 0.001)
    gauge.read()
    gauge.read()
    assert gauge.facts()["waited"] is None
    assert doubt(gauge.facts()) == ()


def test_a_thread_that_ends_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fathom_onnx.runtime.speed.waiting._TASKS", tmp_path)
    for thread in range(1, 6):
        (tmp_path / str(thread)).mkdir()
        if thread != 3:  # its folder is still there, and its times are gone
            (tmp_path / str(thread) / "schedstat").write_text(f"{thread}00 {thread} 7\n")
    assert thread_times() == {thread: (thread * 100, thread) for thread in (1, 2, 4, 5)}


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
    shared = {**readings(1, 1).facts(), "waited": 0.4}
    assert gauge_line({"gauge": shared}) == (
        "other processes ran: its threads waited for a core 40% of their time; "
        "times of this run may not be comparable, profile again"
    )
    assert gauge_line({"gauge": {**shared, "waited": CROWDED}}).startswith("the machine kept its speed")
    both = doubt({**readings(1, 2).facts(), "waited": 0.4})
    assert [phrase.partition(":")[0] for phrase in both] == ["the machine changed speed", "other processes ran"]
    assert gauge_line({"gauge": gauge_summary({})}) == ""


def test_a_profile_on_a_machine_that_changes_speed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fathom_onnx.analysis.runs.run import Run

    def slower() -> Iterator[float]:
        yield from [0.001] * (2 * LOOPS)
        while True:
            yield 0.002

    loops = slower()
    looks = ({1: (900 * n, 100 * n)} for n in itertools.count())
    planted_gauge = partial(Gauge, lambda: next(loops), times=lambda: next(looks))
    monkeypatch.setattr("fathom_onnx.profiling.rounds.Gauge", planted_gauge)
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
    summary = {"spread": pytest.approx(1.0), "steady": False, "waited": pytest.approx(0.1)}
    assert run.summary()["gauge"] == summary
    assert "other processes ran: its threads waited for a core 10% of their time" in result.stdout
    assert "Other processes ran" not in (page := fathom_onnx.report(tmp_path / "run", measure=False))
    assert "The machine changed speed: a loop of fixed arithmetic took up to 100% longer at times; other" in page
