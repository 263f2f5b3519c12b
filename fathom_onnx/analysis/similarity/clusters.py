"""The paper's Figure 4: hierarchical clustering of workloads by the distance of centroids.

The procedure: every op mix is a cluster; the two clusters whose centroids are nearest by cosine distance become one,
whose centroid is the mean of its members' op mixes; repeat. ``scipy.cluster.hierarchy.linkage(method="centroid")`` is
not that: it updates distances by a formula that holds for squared Euclidean distances, and given cosine distances it
returns heights that are the distance of no two centroids. Here the centroids themselves are kept, and their distance is
measured. The means of all members, not of the two clusters merged, are what "centroid" says; on the paper's own
Figure 3 both give the same tree, and the distance that its text states.

Heights may fall from one merge to the next, as is usual with centroids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fathom_onnx.errors import RunError

__all__ = ["Merge", "centroid_distance", "centroid_linkage", "linkage_matrix"]


@dataclass(frozen=True)
class Merge:
    """One merge: the members of the two clusters, in the order of the table, and the distance of their centroids."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    distance: float


def _cosine(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    # rounding makes equal rows differ by a few 1e-17, to either side of zero
    return np.asarray(np.clip(cdist(rows, others, "cosine"), 0.0, 1.0))


def _centroid(table: pd.DataFrame, members: Sequence[str]) -> np.ndarray:
    return np.asarray(table.loc[list(members)].to_numpy(float).mean(axis=0, keepdims=True))


def centroid_distance(table: pd.DataFrame, left: Sequence[str], right: Sequence[str]) -> float:
    """Cosine distance of the means of two groups of rows.

    Args:
        table: One row a workload (index: its name), one column an op; no value below 0.
        left: Names of some rows.
        right: Names of others.
    """
    return float(_cosine(_centroid(table, left), _centroid(table, right))[0, 0])


def centroid_linkage(table: pd.DataFrame) -> tuple[Merge, ...]:
    """The merges, first to last: one fewer than there are rows. Of equal distances the first pair in order is taken.

    Args:
        table: One row a workload (index: its name, each once), one column an op; no value below 0.

    Raises:
        RunError: A row without any time, which has no direction, or two rows of one name.
    """
    if table.index.has_duplicates:
        raise RunError("two profiles have one name", "cluster one run a workload")
    empty = [str(name) for name, total in table.sum(axis=1).items() if not total > 0]
    if empty:
        raise RunError(f"profile {empty[0]} has no time at all", "profile it again with more steps")
    clusters: list[tuple[str, ...]] = [(str(name),) for name in table.index]
    merges = []
    while len(clusters) > 1:
        centroids = np.concatenate([_centroid(table, members) for members in clusters])
        square = _cosine(centroids, centroids)
        upper = np.triu_indices(len(clusters), k=1)
        nearest = int(square[upper].argmin())
        i, j = int(upper[0][nearest]), int(upper[1][nearest])
        merges.append(Merge(clusters[i], clusters[j], float(square[i, j])))
        joined = clusters[i] + clusters[j]
        clusters = [c for k, c in enumerate(clusters) if k not in (i, j)] + [joined]
    return tuple(merges)


def linkage_matrix(names: Sequence[str], merges: Sequence[Merge]) -> np.ndarray:
    """The merges in the form that ``scipy.cluster.hierarchy.dendrogram`` takes: float64 [merges, 4].

    Columns: the two clusters (rows first, then merges, in order), their distance, how many members both have.
    """
    number: dict[tuple[str, ...], int] = {(name,): i for i, name in enumerate(names)}
    rows = []
    for merge in merges:
        joined = merge.left + merge.right
        rows.append((number[merge.left], number[merge.right], merge.distance, len(joined)))
        number[joined] = len(number)
    return np.array(rows, float).reshape(-1, 4)
