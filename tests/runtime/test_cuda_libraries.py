"""What CUDA needs on the machine, and what is said where it is not there: on recorded texts and made-up libraries."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.errors import MissingDependencyError, RunError, UsageError
from fathom_onnx.runtime.providers import gpu
from fathom_onnx.runtime.providers import names as providers
from fathom_onnx.runtime.providers.cuda_libraries import check_cuda, preload, session_fault
from fathom_onnx.runtime.providers.gpu import gpu_facts
from fathom_onnx.runtime.providers.names import check_provider
from fathom_onnx.runtime.settings import CUDA_OPTIONS, SessionSettings
from support.paths import ROOT, SAMPLES

TEXTS: dict[str, str] = json.loads((SAMPLES / "cuda_errors.json").read_text())
EXTRA = r"pip install 'fathom-onnx\[cuda\]'"
CUDA_13 = SimpleNamespace(cuda_version="13.0")


def number(value: int) -> Callable[..., int]:
    def give(place: Any, *_: Any) -> int:
        ctypes.cast(place, ctypes.POINTER(ctypes.c_int))[0] = value
        return 0

    return give


def machine(
    version: int = 13000, start: int = 0, devices: int = 1, without: tuple[str, ...] = ()
) -> Callable[[str], Any]:
    """A loader of libraries on a machine with this driver, without some libraries."""
    driver = SimpleNamespace(
        cuDriverGetVersion=number(version), cuInit=lambda flags: start, cuDeviceGetCount=number(devices)
    )

    def load(name: str) -> Any:
        if name in without:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return driver

    return load


def test_a_machine_that_has_everything() -> None:
    check_cuda(CUDA_13, machine())
    check_cuda(SimpleNamespace(), machine(13020))


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (
            machine(without=("libcuda.so.1",)),
            r"needs NVIDIA's driver: there is no libcuda.so.1; install NVIDIA's driver",
        ),
        (machine(12040), r"the driver is for CUDA 12.4 and this onnxruntime for CUDA 13; install .* CUDA 13"),
        (machine(start=100), r"error 100, no CUDA device is visible .*; check nvidia-smi"),
        (machine(start=803), r"error 803, the driver's library and its kernel module are of different versions"),
        (machine(start=7), r"error 7, see CUresult"),
        (machine(devices=0), r"the CUDA driver sees no device; check nvidia-smi and CUDA_VISIBLE_DEVICES"),
        (machine(without=("libcublasLt.so.13", "libcudnn.so.9")), rf"lacks libcublasLt.so.13, libcudnn.so.9; {EXTRA}"),
    ],
)
def test_what_is_missing_is_named_with_its_fix(load: Callable[[str], Any], message: str) -> None:
    with pytest.raises(MissingDependencyError, match=message):
        check_cuda(CUDA_13, load)


def test_the_libraries_are_those_of_the_wheel() -> None:
    asked: list[str] = []

    def load(name: str) -> Any:
        asked.append(name)
        return machine(14000)(name)

    check_cuda(SimpleNamespace(cuda_version="14.1"), load)
    assert asked[0] == "libcuda.so.1"
    assert {"libcudart.so.14", "libcublas.so.14", "libcublasLt.so.14", "libcurand.so.10", "libcudnn.so.9"} == {
        *asked[1:]
    }


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("no_libraries", MissingDependencyError, rf"lacks libcublasLt.so.13; {EXTRA}"),
        ("no_driver_library", MissingDependencyError, r"there is no libcuda.so.1; install NVIDIA's driver for CUDA 13"),
        (
            "no_driver",
            MissingDependencyError,
            r"needs NVIDIA's driver, which is missing or too old .*; install",
        ),
        (
            "not_supported",
            RunError,
            r"CUDA failure 36: API call is not supported in the installed CUDA driver\); check",
        ),
    ],
)
def test_recorded_texts_are_understood(text: str, kind: type[Exception], message: str) -> None:
    fault = session_fault(TEXTS[text])
    assert isinstance(fault, kind)
    with pytest.raises(kind, match=message):
        raise fault


def test_memory_and_unknown_texts() -> None:
    full = session_fault("Failed to allocate memory for requested buffer of size 1024")
    assert isinstance(full, RunError)
    assert str(full) == "provider 'cuda' has too little memory on the device; choose a smaller --batch"
    assert session_fault("This is an invalid model") is None


def test_what_onnxruntime_prints_while_it_loads_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    preload(SimpleNamespace(preload_dlls=lambda: sys.stdout.write(TEXTS["printed_by_preload"])))  # type: ignore[arg-type]
    preload(SimpleNamespace())  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


def test_two_wheels_in_one_environment_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(__version__="9", get_available_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(providers, "onnxruntime", lambda extra: module)
    monkeypatch.setattr(providers, "wheels", lambda: ("onnxruntime", "onnxruntime-gpu"))
    with pytest.raises(MissingDependencyError, match=rf"both installed .*; pip uninstall .*, then {EXTRA}"):
        check_provider("cuda")


def test_provider_options() -> None:
    assert SessionSettings().provider_options == {}
    assert SessionSettings("cuda").provider_options == {**CUDA_OPTIONS, "use_tf32": "0"}
    assert SessionSettings("cuda", tf32=True).provider_options["use_tf32"] == "1"
    with pytest.raises(UsageError, match="not for provider 'cpu'; leave out --tf32, or give --ep cuda"):
        SessionSettings(tf32=True)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["study", "--tf32", "autoenc"], "TensorFloat-32 is for provider 'cuda', which takes no part"),
        (["sweep", "--tf32", "autoenc"], "TensorFloat-32 is for provider 'cuda', which takes no part"),
        (["verify", "autoenc", "--ep", "cdua"], "unknown provider 'cdua'; did you mean 'cuda'?"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(command: list[str], message: str, tmp_path: Path) -> None:
    output = ["-o", str(tmp_path)] if command[0] != "verify" else []
    done = CliRunner().invoke(main, [*command, *output])
    assert done.exit_code == 2
    assert message in done.output
    assert not any(tmp_path.iterdir())


class NvmlError(Exception):
    pass


def refuse(*_: Any) -> Any:
    raise NvmlError("Not Supported")


def on_the_bus(name: str) -> Any:
    """A driver whose first visible device is at this place."""

    def tell(text: Any, length: int, device: Any) -> int:
        text.value = b"0000:65:00.0"
        return 0

    return SimpleNamespace(cuInit=lambda flags: 0, cuDeviceGet=number(3), cuDeviceGetPCIBusId=tell)


def nvml(**changes: Any) -> Any:
    known = {
        "NVMLError": NvmlError,
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByPciBusId": lambda bus_id: bus_id,
        "nvmlDeviceGetName": {"0000:65:00.0": b"A Card"}.get,
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (9, 0),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=80 * 2**30),
        "nvmlSystemGetDriverVersion": lambda: "580.65",
        "nvmlSystemGetCudaDriverVersion": lambda: 13020,
        "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 1980,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
    }
    return SimpleNamespace(**{**known, **changes})


def test_the_facts_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "onnxruntime", lambda extra: CUDA_13)
    facts = gpu_facts(nvml(), on_the_bus)
    assert (facts["name"], facts["compute_capability"], facts["memory_bytes"]) == ("A Card", "9.0", 80 * 2**30)
    assert (facts["driver"], facts["driver_cuda"], facts["cuda"]) == ("580.65", "13.2", "13.0")
    assert (facts["clock_mhz"], facts["power_limit_w"], facts["reason"]) == (1980, 700, None)
    partitioned = gpu_facts(nvml(nvmlDeviceGetEnforcedPowerLimit=refuse), on_the_bus)
    assert (partitioned["power_limit_w"], partitioned["name"], partitioned["reason"]) == (None, "A Card", None)


def test_facts_that_cannot_be_had_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "onnxruntime", lambda extra: CUDA_13)
    assert "does not start (Not Supported)" in gpu_facts(nvml(nvmlInit=refuse))["reason"]
    told = gpu_facts(nvml(nvmlDeviceGetName=refuse), on_the_bus)
    assert (told["name"], "does not tell" in told["reason"]) == (None, True)
    hidden = gpu_facts(nvml(), machine(without=("libcuda.so.1",)))
    assert (hidden["name"], hidden["reason"]) == (None, "the CUDA driver does not tell which device is used")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_facts()["reason"].startswith("nvidia-ml-py is not installed")


def test_the_wheel_without_a_driver_gives_one_error(tmp_path: Path) -> None:
    """With ``FATHOM_GPU_PYTHON``, a Python with onnxruntime-gpu and what this package needs, on a machine without."""
    python = os.environ.get("FATHOM_GPU_PYTHON")
    if not python:
        pytest.skip("FATHOM_GPU_PYTHON names no Python with onnxruntime-gpu")
    root = ROOT
    command = [python, "-m", "fathom_onnx", "profile", str(root / "graphs" / "autoenc.onnx"), "--ep", "cuda", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    if done.returncode == 0:
        pytest.skip("there is a device: nothing is missing")
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "driver" in done.stderr or "fathom-onnx[cuda]" in done.stderr
