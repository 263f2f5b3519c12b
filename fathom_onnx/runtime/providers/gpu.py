"""Facts of a GPU that the numbers of a run depend on, from NVIDIA's management library."""

from __future__ import annotations

import ctypes
import importlib
from functools import partial
from typing import Any

from fathom_onnx.errors import one_line

from .cuda_libraries import DRIVER, Loader, wheels
from .names import onnxruntime

__all__ = ["gpu_facts"]

_EXTRA = "pip install 'fathom-onnx[cuda]'"
DEVICE = 0
"""The provider's device number, among the devices that CUDA_VISIBLE_DEVICES leaves visible."""
_BUS_ID_LENGTH = 32


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _cuda_version(number: int) -> str:
    """``13000`` as ``13.0``."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _cudnn_version() -> str | None:
    """The version of the cuDNN that is loaded, or None."""
    try:
        number = int(ctypes.CDLL("libcudnn.so.9").cudnnGetVersion())
    except (OSError, AttributeError):
        return None
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"


def _bus_id(load: Loader) -> str | None:
    """Where the provider's device is on the bus, or None: the management library numbers hidden devices as well."""
    try:
        driver = load(DRIVER)
    except OSError:
        return None
    device, text = ctypes.c_int(0), ctypes.create_string_buffer(_BUS_ID_LENGTH)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), DEVICE):
        return None
    if driver.cuDeviceGetPCIBusId(text, _BUS_ID_LENGTH, device):
        return None
    return text.value.decode()


def gpu_facts(nvml: Any = None, load: Loader = ctypes.CDLL) -> dict[str, Any]:
    """The device, its driver and the libraries of a run on CUDA.

    Args:
        nvml: The module ``pynvml`` of ``nvidia-ml-py``; imported when not given.
        load: How the driver's library is loaded.

    Returns:
        ``name``, ``compute_capability``, ``memory_bytes``, ``driver`` and ``driver_cuda`` (the CUDA version that the
        driver supports), ``clock_mhz`` and ``power_limit_w`` (what the device may draw at most) are None where they
        cannot be had, and ``reason`` then says why. ``cuda`` is what onnxruntime was built with, ``cudnn`` what is
        loaded, ``wheels`` the onnxruntime wheels that are installed.
    """
    ort = onnxruntime("cuda")
    facts: dict[str, Any] = {
        "name": None,
        "compute_capability": None,
        "memory_bytes": None,
        "driver": None,
        "driver_cuda": None,
        "clock_mhz": None,
        "power_limit_w": None,
        "cuda": getattr(ort, "cuda_version", None) or None,
        "cudnn": _cudnn_version(),
        "wheels": list(wheels()),
        "reason": None,
    }
    try:
        library = nvml or importlib.import_module("pynvml")
    except ImportError:
        return {**facts, "reason": f"nvidia-ml-py is not installed; {_EXTRA}"}
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return {**facts, "reason": f"the management library does not start ({one_line(error)})"}
    try:
        bus_id = _bus_id(load)
        if bus_id is None:
            return {**facts, "reason": "the CUDA driver does not tell which device is used"}
        return {**facts, **_device(library, bus_id)}
    except library.NVMLError as error:
        return {**facts, "reason": f"the management library does not tell ({one_line(error)})"}
    finally:
        library.nvmlShutdown()


def _device(nvml: Any, bus_id: str) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByPciBusId(bus_id)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    found = {
        "name": _text(nvml.nvmlDeviceGetName(handle)),
        "compute_capability": f"{major}.{minor}",
        "memory_bytes": int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        "driver": _text(nvml.nvmlSystemGetDriverVersion()),
        "driver_cuda": _cuda_version(int(nvml.nvmlSystemGetCudaDriverVersion())),
    }
    for key, unit, ask in (
        ("clock_mhz", 1, partial(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM)),
        ("power_limit_w", 1000, partial(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
    ):
        try:
            found[key] = ask() / unit
        except nvml.NVMLError:
            found[key] = None  # virtual and partitioned devices do not tell
    return found
