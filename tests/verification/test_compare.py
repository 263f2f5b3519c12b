"""Tensors are compared a block at a time, with what comparing them whole would give."""

from __future__ import annotations

import numpy as np
import pytest

from fathom_onnx.verification import compare
from fathom_onnx.verification.compare import change_error, difference, relative_error

OLD = np.array([[1.0, -2.0, 4.0], [0.5, 8.0, -1.0]])
RIGHT = OLD + np.array([[0.5, -0.25, 0.0], [1.0, 2.0, -0.5]])


@pytest.fixture(params=[1, 2, 4, 6, 7], autouse=True)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_BLOCK", request.param)


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 0), (1, 2)])
def test_the_largest_difference_of_all_blocks_is_found(place: tuple[int, int]) -> None:
    off = RIGHT.copy()
    off[place] -= 0.125
    assert difference(off, RIGHT) == difference(RIGHT, off) == 0.125
    assert relative_error(off, RIGHT) == 0.0125  # of the 10
    # of the change by 2, but for a rounding of the values
    assert change_error(OLD, off, RIGHT) == pytest.approx(0.0625, rel=1e-12)
    assert change_error(OLD.T, off.T, RIGHT.T) == change_error(OLD, off, RIGHT)  # in another order of memory


def test_equal_tensors_do_not_differ() -> None:
    assert difference(RIGHT, RIGHT.copy()) == change_error(OLD, RIGHT, RIGHT.copy()) == 0
    empty = np.zeros((0, 3))
    assert difference(empty, empty) == change_error(empty, empty, empty) == 0
    assert difference(np.array(3.0), np.array(1.0)) == 2
    assert change_error(np.array(0.0), np.array(3.0), np.array(1.0)) == pytest.approx(2)


def test_a_rounding_of_the_type_is_no_error() -> None:
    made = RIGHT.astype(np.float32)
    made[0, 1] = np.nextafter(made[0, 1], np.float32(9))
    assert difference(made, RIGHT) > 0
    assert change_error(OLD, made, RIGHT) == 0


@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
def test_what_is_no_number_is_found_in_any_block(place: tuple[int, int]) -> None:
    off = RIGHT.copy()
    off[place] = np.nan
    assert difference(off, RIGHT) == difference(RIGHT, off) == change_error(OLD, off, RIGHT) == np.inf
    assert difference(off, off.copy()) == change_error(OLD, off, off.copy()) == 0
    start = OLD.copy()
    start[place] = np.nan  # nothing can be said of a change from it
    assert not change_error(start, RIGHT + 1, RIGHT) <= 1
