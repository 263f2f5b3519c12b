"""What the recorder uses of the package ``cupti``, without a device: its names, and records that a test gives."""

from __future__ import annotations

import ctypes
import enum
import sys
import time
import types
from types import SimpleNamespace
from typing import Any

import pytest


class ActivityKind(enum.IntEnum):
    MEMCPY = 1
    MEMSET = 2
    DRIVER = 4
    RUNTIME = 5
    CONCURRENT_KERNEL = 10


class ActivityMemcpyKind(enum.IntEnum):
    UNKNOWN = 0
    HTOD = 1
    DTOH = 2
    DTOD = 8


class ActivityThreadIdType(enum.IntEnum):
    DEFAULT = 0
    SYSTEM = 1


class ActivityFlag(enum.IntEnum):
    FLUSH_FORCED = 1


class CallbackDomain(enum.IntEnum):
    DRIVER_API = 1
    RUNTIME_API = 2


class Result(enum.IntEnum):
    ERROR_NOT_INITIALIZED = 15
    ERROR_INVALID_KIND = 21
    ERROR_INSUFFICIENT_PRIVILEGES = 35
    ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED = 39
    ERROR_UNKNOWN = 999


class cuptiError(Exception):  # noqa: N801 - the package's own name
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"{Result(status).name if status in set(Result) else 'UNKNOWN'} ({status})")


ENUMS = (ActivityKind, ActivityMemcpyKind, ActivityThreadIdType, ActivityFlag, CallbackDomain, Result)
FUNCTIONS = (
    "get_timestamp",
    "set_thread_id_type",
    "activity_register_callbacks",
    "activity_enable",
    "activity_disable",
    "activity_flush_all",
    "activity_get_num_dropped_records",
    "get_callback_name",
)


class FakeCupti(types.ModuleType):
    """Hands over what ``queue`` holds at each flush; ``failing`` maps a function's name to what it raises."""

    def __init__(self) -> None:
        super().__init__("cupti.cupti")
        for kind in ENUMS:
            setattr(self, kind.__name__, kind)
        self.cuptiError = cuptiError
        self.queue: list[list[Any]] = []
        self.failing: dict[str, Exception] = {}
        self.asked: list[tuple[str, int]] = []
        self.enabled: set[int] = set()
        self.dropped = 0
        self.thread_ids: int = ActivityThreadIdType.DEFAULT
        self._completed: Any = None

    def _told(self, name: str, value: int = 0) -> None:
        self.asked.append((name, int(value)))
        if name in self.failing:
            raise self.failing[name]

    def get_timestamp(self) -> int:
        self._told("get_timestamp")
        return time.time_ns()

    def set_thread_id_type(self, kind: int) -> None:
        self._told("set_thread_id_type", kind)
        self.thread_ids = kind

    def activity_register_callbacks(self, requested: Any, completed: Any) -> None:
        self._told("activity_register_callbacks")
        size, most = requested()
        assert size > 1 << 20
        assert most == 0
        self._completed = completed

    def activity_enable(self, kind: int) -> None:
        self._told("activity_enable", kind)
        if f"activity_enable {int(kind)}" in self.failing:
            raise self.failing[f"activity_enable {int(kind)}"]
        self.enabled.add(int(kind))

    def activity_disable(self, kind: int) -> None:
        self._told("activity_disable", kind)
        self.enabled.discard(int(kind))

    def activity_flush_all(self, flag: int) -> None:
        self._told("activity_flush_all", flag)
        if self.queue:
            self._completed(self.queue.pop(0))

    def activity_get_num_dropped_records(self, context: int, stream: int, dropped: int) -> None:
        self._told("activity_get_num_dropped_records")
        ctypes.c_size_t.from_address(dropped).value = self.dropped
        self.dropped = 0

    def get_callback_name(self, domain: int, cbid: int) -> str:
        self._told("get_callback_name", cbid)
        return f"{CallbackDomain(domain).name}_{cbid}"


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCupti:
    """Put the fake in the place of the package."""
    made = FakeCupti()
    package = types.ModuleType("cupti")
    package.cupti = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupti", package)
    monkeypatch.setitem(sys.modules, "cupti.cupti", made)
    return made


def call(correlation: int, start: int, end: int, cbid: int = 211, kind: ActivityKind = ActivityKind.RUNTIME) -> Any:
    return SimpleNamespace(
        kind=int(kind), correlation_id=correlation, start=start, end=end, thread_id=41, cbid=cbid, process_id=1
    )


def kernel(correlation: int, start: int, end: int, name: str = "gemm") -> Any:
    return SimpleNamespace(
        kind=int(ActivityKind.CONCURRENT_KERNEL),
        correlation_id=correlation,
        start=start,
        end=end,
        name=name,
        device_id=0,
        stream_id=7,
        grid_x=8,
        grid_y=2,
        grid_z=1,
        block_x=256,
        block_y=1,
        block_z=1,
        registers_per_thread=64,
        static_shared_memory=1024,
        dynamic_shared_memory=512,
    )


def copy(correlation: int, start: int, end: int, kind: int = 1) -> Any:
    return SimpleNamespace(
        kind=int(ActivityKind.MEMCPY),
        correlation_id=correlation,
        start=start,
        end=end,
        device_id=0,
        stream_id=7,
        copy_kind=kind,
        bytes=4096,
    )


def memset(correlation: int, start: int, end: int) -> Any:
    return SimpleNamespace(
        kind=int(ActivityKind.MEMSET),
        correlation_id=correlation,
        start=start,
        end=end,
        device_id=0,
        stream_id=7,
        bytes=64,
        value=0,
    )
