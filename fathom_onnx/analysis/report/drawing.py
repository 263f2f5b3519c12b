"""Style, colours and the SVG form that all figures share.

Lines and letters take the colour of the text around them (``currentColor``) and the background is transparent, so one
drawing serves light and dark pages. Colours are those of Okabe and Ito (Color Universal Design, 2008), which people
with any colour vision tell apart. The same content gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from html import escape
from typing import Any

from fathom_onnx.vocabulary import OPS, OpClass

__all__ = [
    "CLASS_COLOURS",
    "DARK_INK",
    "FIGURE_KINDS",
    "INK",
    "LINE_COLOURS",
    "OTHER",
    "PHASE_COLOURS",
    "Paper",
    "class_legend",
    "drawing",
    "for_paper",
    "heat_cell",
    "op_colour",
    "plain",
    "short",
]

OTHER = "other"
"""Where a figure puts time whose class or phase the vocabulary does not have."""

CLASS_COLOURS: dict[str, str] = {
    "A": "#e69f00",
    "B": "#0072b2",
    "C": "#009e73",
    "D": "#d55e00",
    "E": "#f0e442",
    "F": "#cc79a7",
    "G": "#56b4e9",
    OTHER: "#8a8f98",
}
"""Op class to its colour in every figure."""

PHASE_COLOURS: dict[str, str] = {
    "forward": "#56b4e9",
    "loss": "#f0e442",
    "backward": "#e69f00",
    "optimizer": "#cc79a7",
    OTHER: "#8a8f98",
}
"""Phase to its colour in every figure."""

LINE_COLOURS: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98", "#a6761d")
"""Colours of lines that do not represent an op class, in turn."""

INK = "#010203"
"""Stands for the page's own text colour until the drawing is done."""

DARK_INK = "#111111"
"""Colour of text on a coloured area: the areas are light on every page, so that their text is always dark."""

_HEAT = "#3b86c8"
_WIDTH = 10.0  # inches
_NUMBERS = re.compile(r"(\d\.\d{2})\d+(?=[^<>]*>)")  # in a tag: a hundredth of a point is enough
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9.5,
    "font.sans-serif": ["DejaVu Sans"],  # the page substitutes its own; a list would be repeated at every text
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
}


FIGURE_KINDS = ("pdf", "svg", "png")
"""Forms of a figure for a paper."""

_PAPER_WIDTH = 7.16
"""Inches of both columns of a two-column paper with the space between them (IEEE, ACM)."""

_PAPER_HEIGHT = 8.6
"""Inches that leave room for a caption on a page."""

_PAPER_STYLE: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "pdf.fonttype": 42,  # letters as TrueType: publishers refuse type 3
    "savefig.dpi": 300,
}


@dataclass
class Paper:
    """Drawings for a paper: the form (of :data:`FIGURE_KINDS`), and the bytes of what was drawn last."""

    kind: str
    last: bytes = b""


_PAPER: ContextVar[Paper | None] = ContextVar("_PAPER", default=None)


@contextmanager
def for_paper(kind: str) -> Iterator[Paper]:
    """Within the block drawings are made for a paper too: in a form, as wide as its two columns, on white."""
    paper = Paper(kind)
    token = _PAPER.set(paper)
    try:
        yield paper
    finally:
        _PAPER.reset(token)


class Canvas:
    """A figure being drawn, and its text once it is."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self.svg = ""


@contextmanager
def drawing(
    name: str, description: str, height: float, width: float = _WIDTH, font: float | None = None
) -> Iterator[Canvas]:
    """A figure of ``height`` and ``width`` inches; its SVG is complete when the block ends.

    Args:
        name: What its ids start with.
        description: What it shows, for those who do not see it.
        height: Inches.
        width: Inches.
        font: Size of its letters in points; the usual one for None.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # ids are hashed with the name, so that figures in one page do not share any
    paper = _PAPER.get()
    style = {**_STYLE, "svg.hashsalt": name, **({} if font is None else {"font.size": font})}
    size = (width, height)
    if paper is not None:
        style |= _PAPER_STYLE
        size = (_PAPER_WIDTH, min(_PAPER_HEIGHT, max(1.2, height * _PAPER_WIDTH / width)))
    with matplotlib.rc_context(style):
        canvas = Canvas(Figure(figsize=size, layout="constrained"))
        yield canvas
        if paper is not None:
            paper.last = _saved(canvas.figure, paper.kind)
        buffer = io.StringIO()
        canvas.figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    canvas.svg = _inline(buffer.getvalue(), name, description)


def _saved(figure: Any, kind: str) -> bytes:
    """A figure in a form, on white; the same content gives the same bytes."""
    dates = {
        "pdf": ("CreationDate", "Creator", "Producer"),
        "svg": ("Date", "Creator", "Format", "Type"),
        "png": ("Software",),
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, facecolor="white", metadata=dict.fromkeys(dates[kind]))
    return buffer.getvalue()


def _inline(document: str, name: str, description: str) -> str:
    """An SVG document as one element: no prolog, ids of its own, the page's text colour, a description."""
    body = document[document.index("<svg") :]
    head_end = body.index(">")
    box = re.search(r'viewBox="([^"]+)"', body[:head_end])
    rest = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", body[head_end + 1 :], flags=re.DOTALL)
    rest = _NUMBERS.sub(r"\1", rest)
    rest = re.sub(r'<g id="[^"]*"', "<g", rest)  # only shapes and clips are referred to
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'href="#', f'href="#{name}-', rest)
    rest = rest.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box.group(1) if box else ""}" role="img" aria-label="{escape(description)}">'
    )
    return f"{opening}{rest.strip()}\n"


def short(name: str, longest: int = 48) -> str:
    """A name that fits in a drawing: of a longer one the two ends, where names differ."""
    half = (longest - 3) // 2
    return name if len(name) <= longest else f"{name[:half]}...{name[-half:]}"


def plain(axes: Any) -> None:
    """No frame, no tick marks."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def heat_cell(x: float, y: float, share: float) -> Any:
    """A square whose strength is a share; never so strong that text on it cannot be read."""
    from matplotlib.patches import Rectangle

    return Rectangle(
        (x + 0.02, y + 0.03), 0.96, 0.94, facecolor=_HEAT, alpha=0.06 + 0.79 * min(1.0, share), linewidth=0
    )


def op_colour(op: str) -> str:
    """The colour of an op's class."""
    return CLASS_COLOURS[str(OPS[op].op_class) if op in OPS else OTHER]


def class_legend(figure: Any, ops: Any) -> None:
    """Which colour is which class, for the classes of the ops that occur."""
    from matplotlib.patches import Patch

    seen = {str(OPS[name].op_class) if name in OPS else OTHER for name in ops}
    titles = {str(c): f"{c} {c.label}" for c in OpClass} | {OTHER: OTHER}
    handles = [Patch(color=colour, label=titles[name]) for name, colour in CLASS_COLOURS.items() if name in seen]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
