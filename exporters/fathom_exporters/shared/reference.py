"""A step that is run whole or up to its optimizer, as the references of all frameworks run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array

__all__ = ["StepInParts"]


class StepInParts(ABC):
    """The two steps of a :class:`fathom_onnx.exporting.ReferenceInParts` by one method."""

    def step(self, values: Mapping[str, Array]) -> StepResult:
        """Run one step; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: An input of the interface has no value.
        """
        return self._run(values, update=True)

    def before_update(self, values: Mapping[str, Array]) -> StepResult:
        """Run one step up to its optimizer; see :class:`fathom_onnx.exporting.ReferenceInParts`.

        Raises:
            UnknownNameError: An input of the interface has no value.
        """
        return self._run(values, update=False)

    @abstractmethod
    def _run(self, values: Mapping[str, Array], update: bool) -> StepResult:
        """Run one step, with what its optimizer makes or without."""
