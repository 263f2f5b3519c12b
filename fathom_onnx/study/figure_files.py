"""The figures of a study as files for a paper, each with its data beside it."""

from __future__ import annotations

from pathlib import Path

from fathom_onnx.analysis.report.drawing import FIGURE_KINDS, for_paper
from fathom_onnx.csv_files import write_csv
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.graph.files import ensure_folder, write_bytes
from fathom_onnx.study.sections.paper_figures import data_figures

from .result import StudyResult

__all__ = ["write_figures"]


def write_figures(result: StudyResult, kind: str, folder: Path | None = None) -> list[Path]:
    """Write the paper's figures of a study, as wide as both columns of a paper (7.16 inches).

    Args:
        result: The study.
        kind: ``pdf``, ``svg`` or ``png`` (300 dots an inch).
        folder: Where to; ``figures`` in the study's folder by default.

    Returns:
        The figures' files; beside each is a CSV file of the same name with what it shows.

    Raises:
        UnknownNameError: No such kind.
        OutputError: A file cannot be written.
    """
    if kind not in FIGURE_KINDS:
        raise UnknownNameError("kind of figure", kind, FIGURE_KINDS)
    if not result.summaries:
        return []
    place = ensure_folder(folder or result.folder / "figures")
    written = []
    with for_paper(kind) as paper:
        for figure in data_figures(result):
            (figure.draw_bare or figure.draw)()
            path = place / f"{figure.name}.{kind}"
            write_bytes(path, paper.last)
            write_csv(path.with_suffix(".csv"), figure.data)
            written.append(path)
    return written
