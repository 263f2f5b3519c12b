"""The recording of the step of a request."""

from __future__ import annotations

from collections.abc import Mapping

from fathom_exporters.lowering import Tag
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import ExportRequest

from .built import built_subject
from .recorded import Capture
from .recording import record

__all__ = ["capture"]


def _refuse_draws(tags: Mapping[str, Tag]) -> None:
    """Refuse a step that draws what should be an input.

    Raises:
        ExportError: It draws.
    """
    for tag in tags.values():
        if tag.op in ("Dropout", "RandomNormal", "RandomUniform"):
            raise ExportError(
                f"the model draws its own random numbers in '{tag.scope}', so that no two steps are comparable",
                "take them from the batch, as noise of the workload",
            )


def capture(request: ExportRequest) -> Capture:
    """Record the step of a request.

    Raises:
        ExportError: The model and the workload do not agree, the model draws noise that should be an input, or an
            operation has no layer or canonical op.
    """
    workload = request.workload
    subject = built_subject(workload, request.mode)
    made = record(subject, request.mode, workload.interface(request.mode, request.noise))
    if request.noise == "input":
        _refuse_draws(made.tags)
    return made
