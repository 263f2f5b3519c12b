"""Einsum: contractions of any number of operands, counted two by two; what is no contraction has no MACs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.graphs.cost_calls import cost


def counted(equation: str, *shapes: tuple[int, ...]) -> tuple[int | None, int | None]:
    found = cost("Einsum", list(shapes), [()], equation=equation)
    return found.macs, found.flops


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ik,kj->ij", [(3, 4), (4, 5)], 60),
        ("ik,kj", [(3, 4), (4, 5)], 60),  # the output has the letters that stand once
        ("bhqd,bhkd->bhqk", [(2, 3, 7, 8), (2, 3, 9, 8)], 3024),
        ("bnchwk,bnchwk->bnchw", [(2, 3, 4, 5, 6, 7)] * 2, 5040),
        ("...ij,jk->...ik", [(2, 3, 7, 8), (8, 5)], 1680),
        ("...ij,...jk", [(2, 3, 7, 8), (3, 8, 5)], 1680),  # the dots are kept where no output is given
        ("b...j,bjk->b...k", [(2, 3, 4, 5), (2, 5, 6)], 720),
        ("i,i->", [(6,), (6,)], 6),
        ("i j, j k -> i k", [(3, 4), (4, 5)], 60),
        ("ij,jk->ik", [(3, 1), (1, 5)], 15),  # a sum of one product, as in MatMul
        ("ij,jk->ik", [(3, 0), (0, 5)], 0),
        ("iij,jk->ik", [(3, 3, 4), (4, 5)], 60),  # of a diagonal
        # a dimension of 1 is broadcast, and is none of the operand's own products
        ("...ij,...jk->...ik", [(1, 3, 4), (7, 4, 5)], 7 * 3 * 4 * 5),
        ("...ij,...jk,...kl->...il", [(1, 3, 4), (1, 4, 5), (7, 5, 6)], 3 * 4 * 5 + 7 * 3 * 5 * 6),
        # the best order: (3 x 4 x 5) + (3 x 5 x 6), not 3 x 4 x 5 x 6
        ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)], 150),
        ("ij,jk,ik->", [(30, 40), (40, 50), (30, 50)], 30 * 40 * 50 + 30 * 40),
        # a bilinear form: the matrix times the smaller vector first
        ("bi,ij,bj->b", [(2, 8), (8, 4), (2, 4)], 2 * 8 * 4 + 2 * 4),
    ],
)
def test_a_contraction(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    assert counted(equation, *shapes) == (macs, 2 * macs)


@pytest.mark.parametrize(
    ("equation", "shapes", "flops"),
    [
        ("i,j->ij", [(6,), (5,)], 30),
        ("i,j,k->ijk", [(4,), (2,), (3,)], 2 * 3 + 2 * 3 * 4),  # the smallest two first
        ("ij,ij->ij", [(3, 4)] * 2, 12),
        ("ij,ij,ij->ij", [(3, 4)] * 3, 24),
        (",ij->ij", [(), (3, 4)], 12),
        ("ii->", [(4, 4)], 4),
        ("ii->i", [(4, 4)], 0),
        ("ij->j", [(3, 4)], 12),
        ("...i->...", [(3, 4)], 12),
        ("ij->ji", [(3, 4)], 0),
        ("ij,k->ik", [(3, 4), (5,)], 12 + 15),  # the sum stands in one operand: it comes first
    ],
)
def test_what_is_no_contraction_has_no_macs(equation: str, shapes: list[tuple[int, ...]], flops: int) -> None:
    assert counted(equation, *shapes) == (0, flops)


def test_sums_within_one_operand_come_before_the_product() -> None:
    assert counted("ij,jk->", (3, 4), (4, 5)) == (4, 3 * 4 + 4 * 5 + 2 * 4)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [("ij,jk->ik", [(3, 4)]), ("ij->i", [(3,)]), ("", [(3,)]), ("i,i->i", [(3,), None])],
)
def test_what_does_not_fit_is_unknown(equation: str, shapes: list[tuple[int, ...] | None]) -> None:
    found = cost("Einsum", list(shapes), [()], equation=equation)
    assert (found.macs, found.flops) == (None, None)


@settings(max_examples=30)
@given(st.lists(st.integers(2, 9), min_size=4, max_size=7))
def test_a_chain_of_matrices_costs_what_numpy_finds_best(sizes: list[int]) -> None:
    letters = "abcdefg"
    terms = [f"{letters[n]}{letters[n + 1]}" for n in range(len(sizes) - 1)]
    equation = f"{','.join(terms)}->{letters[0]}{letters[len(sizes) - 1]}"
    shapes = list(itertools.pairwise(sizes))
    arrays = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    steps, _ = np.einsum_path(equation, *arrays, optimize=("optimal", 2**62))
    spans = [(n, n + 1) for n in range(len(shapes))]
    macs = 0
    for step in steps[1:]:
        first, second = (spans.pop(place) for place in sorted(step, reverse=True))
        ends = {*first, *second}
        macs += math.prod(sizes[n] for n in ends)
        spans.append((min(ends), max(ends)))
    assert counted(equation, *shapes) == (macs, 2 * macs)


def test_many_operands_are_told() -> None:
    names = "abcdefghijklmn"
    equation = ",".join(names) + "->" + names
    found = cost("Einsum", [(2,)] * len(names), [()], equation=equation)
    assert found.reason == "the best order of more than 12 operands is not looked for"
