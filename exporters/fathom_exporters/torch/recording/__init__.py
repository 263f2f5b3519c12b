"""The recording of a step: from a subject to a graph of aten operations, each with its phase, layer and canonical op.

In comes a :class:`~fathom_exporters.torch.stepping.subject.Subject`; out goes a
:class:`~fathom_exporters.torch.recorded.Capture`.
"""

from .record import record

__all__ = ["record"]
