"""The kind of node times by provider and settings, and the recorder that it needs."""

from __future__ import annotations

from typing import Literal

from fathom_onnx.runtime.devices.cupti import CuptiRecorder
from fathom_onnx.runtime.devices.launch_blocking import launches_blocked, refuse_blocking
from fathom_onnx.runtime.devices.records import DeviceRecorder
from fathom_onnx.runtime.providers.names import check_provider

from .settings import SessionSettings

__all__ = ["NodeTimes", "device_recorder", "host_node_times"]

NodeTimes = Literal["kernel", "device", "serialized"]
"""``kernel``: the node's work itself, on the CPU. ``device``: the kernels, copies and sets that it launched, as the
device timed them. ``serialized``: the host's time of the node while each launch waited for its kernel."""


def host_node_times(settings: SessionSettings) -> NodeTimes:
    """What the times of nodes in a trace are, where nothing else recorded the device."""
    return "serialized" if settings.serialize else "kernel"


def device_recorder(settings: SessionSettings) -> DeviceRecorder | None:
    """What records the device's times; None where the host's times of nodes are those of their work.

    The CUDA provider's nodes are timed on the host when their kernels are launched and not when they have run. So they
    take a recorder or, serialized, launches that wait; this sees to the second.

    Raises:
        MissingDependencyError: The provider, CUPTI or the driver is absent.
        RunError: CUPTI cannot be used here.
        UsageError: Launches wait although that was not asked for, or can no longer be made to.
    """
    if settings.ep == "cpu":
        return None
    if settings.serialize:
        # before anything starts CUDA, as asking for the provider may
        with launches_blocked():
            check_provider(settings.ep)
        return None
    check_provider(settings.ep)
    refuse_blocking()
    return CuptiRecorder()
