"""A step as it passes: a track a layer, each node as long as its time, in the colour of its phase or class."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fathom_onnx.analysis.runs.run import Run

from .bars import CLASS_KEY, PHASE_KEY
from .drawing import OTHER, drawing, plain, short

__all__ = ["step_timeline"]

_TRACKS = 14
"""Layers with a track of their own, those that take longest; all others share one."""

_SLICES = 900
"""Parts that the step is cut into; each shows the node that takes most of it, so that the drawing stays small."""


def step_timeline(name: str, run: Run) -> str:
    """The nodes of a step one after the other, in the order of the model that ran, each with its median time.

    Args:
        name: What the drawing's ids start with.
        run: The run; its nodes take some time.
    """
    tracks, key = _tracks(run.nodes), _key(run.nodes)
    pieces = _pieces(run.nodes, tracks, key)
    used = [entry for entry in (PHASE_KEY if key == "phase" else CLASS_KEY) if any(p[3] == entry for p in pieces)]
    entries = PHASE_KEY if key == "phase" else CLASS_KEY
    with drawing(name, "The nodes of a step in their order, a track a layer", 1.3 + 0.26 * len(tracks)) as canvas:
        axes = canvas.figure.subplots()
        for entry in used:
            for y in range(len(tracks)):
                spans = [(start, length) for start, length, track, what in pieces if (track, what) == (y, entry)]
                if spans:
                    axes.broken_barh(spans, (y - 0.42, 0.84), facecolors=entries[entry].colour, linewidth=0)
        axes.set_yticks(range(len(tracks)), [short(track, 40) for track in tracks])
        axes.set(ylim=(len(tracks) - 0.5, -0.5), xlabel="ms")
        axes.set_xlim(0, float(run.nodes["median_us"].sum()) / 1e3)
        plain(axes)
        axes.grid(axis="x", linewidth=0.4, alpha=0.5)
        from matplotlib.patches import Patch

        handles = [Patch(color=entries[entry].colour, label=entries[entry].text) for entry in used]
        canvas.figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return canvas.svg


def _key(nodes: pd.DataFrame) -> str:
    """Colours are of phases where there are several, else of classes."""
    return "phase" if nodes.loc[nodes["phase"] != "", "phase"].nunique() > 1 else "op_class"


def _tracks(nodes: pd.DataFrame) -> list[str]:
    """The layers with a track, in the order in which they first run, and the others' track."""
    layers = nodes["layer"].where(nodes["layer"] != "", OTHER)
    longest = nodes.groupby(layers)["median_us"].sum().drop(OTHER, errors="ignore").nlargest(_TRACKS)
    tracks = [layer for layer in dict.fromkeys(layers) if layer in longest.index]
    return tracks if set(tracks) == set(layers) else [*tracks, OTHER]


def _pieces(nodes: pd.DataFrame, tracks: Sequence[str], key: str) -> list[tuple[float, float, int, str]]:
    """Start and length in milliseconds, track, and phase or class; equal neighbours are one."""
    us = nodes["median_us"].to_numpy(float)
    ends = np.cumsum(us)
    if not len(us) or ends[-1] <= 0:
        return []
    known = PHASE_KEY if key == "phase" else CLASS_KEY
    track_of = {track: y for y, track in enumerate(tracks)}
    places = [track_of.get(layer, len(tracks) - 1) for layer in nodes["layer"]]
    whats = [what if what in known else OTHER for what in nodes[key]]
    edges = np.linspace(0.0, ends[-1], _SLICES + 1)
    pieces: list[tuple[float, float, int, str]] = []
    for begin, end in itertools.pairwise(edges.tolist()):
        first, last = np.searchsorted(ends, begin, "right"), min(np.searchsorted(ends, end, "left"), len(us) - 1)
        inside = range(int(first), int(last) + 1)
        most = max(inside, key=lambda i: min(ends[i], end) - max(ends[i] - us[i], begin))
        place, what = places[most], whats[most]
        if pieces and pieces[-1][2:] == (place, what):
            start = pieces[-1][0]
            pieces[-1] = (start, end / 1e3 - start, place, what)
        else:
            pieces.append((begin / 1e3, (end - begin) / 1e3, place, what))
    return pieces
