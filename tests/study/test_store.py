"""The store of results, and the keys of the real stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fathom_onnx import study
from fathom_onnx.study import Job, Stage
from fathom_onnx.study.engine.store import Store, key


def test_a_key_depends_on_values_and_not_on_their_order() -> None:
    assert key({"a": 1, "b": [2]}) == key({"b": [2], "a": 1})
    assert key({"a": 1, "b": [2]}) != key({"a": 1, "b": [3]})


def test_the_store_gives_back_what_it_was_given_for_the_same_inputs_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("cell", "export", {"a": 1}, {"x": 2})
    assert store.get("cell", "export", {"a": 1}) == {"x": 2}
    assert store.get("cell", "export", {"a": 2}) is None
    assert store.get("cell", "verify", {"a": 1}) is None
    assert store.get("other", "export", {"a": 1}) is None


def test_the_real_keys_tell_apart_what_matters(tmp_path: Path) -> None:
    def job(**changes: Any) -> Job:
        cell = study.Cell("autoenc", changes.pop("framework", "torch"), changes.pop("mode", "inference"))
        return Job(cell, replace(study.Options(preset="tiny"), **changes), tmp_path)

    def keys(stage: Stage, *jobs: Job) -> set[str]:
        return {key(stage.inputs(j)) for j in jobs}

    export, profile, verify = study.STAGES.export, study.STAGES.profile, study.STAGES.verify
    same = job(), job(seed=1), job(steps=7), job(threads=2)
    assert len(keys(export, *same)) == 1
    assert len(keys(export, job(), job(preset="small"), job(framework="tensorflow"), job(mode="training"))) == 4
    assert len(keys(profile, *same)) == 4
    assert len(keys(verify, job(), job(seed=1), job(checked_steps=3), job(steps=7))) == 3
    job().graph().parent.mkdir(parents=True)
    job().graph().write_bytes(b"another graph")
    assert len(keys(profile, job(), job(mode="training"))) == 2
