"""Recording what a CUDA device does, by CUPTI in this process: calls, kernels, copies and sets.

Calls of both programming interfaces are recorded: onnxruntime's own kernels are launched by the runtime, those of
cuBLAS and cuDNN partly by the driver. A kernel's record carries the number (correlation id) of the call that launched
it, and there is one record a kernel, whichever of the two it was. Only here is the package ``cupti`` imported.

Source: CUPTI's documentation (Activity API), and the package's type stubs.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from fathom_onnx.errors import FathomError, MissingDependencyError, RunError, one_line
from fathom_onnx.versions import package_version

from .clocks import ClockPair, read_clocks
from .records import DeviceActivity, Launch, Recording

__all__ = ["CuptiRecorder", "load_cupti"]

BUFFER_BYTES = 8 << 20
"""Size of a buffer for records, about 40,000 of them; CUPTI asks for as many as it needs."""

OTHERWISE = "or give --serialize for host times under blocking launches"
EXTRA = f"pip install 'fathom-onnx[cuda]', {OTHERWISE}"

_CALLS = {"RUNTIME": "RUNTIME_API", "DRIVER": "DRIVER_API"}
"""Kind of activity to the domain that names its calls."""

_KINDS = (*_CALLS, "CONCURRENT_KERNEL", "MEMCPY", "MEMSET")

_FIXES = {
    "ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED": "end the other profiler of this process (Nsight, a framework's own)",
    "ERROR_NOT_COMPATIBLE": "end the other profiler of this process (Nsight, a framework's own)",
    "ERROR_INSUFFICIENT_PRIVILEGES": "let users profile: driver option NVreg_RestrictProfilingToAdminUsers=0",
    "ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES": "let this virtual machine profile its device",
    "ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED": "use a device that is not virtual",
    "ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED": "use a device outside confidential computing",
    "ERROR_MIG_DEVICE_NOT_SUPPORTED": "use a whole device",
    "ERROR_WSL_DEVICE_NOT_SUPPORTED": "use a device outside WSL",
    "ERROR_NOT_INITIALIZED": "check the device and its driver (nvidia-smi)",
    "ERROR_UNKNOWN": "check the device and its driver (nvidia-smi)",
    "ERROR_INVALID_KIND": "update the driver and the package cupti-python",
}
"""CUPTI's errors that a user can do something about."""


def load_cupti() -> ModuleType:
    """The package's module of bindings, after a first call that loads the driver and CUPTI's library.

    Raises:
        MissingDependencyError: The package, CUPTI's library or the driver is absent.
        RunError: CUPTI cannot be used here.
    """
    try:
        module = importlib.import_module("cupti.cupti")
    except ImportError as error:
        raise MissingDependencyError(
            f"device times need the package cupti-python, which cannot be imported ({one_line(error, 120)})", EXTRA
        ) from error
    try:
        module.get_timestamp()
    except Exception as error:
        raise _problem(module, error, "CUPTI cannot be used") from error
    return module


def _problem(module: ModuleType, error: Exception, what: str) -> FathomError:
    """The error to raise for one of CUPTI's or of its loader's."""
    if not isinstance(error, module.cuptiError):
        # what the bindings raise when they find no driver or no library has no public class
        fix = "install NVIDIA's driver" if "driver" in str(error).lower() else "pip install 'fathom-onnx[cuda]'"
        return MissingDependencyError(f"{what} ({one_line(error, 160)})", f"{fix}, {OTHERWISE}")
    status = int(error.status)
    name = str(getattr(_known(module, status), "name", "unknown"))
    return RunError(f"{what} (CUPTI_{name}, {status})", f"{_FIXES.get(name, 'profile again')}, {OTHERWISE}")


def _known(module: ModuleType, status: int) -> Any:
    try:
        return module.Result(status)
    except ValueError:
        return None


