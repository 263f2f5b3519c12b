"""A framework with the workloads' models in it: the built-in ones and those that other packages add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from fathom_onnx.errors import UnknownNameError

__all__ = ["Framework", "FrameworkPart"]

ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class Framework(Generic[ModelT]):
    """A framework and its models. Another package adds a model by an entry point of the framework's group.

    Attributes:
        name: As the command line takes it, ``torch``.
        title: As its makers write it, ``PyTorch``.
        version: Its version.
        built_in: Workload name to the model in this package.
    """

    name: str
    title: str
    version: str
    built_in: Mapping[str, ModelT]

    @property
    def entry_point_group(self) -> str:
        """The group of entry points that add models: each has the workload's name and names the model."""
        return f"fathom_onnx.models.{self.name}"

    def _added(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.entry_point_group)}

    def workloads(self) -> tuple[str, ...]:
        """The workloads that have a model in this framework."""
        return tuple(dict.fromkeys([*self.built_in, *sorted(self._added())]))

    def model(self, workload: str) -> ModelT:
        """The model of a workload.

        Raises:
            UnknownNameError: There is none in this framework.
        """
        if workload in self.built_in:
            return self.built_in[workload]
        added = self._added()
        if workload not in added:
            raise UnknownNameError(f"{self.title} model", workload, self.workloads())
        loaded: ModelT = added[workload].load()
        return loaded


class FrameworkPart:
    """Base of a framework's exporter and native profiler: what both say about the framework.

    Attributes:
        framework: The framework's name.
    """

    def __init__(self, framework: Framework[Any]) -> None:
        self._framework = framework
        self.framework = framework.name

    def version(self) -> str:
        """The framework's version."""
        return self._framework.version

    def workloads(self) -> tuple[str, ...]:
        """The workloads that have a model in the framework."""
        return self._framework.workloads()
