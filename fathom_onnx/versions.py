"""Versions of installed packages."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_version"]


@cache
def package_version(package: str) -> str:
    """The version of an installed package, or an empty string where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
