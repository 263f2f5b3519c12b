"""The recorder on a stand-in for the package ``cupti``; what is missing or refused; launches that wait."""

from __future__ import annotations

import importlib
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.errors import MissingDependencyError, RunError, UsageError
from fathom_onnx.runtime import node_times
from fathom_onnx.runtime.devices import launch_blocking
from fathom_onnx.runtime.devices.cupti import CuptiRecorder
from fathom_onnx.runtime.devices.launch_blocking import VARIABLE, block_launches, cuda_has_begun, refuse_blocking
from fathom_onnx.runtime.devices.records import DeviceActivity, Launch
from fathom_onnx.runtime.node_times import device_recorder, host_node_times
from fathom_onnx.runtime.providers import names as providers
from fathom_onnx.runtime.settings import SessionSettings
from support.fakes import fake_cupti
from support.fakes.fake_cupti import ActivityKind, FakeCupti, call, copy, cuptiError, install, kernel, memset

CUDA = SessionSettings("cuda")


@pytest.fixture
def cupti(monkeypatch: pytest.MonkeyPatch) -> FakeCupti:
    return install(monkeypatch)


def test_calls_and_work_are_recorded(cupti: FakeCupti) -> None:
    recorder = CuptiRecorder()
    recorder.start()
    assert cupti.enabled == {int(kind) for kind in ActivityKind}
    assert cupti.thread_ids == fake_cupti.ActivityThreadIdType.SYSTEM
    cupti.queue = [
        [
            call(1, 100, 200),
            call(2, 210, 220, cbid=10),  # launches nothing
            kernel(1, 300, 400),
            call(3, 500, 510, cbid=41),
            copy(3, 600, 700, kind=2),
            copy(4, 710, 720, kind=99),
            memset(5, 730, 740),
        ],
        [call(5, 725, 728, cbid=51), kernel(6, 900, 950, "graph_a"), kernel(6, 950, 980, "graph_b")],
    ]
    recorder.step_done()
    recorder.step_done()
    cupti.queue = [[call(6, 890, 895, cbid=311, kind=ActivityKind.DRIVER), kernel(6, 980, 990, "graph_c")]]
    made = recorder.stop()
    assert cupti.enabled == set()
    assert made.source.startswith("cupti ")
    assert made.launches == (
        Launch(1, 41, 100, 200, "RUNTIME_API_211"),
        Launch(3, 41, 500, 510, "RUNTIME_API_41"),
        # its record came one step after its work
        Launch(5, 41, 725, 728, "RUNTIME_API_51"),
        Launch(6, 41, 890, 895, "DRIVER_API_311"),
    )
    shape: dict[str, Any] = {"grid": (8, 2, 1), "block": (256, 1, 1), "registers": 64, "shared_bytes": 1536}
    assert made.activities == (
        DeviceActivity("kernel", "gemm", 1, 300, 400, 0, 7, **shape),
        DeviceActivity("copy", "DTOH", 3, 600, 700, 0, 7, size_bytes=4096),
        DeviceActivity("copy", "UNKNOWN", 4, 710, 720, 0, 7, size_bytes=4096),
        DeviceActivity("set", "memset", 5, 730, 740, 0, 7, size_bytes=64),
        DeviceActivity("kernel", "graph_a", 6, 900, 950, 0, 7, **shape),
        DeviceActivity("kernel", "graph_b", 6, 950, 980, 0, 7, **shape),
        DeviceActivity("kernel", "graph_c", 6, 980, 990, 0, 7, **shape),
    )
    assert (len(made.clock), made.dropped) == (4, 0)
    assert [value for name, value in cupti.asked if name == "activity_flush_all"] == [0, 0, 1]


def test_a_kernel_counts_once_where_both_interfaces_record_its_launch(cupti: FakeCupti) -> None:
    recorder = CuptiRecorder()
    recorder.start()
    # the driver's call lies within the runtime's and ends first; with the same number the outer one is kept
    cupti.queue = [[call(1, 120, 180, 307, ActivityKind.DRIVER), call(1, 100, 200), kernel(1, 300, 400)]]
    made = recorder.stop()
    assert made.launches == (Launch(1, 41, 100, 200, "RUNTIME_API_211"),)
    assert len(made.activities) == 1


