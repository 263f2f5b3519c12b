"""Figure 4's procedure on points whose merges are known by hand, and on the paper's own figure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.analysis.paper.reported import FIGURE_3, figure_3
from fathom_onnx.analysis.similarity.clusters import Merge, centroid_distance, centroid_linkage, linkage_matrix
from fathom_onnx.errors import RunError
from fathom_onnx.vocabulary import OPS


def points(**rows: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").astype(float)


def test_the_nearest_two_become_their_mean_and_are_measured_again() -> None:
    # a and b are 36.87 degrees apart, c is at a right angle to a
    table = points(a=(1, 0), b=(0.8, 0.6), c=(0, 1))
    first, second = centroid_linkage(table)
    assert (first.left, first.right) == (("a",), ("b",))
    assert first.distance == pytest.approx(1 - 0.8)
    assert (second.left, second.right) == (("c",), ("a", "b"))
    # the centroid is (0.9, 0.3), and its angle to (0, 1) has cosine 0.3 / |(0.9, 0.3)|
    assert second.distance == pytest.approx(1 - 0.3 / math.hypot(0.9, 0.3))


def test_a_centroid_is_the_mean_of_all_members_not_of_two_clusters() -> None:
    table = points(a=(1, 0, 0), b=(1, 0.1, 0), c=(1, 0.5, 0), d=(0, 0, 1))
    merges = centroid_linkage(table)
    assert [{*m.left, *m.right} for m in merges] == [{"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}]
    # of (1, 0), (1, 0.1), (1, 0.5) the mean is (1, 0.2); of (1, 0.05) and (1, 0.5) it would be (1, 0.275)
    near = points(m=(1, 0.2, 0), d=(0.5, 0.5, 0.1))
    table = points(a=(1, 0, 0), b=(1, 0.1, 0), c=(1, 0.5, 0), d=(0.5, 0.5, 0.1))
    joined = centroid_distance(table, ["a", "b", "c"], ["d"])
    assert joined == pytest.approx(centroid_distance(near, ["m"], ["d"]))


def test_heights_are_not_those_that_scipy_makes_of_cosine_distances() -> None:
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    table = points(a=(1, 0), b=(0.8, 0.6), c=(0, 1))
    theirs = linkage(pdist(table.to_numpy(), "cosine"), "centroid")
    ours = linkage_matrix(list(table.index), centroid_linkage(table))
    assert theirs[0, 2] == pytest.approx(ours[0, 2])
    assert abs(theirs[1, 2] - ours[1, 2]) > 0.01


def test_of_equal_distances_the_first_pair_is_taken() -> None:
    table = points(a=(1, 0, 0), b=(0, 1, 0), c=(0, 0, 1))
    assert centroid_linkage(table)[0] == Merge(("a",), ("b",), 1.0)


def test_the_matrix_is_one_that_scipy_draws() -> None:
    from scipy.cluster.hierarchy import dendrogram, is_valid_linkage

    names = list(FIGURE_3)
    matrix = linkage_matrix(names, centroid_linkage(figure_3()))
    assert is_valid_linkage(matrix)
    assert matrix[:, 3].tolist() == [2, 3, 2, 4, 2, 4, 8]
    drawn = dendrogram(matrix, labels=names, no_plot=True)
    assert sorted(drawn["ivl"]) == sorted(names)


def test_on_the_papers_own_figure_the_tree_is_the_one_its_text_describes() -> None:
    merges = centroid_linkage(figure_3())
    joined = [{*m.left, *m.right} for m in merges]
    assert joined[0] == {"residual", "vgg"}
    assert joined[1] == {"residual", "vgg", "alexnet"}
    assert {"residual", "vgg", "alexnet", "deepq"} in joined
    assert joined.index({"speech", "autoenc"}) < joined.index({"seq2seq", "memnet"})
    (between,) = (m.distance for m in merges if {*m.left, *m.right} == {"speech", "autoenc", "seq2seq", "memnet"})
    assert between == pytest.approx(0.4365, abs=1e-4)  # "about 0.4"


def test_figure_3_is_printed_percent_of_ops_that_the_vocabulary_has() -> None:
    table = figure_3()
    assert table.loc["speech", "MatMul"] == 0.89
    assert {name for row in FIGURE_3.values() for name in row} <= set(table.columns) <= set(OPS)
    assert (100 * table.sum(axis=1)).round().tolist() == [98, 93, 99, 96, 99, 98, 98, 98]


def test_what_has_no_direction_or_no_name_of_its_own_is_refused() -> None:
    with pytest.raises(RunError, match="profile b has no time at all"):
        centroid_linkage(points(a=(1, 0), b=(0, 0)))
    with pytest.raises(RunError, match="two profiles have one name"):
        centroid_linkage(pd.DataFrame([[1.0], [2.0]], index=["a", "a"]))


@given(st.lists(st.lists(st.floats(0.01, 100), min_size=3, max_size=3), min_size=1, max_size=6))
@settings(max_examples=30)
def test_every_row_is_merged_once_and_scale_changes_nothing_at_the_leaves(rows: list[list[float]]) -> None:
    names = [f"w{i}" for i in range(len(rows))]
    table = pd.DataFrame(rows, index=names)
    merges = centroid_linkage(table)
    assert len(merges) == len(rows) - 1
    assert all(0 <= m.distance <= 1 for m in merges)
    if merges:
        assert sorted(merges[-1].left + merges[-1].right) == names
        np.testing.assert_allclose(centroid_linkage(table * 7)[0].distance, merges[0].distance, atol=1e-9)
