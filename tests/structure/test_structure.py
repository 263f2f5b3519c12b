"""The shape of the house: no import circles, small folders, documented public names, no heavy import at the door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import networkx as nx
import pytest

from support.paths import ROOT

PACKAGES = {"fathom_onnx": ROOT / "fathom_onnx", "fathom_exporters": ROOT / "exporters" / "fathom_exporters"}
MOST_FILES = 15
MODULES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others."""
    graph = nx.DiGraph((module, imported) for module, several in imports.items() for imported in several)
    loops = [[module] for module in graph if graph.has_edge(module, module)]
    return loops + [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}}) == [["a", "b", "c"]]
    assert circles({"a": {"a"}}) == [["a"]]


def test_no_module_is_in_an_import_circle() -> None:
    imports = grimp.build_graph(*PACKAGES)
    assert len(imports.modules) >= len(MODULES)
    assert circles({module: imports.find_modules_directly_imported_by(module) for module in imports.modules}) == []


def test_no_folder_holds_more_files_than_one_can_survey() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not listed:
        pytest.skip("not a git checkout")
    count = Counter(str(Path(name).parent) for name in listed)
    assert {folder: files for folder, files in count.items() if files > MOST_FILES} == {}


def undocumented(source: str) -> list[str]:
    """Names of ``__all__`` that a module defines without a docstring; a constant's stands in the line after it."""
    body = ast.parse(source).body
    public: set[str] = set()
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            public = set(ast.literal_eval(node.value))
    missing = []
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names, documented = [node.name], ast.get_docstring(node) is not None
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            documented = (
                isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            )
        else:
            continue
        missing += [name for name in names if name in public and not documented]
    return missing


def test_missing_docstrings_are_seen() -> None:
    source = '__all__ = ["A", "B", "f", "g"]\nA = 1\nB: int = 2\n"""Two."""\ndef f(): ...\ndef g():\n    """G."""\n'
    assert undocumented(source) == ["A", "f"]


def test_every_public_name_has_a_docstring() -> None:
    missing = {path.relative_to(ROOT).as_posix(): undocumented(path.read_text("utf-8")) for path in MODULES}
    assert {path: names for path, names in missing.items() if names} == {}


def test_the_command_line_opens_without_what_only_commands_need() -> None:
    code = "import fathom_onnx.cli, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    heavy = {"matplotlib", "numpy", "onnx", "onnxruntime", "pandas", "scipy", "sklearn", "tensorflow", "torch"}
    assert "click" in loaded
    assert loaded & heavy == set()
