"""Scripts without a ``__main__`` guard, each run by a Python of its own: an error, no hang, no lock left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = 'if __name__ == "__main__":'
CALLS = {
    "run_study": 'from fathom_onnx.study import run_study\nrun_study("out", "tiny", ["autoenc"], ["torch"])',
    "run_sweep": (
        'from fathom_onnx.study import Axes, run_sweep\nrun_sweep("out", Axes(["autoenc"], ["torch"], preset="tiny"))'
    ),
    # as with the wheel that lists CUDA
    "check_usable": (
        "import onnxruntime\n"
        'onnxruntime.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]\n'
        "from fathom_onnx.runtime.usable import check_usable\n"
        'check_usable("cuda")'
    ),
}


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(script + "\n", "utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "FATHOM_ONNX_LOCK": str(folder / "lock"),
    }
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", CALLS)
def test_a_call_without_a_guard_is_an_error(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, f'{CALLS[name]}\nprint("done")')
    assert done.returncode == 1
    assert "done" not in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("fathom_onnx.errors.")]
    assert errors == [  # of the process that works, and of the script
        "fathom_onnx.errors.UsageError: a worker process that imported the script called "
        f"{name} again; put the call under {GUARD}",
        "fathom_onnx.errors.UsageError: a worker process ended while it imported the script "
        f"'{tmp_path / 'script.py'}'; put what the script does under {GUARD}",
    ]
    assert not (tmp_path / "lock.holder").exists()
    if name != "check_usable":
        from filelock import FileLock

        FileLock(tmp_path / "lock").acquire(timeout=0)


def test_the_command_line_called_without_a_guard_is_an_error(tmp_path: Path) -> None:
    call = (
        'import sys\nsys.argv = ["fathom-onnx", "sweep", "autoenc", "--framework", "torch", "--preset", "tiny"]\n'
        "from fathom_onnx.cli import main\nmain()"
    )
    done = run(tmp_path, call)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"error: a worker process ended while it imported the script '{tmp_path / 'script.py'}'; "
        f"put what the script does under {GUARD}"
    )


def test_with_the_guard_processes_work(tmp_path: Path) -> None:
    script = (
        "import os\nfrom pathlib import Path\nfrom fathom_onnx.study import ProcessWorkers, WorkerCall\n"
        f"{GUARD}\n"
        '    with ProcessWorkers(Path("logs")) as workers:\n'
        '        outcomes = [o for _, o in workers.run([WorkerCall("a", os.path.basename, "x/y")]) if o]\n'
        "    print(outcomes[0].result)"
    )
    done = run(tmp_path, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")