class CuptiRecorder:
    """A recorder of CUDA's activities; see :class:`~fathom_onnx.runtime.devices.records.DeviceRecorder`.

    Raises:
        MissingDependencyError: The package, CUPTI's library or the driver is absent.
        RunError: CUPTI cannot be used here.
    """

    def __init__(self) -> None:
        self._cupti = load_cupti()
        kinds = self._cupti.ActivityKind
        self._kinds = {name: getattr(kinds, name) for name in _KINDS}
        self._domains = {int(self._kinds[kind]): domain for kind, domain in _CALLS.items()}
        self._copies = {int(member): member.name for member in self._cupti.ActivityMemcpyKind}
        self._call_names: dict[tuple[str, int], str] = {}
        self._registered = False
        self._clear()

    def _clear(self) -> None:
        self._calls: dict[int, tuple[str, int, Launch]] = {}
        self._older: set[int] = set()
        self._launches: dict[int, Launch] = {}
        self._activities: list[DeviceActivity] = []
        self._linked = 0
        self._unlinked: set[int] = set()
        self._clock: list[ClockPair] = []
        self._failure: Exception | None = None

    def _ask(self, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            raise _problem(self._cupti, error, f"CUPTI cannot {what}") from error

    def start(self) -> None:
        """Begin to record.

        Raises:
            RunError: CUPTI refuses, as it does when another profiler is at work.
        """
        self._clear()
        c = self._cupti
        # onnxruntime's trace has the system's thread numbers; without this CUPTI tells those of pthreads
        self._ask("tell the system's thread numbers", c.set_thread_id_type, c.ActivityThreadIdType.SYSTEM)
        if not self._registered:
            self._ask("take buffers for records", c.activity_register_callbacks, self._requested, self._completed)
            self._registered = True
        try:
            for name, kind in self._kinds.items():
                self._ask(f"record {name}", c.activity_enable, kind)
        except FathomError:
            self._end()
            raise
        self._dropped()  # what was lost before does not count
        self._clock.append(read_clocks(c.get_timestamp))

    def step_done(self) -> None:
        """Take in the records so far and read the clocks.

        Raises:
            RunError: CUPTI fails to hand over its records.
        """
        self._take_in(0)
        self._clock.append(read_clocks(self._cupti.get_timestamp))

    def stop(self) -> Recording:
        """End recording and hand over all of it.

        Raises:
            RunError: CUPTI fails to hand over its records.
        """
        try:
            self._take_in(int(self._cupti.ActivityFlag.FLUSH_FORCED))
            self._clock.append(read_clocks(self._cupti.get_timestamp))
            dropped = self._dropped()
        finally:
            self._end()
        recording = Recording(
            f"cupti {package_version('cupti-python') or 'of unknown version'}",
            tuple(self._launches.values()),
            tuple(self._activities),
            tuple(self._clock),
            dropped,
        )
        self._clear()
        return recording

    def _end(self) -> None:
        """Record no longer; a kind that was never begun, or that CUPTI will not end, does not keep the rest going."""
        for kind in self._kinds.values():
            with contextlib.suppress(self._cupti.cuptiError):
                self._cupti.activity_disable(kind)

    def _dropped(self) -> int:
        """Records lost since this was last asked."""
        count = np.zeros(1, np.uintp)  # a size_t for CUPTI to write to
        self._ask("say how many records it lost", self._cupti.activity_get_num_dropped_records, 0, 0, count.ctypes.data)
        return int(count[0])

    def _take_in(self, flag: int) -> None:
        """Have the records handed over, and keep of the calls those that launched something.

        Most calls launch nothing. One that work was not handed over for yet is kept until the next time.
        """
        self._ask("hand over its records", self._cupti.activity_flush_all, flag)
        if self._failure is not None:
            raise RunError(f"a record of CUPTI cannot be read ({one_line(self._failure)})", EXTRA) from self._failure
        # CUPTI may hand over more at any time: only what is looked at here counts as looked at
        new = self._activities[self._linked :]
        self._linked += len(new)
        self._unlinked |= {activity.correlation for activity in new}
        for correlation in self._unlinked & self._calls.keys():
            domain, number, launch = self._calls.pop(correlation)
            self._launches[correlation] = launch._replace(call=self._call_name(domain, number))
        self._unlinked -= self._launches.keys()
        for correlation in self._older:
            self._calls.pop(correlation, None)
        self._older = set(self._calls)

    def _call_name(self, domain: str, number: int) -> str:
        key = domain, number
        if key not in self._call_names:
            c = self._cupti
            self._call_names[key] = str(
                self._ask("name a call", c.get_callback_name, getattr(c.CallbackDomain, domain), number)
            )
        return self._call_names[key]

    def _requested(self) -> tuple[int, int]:
        """Size of a new buffer, and the most records in it; 0: as many as fit."""
        return BUFFER_BYTES, 0

    def _completed(self, records: Sequence[Any]) -> None:
        """Called by CUPTI, on a thread of its own, with records that are not valid after."""
        try:
            for record in records:
                self._keep(record)
        except Exception as error:  # it would be lost in CUPTI; the next call of ours raises it
            self._failure = error

    def _keep(self, record: Any) -> None:
        kind = int(record.kind)
        if kind in self._domains:
            launch = Launch(record.correlation_id, record.thread_id, record.start, record.end)
            known = self._calls.get(launch.correlation)
            # a call of the runtime holds the driver's that it makes: the outer one says where it was made
            if known is None or launch.start_ns < known[2].start_ns:
                self._calls[launch.correlation] = self._domains[kind], int(record.cbid), launch
            return
        when = (record.correlation_id, record.start, record.end, record.device_id, record.stream_id)
        if kind == self._kinds["CONCURRENT_KERNEL"]:
            self._activities.append(
                DeviceActivity(
                    "kernel",
                    record.name,
                    *when,
                    grid=(record.grid_x, record.grid_y, record.grid_z),
                    block=(record.block_x, record.block_y, record.block_z),
                    registers=record.registers_per_thread,
                    shared_bytes=record.static_shared_memory + record.dynamic_shared_memory,
                )
            )
        elif kind == self._kinds["MEMCPY"]:
            name = self._copies.get(int(record.copy_kind), "UNKNOWN")
            self._activities.append(DeviceActivity("copy", name, *when, size_bytes=record.bytes))
        elif kind == self._kinds["MEMSET"]:
            self._activities.append(DeviceActivity("set", "memset", *when, size_bytes=record.bytes))