def test_a_recorder_begins_anew(cupti: FakeCupti) -> None:
    recorder = CuptiRecorder()
    cupti.dropped = 5  # before the start: nothing of this recording
    recorder.start()
    cupti.queue = [[call(1, 1, 2), kernel(1, 3, 4)]]
    assert (len(recorder.stop().activities), recorder.stop().activities) == (1, ())
    recorder.start()
    cupti.dropped = 17
    again = recorder.stop()
    assert (again.launches, again.activities, again.dropped) == ((), (), 17)
    assert [name for name, _ in cupti.asked].count("activity_register_callbacks") == 1


def test_a_record_that_cannot_be_read_is_not_lost_silently(cupti: FakeCupti) -> None:
    recorder = CuptiRecorder()
    recorder.start()
    cupti.queue = [[SimpleNamespace(kind=int(ActivityKind.MEMSET))]]
    with pytest.raises(RunError, match="a record of CUPTI cannot be read"):
        recorder.step_done()


def test_what_was_begun_is_ended_when_a_kind_is_refused(cupti: FakeCupti) -> None:
    cupti.failing[f"activity_enable {int(ActivityKind.MEMSET)}"] = cuptiError(21)
    recorder = CuptiRecorder()
    with pytest.raises(RunError, match=r"cannot record MEMSET \(CUPTI_ERROR_INVALID_KIND, 21\); update the driver"):
        recorder.start()
    assert cupti.enabled == set()


@pytest.mark.parametrize(
    ("function", "error", "kind", "text"),
    [
        (
            "get_timestamp",
            RuntimeError("CUDA driver is not found (libcuda.so.1: cannot open shared object file)"),
            MissingDependencyError,
            "CUDA driver is not found .*install NVIDIA's driver, or give --serialize",
        ),
        (
            "get_timestamp",
            RuntimeError("Failed to dlopen libcupti"),
            MissingDependencyError,
            r"libcupti.*pip install 'fathom-onnx\[cuda\]', or give --serialize",
        ),
        ("get_timestamp", cuptiError(999), RunError, r"CUPTI_ERROR_UNKNOWN, 999.*nvidia-smi.*--serialize"),
        ("activity_enable", cuptiError(39), RunError, "MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, 39.*end the other profiler"),
        (
            "activity_enable",
            cuptiError(35),
            RunError,
            "INSUFFICIENT_PRIVILEGES, 35.*NVreg_RestrictProfiling",
        ),
        ("activity_register_callbacks", cuptiError(1234), RunError, "CUPTI_unknown, 1234.*--serialize"),
        ("activity_flush_all", cuptiError(15), RunError, "cannot hand over its records.*NOT_INITIALIZED"),
    ],
)
def test_what_is_refused_names_the_fix(
    cupti: FakeCupti, function: str, error: Exception, kind: type[Exception], text: str
) -> None:
    cupti.failing[function] = error
    with pytest.raises(kind, match=text):
        recorder = CuptiRecorder()
        recorder.start()
        recorder.step_done()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupti", None)
    monkeypatch.delitem(sys.modules, "cupti.cupti", raising=False)
    monkeypatch.setattr(node_times, "check_provider", providers.PROVIDERS.get)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(MissingDependencyError, match=r"cupti-python.*fathom-onnx\[cuda\]', or give --serialize"):
        device_recorder(CUDA)


