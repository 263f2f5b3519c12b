"""The same call in other surroundings: another hash seed, locale, time zone, clock, folder and number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fathom_onnx.study.engine.lock import LOCK_VARIABLE
from support.jumping_clock import jumping_clock

_MISSING = [name for name in ("torch", "tensorflow", "jax", "onnxruntime") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"needs {', '.join(_MISSING)}")

HERE = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
ELSEWHERE = {
    **{"PYTHONHASHSEED": "4242", "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "2"},
    **{"TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2", "HOME": "/nonexistent", "COLUMNS": "40"},
}


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, dict[str, str]]:
    """Two folders to work in, with environments that have as little as possible in common."""
    base = tmp_path_factory.mktemp("surroundings")
    here, elsewhere = base / "here", base / "else where" / "é"
    for folder in (here, elsewhere):
        folder.mkdir(parents=True)
    return {
        here: {**os.environ, **HERE, LOCK_VARIABLE: str(here / "lock")},
        elsewhere: {
            **os.environ,
            **ELSEWHERE,
            **jumping_clock(base),
            LOCK_VARIABLE: str(elsewhere / "lock"),
            "TMPDIR": str(elsewhere),
        },
    }


def called(surroundings: dict[Path, dict[str, str]], *arguments: str) -> list[Path]:
    """Call the command line in each folder, for ``out`` in it: these two folders."""
    for folder, env in surroundings.items():
        command = [sys.executable, "-m", "fathom_onnx", *arguments, "-o", "out"]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return [folder / "out" for folder in surroundings]


def contents(folder: Path) -> dict[str, bytes]:
    """Path below a folder to content, of all graphs and what belongs to them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".onnx", ".safetensors", ".mlir", ".mlirbc")
    }


def test_an_export_gives_the_same_bytes(surroundings: dict[Path, dict[str, str]]) -> None:
    options = ["--framework", "all", "--mode", "all", "--preset", "tiny"]
    one, other = map(contents, called(surroundings, "export", "autoenc", "memnet", *options))
    assert len(one) == 12  # two workloads, two modes, three frameworks
    assert one == other


def test_a_study_gives_the_same_graphs_and_structure(surroundings: dict[Path, dict[str, str]]) -> None:
    """What is measured differs; what is not, does not."""
    measuring = ["--threads", "1", "--warmup", "1", "--steps", "2", "--rounds", "1", "--no-native", "--no-verify"]
    options = ["--framework", "usual", "--mode", "inference", "--preset", "tiny", *measuring]
    folders = called(surroundings, "study", "autoenc", "memnet", *options)
    one, other = (json.loads((folder / "study.json").read_text()) for folder in folders)
    assert len(one["cells"]) == len(other["cells"]) == 4
    assert contents(folders[0] / "graphs") == contents(folders[1] / "graphs")
    for here, elsewhere in zip(one["cells"], other["cells"], strict=True):
        assert here["structure"]["ops"]
        for part in ("cell", "export", "structure"):
            assert without_times(here[part]) == without_times(elsewhere[part])
    levels = [[level for level in study["framework"] if level["name"] == "structure"] for study in (one, other)]
    assert len(levels[0]) == 1
    assert levels[0] == levels[1]


def without_times(part: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in part.items() if name != "seconds"}
