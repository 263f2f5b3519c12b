"""CSV files: no formula, and every name comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.csv_files import read_csv, write_csv


def test_no_cell_of_text_is_a_formula(tmp_path: Path) -> None:
    names = ["=1+1", "+x", "-x", "@SUM(A1)", "\tx", "'x", "''", "fc.weight", "NA", "12", ""]
    write_csv(tmp_path / "t.csv", pd.DataFrame({"name": names, "us": [-1.5, *range(10)]}))
    first = (tmp_path / "t.csv").read_text().splitlines()[1:]
    assert first[:4] == ["'=1+1,-1.5", "'+x,0.0", "'-x,1.0", "'@SUM(A1),2.0"]
    back = read_csv(tmp_path / "t.csv", ("name", "us"), {"name"})
    assert back["name"].tolist() == names
    assert back["us"].tolist() == [-1.5, *map(float, range(10))]


@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_name_comes_back(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "names.csv"
    write_csv(path, pd.DataFrame({"name": names, "us": range(len(names))}))
    assert read_csv(path, ("name", "us"), {"name"})["name"].tolist() == names
