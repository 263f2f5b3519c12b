"""Normal numbers by cells: the moments of the cells exactly, and what is drawn against scipy's distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fathom_onnx.training.normals import CELLS, cells, normal_numbers


def test_the_cells_have_the_moments_of_the_normal_distribution() -> None:
    first, places = cells()
    width = places * CELLS
    middle = first - places / 2 + width / 2
    # moments of numbers spread evenly over each cell
    second = middle**2 + width**2 / 12
    fourth = middle**4 + middle**2 * width**2 / 2 + width**4 / 80
    assert middle.mean() == pytest.approx(0, abs=1e-12)
    assert second.mean() == pytest.approx(1, abs=1e-5)
    assert fourth.mean() == pytest.approx(3, abs=1e-3)
    assert stats.norm.cdf(first[1:] - places[1:] / 2) == pytest.approx(np.arange(1, CELLS) / CELLS, abs=1e-12)
    assert -first[0] == pytest.approx(4.605, abs=1e-3)


def test_what_is_drawn_is_normal_and_numbers_of_one_word_are_apart() -> None:
    drawn = normal_numbers(np.random.SFC64(1), 400_000).astype(float)
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    assert drawn.mean() == pytest.approx(0, abs=4 / drawn.size**0.5)
    assert drawn.std() == pytest.approx(1, abs=4 / (2 * drawn.size) ** 0.5)
    assert abs(drawn).max() > 4
    assert len(np.unique(drawn)) > 0.99 * drawn.size  # more numbers than cells
    for apart in (1, 2, 3, 4, 200_000):
        assert abs(np.corrcoef(drawn[apart:], drawn[:-apart])[0, 1]) < 0.01


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 40_000])
def test_any_number_of_them_can_be_drawn(count: int) -> None:
    drawn = normal_numbers(np.random.SFC64(2), count)
    assert (drawn.dtype, drawn.shape) == (np.float32, (count,))
    assert (drawn == normal_numbers(np.random.SFC64(2), count)).all()


def test_a_number_is_its_place_in_its_cell() -> None:
    first, places = cells()
    words = np.random.SFC64(3).random_raw(2)
    cell, place = ([int(word) >> 16 * i & 0xFFFF for i in range(4)] for word in words)
    assert normal_numbers(np.random.SFC64(3), 4) == pytest.approx(first[cell] + places[cell] * place, rel=1e-6)
