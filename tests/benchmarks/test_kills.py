"""The checks of the benchmark that kills commands: each planted fault is found."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from fathom_onnx.study.engine.store import Store
from support.paths import ROOT
from support.runs.sealing import reseal
from support.runs.small_runs import Executed, hand_run

sys.path.insert(0, str(ROOT / "benchmarks" / "kills"))
try:
    import subjects
finally:
    sys.path.pop(0)


def run_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    hand_run([Executed("k0", [9, 9], {"forward/conv1/Conv2D": 1.0})], [1, 1]).save(folder)
    reseal(folder)
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> subjects.Sweep:
    found = subjects.Sweep(tmp_path)
    store = Store(found.output / "cells")
    for number in range(2):
        store.put("cell", "profile", {"n": number}, {"folder": "run"})
    run_folder(found.output / "runs" / "run")
    (found.output / "cells.csv").write_text("cell,us\na,1\n")
    assert found.check() == []
    return found


def test_a_sweep_as_it_was_has_no_fault_and_may_grow(sweep: subjects.Sweep) -> None:
    Store(sweep.output / "cells").put("cell", "profile", {"n": 2}, {})
    (sweep.output / "runs" / ".aside").mkdir()
    (sweep.output / "runs" / ".aside" / "manifest.json").write_text("half")
    assert sweep.check() == []


def test_a_lost_result_and_a_changed_one_are_found(sweep: subjects.Sweep) -> None:
    first, second = sorted(sweep.output.glob("cells/*/*.json"))
    first.unlink()
    second.write_text(json.dumps({"schema": "other"}))
    assert sorted(sweep.check()) == sorted([f"{first.name} is gone", f"{second.name} is changed"])


def test_torn_files_and_failures_are_found(sweep: subjects.Sweep) -> None:
    (sweep.output / "cells.csv").write_text('cell,us\n"a')
    (sweep.output / "sweep.json").write_text("{")
    (sweep.output / "runs" / "run" / "files.json").unlink()
    Store(sweep.output / "cells").put_error("cell", "profile", {"n": 9}, "failed")
    said = sweep.check()
    assert len(said) == 4
    assert {text for line in said for text in ("not whole", "written to its end", "an error") if text in line} == {
        *("not whole", "written to its end", "an error")
    }


def test_a_graph_that_is_neither_and_a_run_that_is_gone_are_found(tmp_path: Path) -> None:
    export = object.__new__(subjects.Export)
    export.output = tmp_path / "out"
    export.output.mkdir()
    export._known = {"a.onnx": {b"old", b"new"}, "b.onnx": {b"one"}}
    for content, faults in ((b"old", 1), (b"new", 1), (b"ol", 2)):
        (export.output / "a.onnx").write_bytes(content)
        assert len(export.check()) == faults  # b.onnx is gone
    profile = object.__new__(subjects.Profile)
    profile.output = run_folder(tmp_path / "run")
    assert profile.check() == []
    shutil.rmtree(profile.output)
    assert len(profile.check()) == 1
