"""The contestants: who runs a step. A case is a workload, a mode, a preset and a number of threads."""

from __future__ import annotations

from dataclasses import dataclass

from fathom_onnx.workloads.contract import Mode

__all__ = ["CONTESTANTS", "Case", "Contestant", "contestants_of"]


@dataclass(frozen=True)
class Case:
    """What is run: a workload in a mode, its preset, and the threads that each contestant may use."""

    workload: str
    mode: Mode
    preset: str
    threads: int

    @property
    def name(self) -> str:
        """The case in words."""
        return f"{self.workload} {self.mode}, {self.preset}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True)
class Contestant:
    """Who runs a step.

    Attributes:
        name: Its name in rows and on the command line.
        framework: The framework that runs the step or, for one of ours, that the graph came from.
        title: Its heading in tables.
        ours: Whether onnxruntime runs a graph of ours.
        modes: The modes in which it is another one than those before it.
    """

    name: str
    framework: str
    title: str
    ours: bool = False
    modes: tuple[Mode, ...] = ("training", "inference")


CONTESTANTS: tuple[Contestant, ...] = (
    Contestant("torch-eager", "torch", "eager"),
    Contestant("torch-foreach", "torch", "eager, all parameters at once", modes=("training",)),
    Contestant("torch-fused", "torch", "eager, fused optimizer", modes=("training",)),
    Contestant("torch-compile", "torch", "`torch.compile`"),
    Contestant("tensorflow-function", "tensorflow", "`tf.function`"),
    Contestant("tensorflow-kernels", "tensorflow", "`tf.function`, update kernels", modes=("training",)),
    Contestant("tensorflow-xla", "tensorflow", "XLA"),
    Contestant("onnxruntime-torch", "torch", "onnxruntime", ours=True),
    Contestant("onnxruntime-tensorflow", "tensorflow", "onnxruntime", ours=True),
)
"""All contestants. ``torch.optim`` updates one parameter after the other by default on the CPU; it can also update all
at once (``foreach``, its default on a GPU) or, but for RMSProp, by a kernel for each update rule (``fused``), which is
what ``torch-compile`` uses too. Keras writes its updates in TensorFlow's elementwise operations; ``tensorflow-kernels``
uses the kernels for a whole update."""


def contestants_of(mode: Mode, names: tuple[str, ...] = ()) -> list[Contestant]:
    """The contestants in a mode, or those of them that are named."""
    return [c for c in CONTESTANTS if mode in c.modes and (not names or c.name in names)]
