"""Runs of steps that a framework's own compiler made.

In come the times of a :class:`fathom_onnx.native.CompiledMeasurement`; out goes a :class:`CompiledRun`, in memory and
as a file.
"""

from .compiled_run import SCHEMA, CompiledRun

__all__ = ["SCHEMA", "CompiledRun"]
