"""Places of errors in files of the user's own and of packages that models are from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.recipes.blame import short_path, user_line


def raised_in(path: Path, called_in: Path | None = None) -> Exception:
    """The error of a function in one file, which one in another file calls."""
    names: dict[str, Any] = {}
    exec(compile("def failing():\n    1 / 0", str(path), "exec"), names)
    if called_in:
        exec(compile("def calling():\n\n    failing()", str(called_in), "exec"), names)
    with pytest.raises(ZeroDivisionError) as found:
        names.get("calling", names["failing"])()
    return found.value


def test_the_line_is_the_innermost_of_the_user_or_of_a_models_package(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    error = raised_in(packages / "models/bert.py")
    assert user_line(error) == "models/bert.py:2"
    error = raised_in(packages / "torch/nn/functional.py", packages / "models/bert.py")
    assert user_line(error) == "models/bert.py:3"
    error = raised_in(packages / "torch/nn/functional.py", tmp_path / "mine.py")
    assert user_line(error) == f"{tmp_path}/mine.py:3"


def test_paths_are_short_from_here_and_from_where_packages_are() -> None:
    assert short_path(Path.cwd() / "mine.py") == "mine.py"
    assert short_path(Path("/usr/lib/site-packages/models/bert.py")) == "models/bert.py"
    assert short_path(Path("/elsewhere/mine.py")) == "/elsewhere/mine.py"
