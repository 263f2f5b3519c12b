"""CUDA's requirements on a machine: driver, device, libraries. Each missing one is one clear error.

The stock wheel lists its CUDA provider wherever it is installed. Where a library or the driver is missing it prints
that to the console, and the session is quietly built on the CPU. So the libraries are loaded one by one beforehand, and
what is said of a session that failed all the same is looked up by its text.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any

from fathom_onnx.errors import FathomError, MissingDependencyError, RunError

__all__ = ["CUDA_MAJOR", "DRIVER", "LIBRARIES", "Loader", "check_cuda", "preload", "session_fault", "wheels"]

Loader = Callable[[str], Any]
"""Loads a shared library by its name, or raises ``OSError``."""

CUDA_MAJOR = 13
"""CUDA's version for a wheel that does not tell its own."""

DRIVER = "libcuda.so.1"
"""The driver's library."""

LIBRARIES: tuple[str, ...] = (
    "libcudart.so.{major}",
    "libcublasLt.so.{major}",
    "libcublas.so.{major}",
    "libcurand.so.10",
    "libcudnn.so.9",
)
"""What the provider links to, and cuDNN, which it loads when it is first needed."""

_EXTRA = "pip install 'fathom-onnx[cuda]'"
_DRIVER_FIX = "install NVIDIA's driver for CUDA {major} (580 or newer), or run on a machine that has it"

_START_FAULTS: dict[int, str] = {
    2: "the device has no memory left",
    34: "the driver's library is a stub",
    100: "no CUDA device is visible (CUDA_VISIBLE_DEVICES hides one as well)",
    101: "the device number is not valid",
    802: "the system is not initialised yet (a fabric manager may be missing)",
    803: "the driver's library and its kernel module are of different versions",
    804: "the device does not take this driver's forward compatibility",
    999: "the driver gives an unknown error",
}
"""Result of the driver's ``cuInit`` to what it means (CUDA driver API, ``CUresult``)."""

_SESSION_FAULTS: tuple[tuple[str, type[FathomError], str, str], ...] = (
    (
        r"libcuda\.so\.1(?=: cannot open)",
        MissingDependencyError,
        "needs NVIDIA's driver: there is no {0}",
        _DRIVER_FIX,
    ),
    (r"lib\w+\.so[.\d]*(?=: cannot open shared object file)", MissingDependencyError, "lacks {0}", _EXTRA),
    (
        r"CUDA failure 35\b",
        MissingDependencyError,
        "needs NVIDIA's driver, which is missing or too old for this onnxruntime",
        _DRIVER_FIX,
    ),
    (r"CUDA failure 100\b", MissingDependencyError, "sees no device", "check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    (
        r"CUDA failure 2\b|Failed to allocate memory for requested buffer",
        RunError,
        "has too little memory on the device",
        "choose a smaller --batch",
    ),
    (
        r"CUDA failure 209\b|no kernel image is available",
        RunError,
        "has no kernels for this device in this onnxruntime",
        "use a device that the wheel was built for",
    ),
    (
        r"(?:Failed to initialize|OP not supported by) CUDNN Frontend: .*?(?= with the cudnn|$)",
        RunError,
        "cannot run an operator with cuDNN ({0})",
        "try a graph that is exported with another --for, or another version of cuDNN",
    ),
    (r"(?:CUDA|CUDNN|CUBLAS) failure \d+: [^;]*[^; ]", RunError, "failed ({0})", "check nvidia-smi and the driver"),
)
"""Text in an error of onnxruntime's, the error that it means, what is the matter with the provider, the fix."""


def wheels() -> tuple[str, ...]:
    """The onnxruntime wheels that are installed; two of them overwrite each other's files."""
    loadable = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            distribution(name)
            loadable.append(name)
    return tuple(loadable)


def preload(module: ModuleType) -> None:
    """Load the CUDA and cuDNN libraries of the pip packages, which are not on the loader's path.

    What onnxruntime prints about those that are not there is not data and is left out: :func:`check_cuda` says it.
    """
    if hasattr(module, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            module.preload_dlls()


def check_cuda(module: ModuleType, load: Loader = ctypes.CDLL) -> None:
    """Check that the driver, a device and every library are there.

    Args:
        module: onnxruntime, which knows the CUDA version that it was built with.
        load: How a library is loaded.

    Raises:
        MissingDependencyError: One is not; the message names it and what brings it.
    """
    if not sys.platform.startswith("linux"):
        return  # the libraries have other names: the session says what is missing
    version = str(getattr(module, "cuda_version", None) or CUDA_MAJOR)
    major = int(version.split(".")[0])
    _check_driver(major, load)
    missing = [name for name in (text.format(major=major) for text in LIBRARIES) if not _loads(name, load)]
    if missing:
        raise MissingDependencyError(f"provider 'cuda' lacks {', '.join(missing)}", _EXTRA)


def _loads(name: str, load: Loader) -> bool:
    try:
        load(name)
    except OSError:
        return False
    return True


def _check_driver(major: int, load: Loader) -> None:
    """Check the driver, its version and that it sees a device.

    Raises:
        MissingDependencyError: There is none, it is too old, or it sees nothing.
    """
    fix = _DRIVER_FIX.format(major=major)
    try:
        driver = load(DRIVER)
    except OSError as error:
        raise MissingDependencyError(f"provider 'cuda' needs NVIDIA's driver: there is no {DRIVER}", fix) from error
    version = ctypes.c_int(0)
    if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value // 1000 < major:
        has = f"{version.value // 1000}.{version.value % 1000 // 10}"
        raise MissingDependencyError(f"the driver is for CUDA {has} and this onnxruntime for CUDA {major}", fix)
    result = int(driver.cuInit(0))
    if result:
        what = _START_FAULTS.get(result, "see CUresult in the CUDA driver API")
        raise MissingDependencyError(f"the CUDA driver cannot start: error {result}, {what}", "check nvidia-smi")
    devices = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(devices)) or not devices.value:
        raise MissingDependencyError("the CUDA driver sees no device", "check nvidia-smi and CUDA_VISIBLE_DEVICES")


def session_fault(text: str, major: int = CUDA_MAJOR) -> FathomError | None:
    """What an error of onnxruntime's on CUDA means, or None where its text is not known.

    Args:
        text: The text of the error.
        major: The CUDA version that onnxruntime was built with.
    """
    for pattern, kind, what, fix in _SESSION_FAULTS:
        match = re.search(pattern, text)
        if match:
            return kind(f"provider 'cuda' {what.format(match[0])}", fix.format(major=major))
    return None