def test_the_stand_in_has_the_packages_names() -> None:
    try:
        real = importlib.import_module("cupti.cupti")
    except ImportError:
        pytest.skip("cupti-python is not installed (extra cuda)")
    for made in fake_cupti.ENUMS:
        theirs = getattr(real, made.__name__)
        assert {m.name: int(m) for m in made} == {m.name: int(theirs[m.name]) for m in made}
    assert all(callable(getattr(real, name)) for name in fake_cupti.FUNCTIONS)
    assert real.cuptiError(39).status == 39
    wanted = {
        "ActivityAPI": call(1, 2, 3),
        "ActivityKernel9": kernel(1, 2, 3),
        "ActivityMemcpy6": copy(1, 2, 3),
        "ActivityMemset4": memset(1, 2, 3),
    }
    for name, record in wanted.items():
        assert set(vars(record)) <= set(dir(getattr(real, name))), name


def test_the_recorder_is_of_the_provider(monkeypatch: pytest.MonkeyPatch, cupti: FakeCupti) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert (device_recorder(SessionSettings()), host_node_times(SessionSettings())) == (None, "kernel")
    with pytest.raises(MissingDependencyError, match="CUDAExecutionProvider"):
        device_recorder(CUDA)
    monkeypatch.setattr(node_times, "check_provider", providers.PROVIDERS.get)
    assert isinstance(device_recorder(CUDA), CuptiRecorder)


def test_serialized_launches_need_no_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    serialized = SessionSettings("cuda", serialize=True)
    monkeypatch.setattr(node_times, "check_provider", providers.PROVIDERS.get)
    monkeypatch.setenv(VARIABLE, "0")
    assert device_recorder(serialized) is None
    assert host_node_times(serialized) == "serialized"
    assert os.environ[VARIABLE] == "1"
    # from here on this process cannot measure ordinary launches
    with pytest.raises(UsageError, match=f"{VARIABLE} is set"):
        device_recorder(CUDA)
    with pytest.raises(UsageError, match="'cpu' launches no kernels to serialize"):
        SessionSettings("cpu", serialize=True)


def test_it_is_too_late_to_serialize_when_cuda_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_blocking, "cuda_has_begun", lambda: True)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UsageError, match=f"new process, or start this one with {VARIABLE}=1"):
        block_launches()
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "1")
    block_launches()


@pytest.mark.parametrize("before", [None, "0"])
def test_the_setting_is_as_it_was_where_the_provider_is_missing(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    seen = []

    def missing(name: str) -> None:
        # asking for the provider may start CUDA: the setting must be there by then
        seen.append(os.environ[VARIABLE])
        raise MissingDependencyError("no provider", "")

    monkeypatch.setattr(node_times, "check_provider", missing)
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    with pytest.raises(MissingDependencyError):
        device_recorder(SessionSettings("cuda", serialize=True))
    assert (seen, os.environ.get(VARIABLE)) == (["1"], before)
    monkeypatch.setattr(launch_blocking, "cuda_has_begun", lambda: True)
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(MissingDependencyError):
        device_recorder(SessionSettings("cuda", serialize=True))
    assert os.environ[VARIABLE] == "1"


@pytest.mark.parametrize(("status", "begun"), [(3, False), (0, True), (101, True)])
def test_the_driver_is_asked_whether_it_has_begun(monkeypatch: pytest.MonkeyPatch, status: int, begun: bool) -> None:
    driver = SimpleNamespace(cuDevicePrimaryCtxGetState=lambda device, flags, active: status)
    monkeypatch.setattr(launch_blocking.ctypes, "CDLL", lambda name: driver)
    assert cuda_has_begun() is begun
    monkeypatch.setattr(launch_blocking.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not cuda_has_begun()


def test_a_process_in_which_launches_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "0"):
        monkeypatch.setenv(VARIABLE, value)
        refuse_blocking()
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(UsageError, match="give --serialize"):
        refuse_blocking()


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for more in ([], ["--serialize"]):
        done = CliRunner().invoke(main, ["profile", "graphs/autoenc.onnx", "--ep", "cuda", *more])
        assert done.exit_code == 4
        assert "pip install 'fathom-onnx[cuda]'" in done.stderr
        assert VARIABLE not in os.environ
    done = CliRunner().invoke(main, ["profile", "graphs/autoenc.onnx", "--serialize"])
    assert (done.exit_code, "leave --serialize out" in done.stderr) == (2, True)
