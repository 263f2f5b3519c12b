"""The documents agree with the repository: links, paths and Python names resolve, and the index reaches every page."""

from __future__ import annotations

import importlib
import os
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fathom_onnx.cli import main
from support.documents import anchors, command_lines, documents, imports, links, python_names, repository_paths
from support.paths import DOCS, ROOT

# words with dots that are keys of a file's metadata, not Python names
METADATA = {"fathom_onnx.conversion", "fathom_onnx.macs_by_definition", "fathom_onnx.time_us", "fathom_onnx.time_share"}
GROUPS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"])
GROUPS |= {
    "fathom_onnx.workloads",
    "fathom_onnx.sources",
    "fathom_onnx.readers",
    "fathom_onnx.models.torch",
    "fathom_onnx.models.tensorflow",
    "fathom_onnx.models.jax",
}


@pytest.fixture(params=documents(), ids=str)
def document(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_links_resolve(document: Path) -> None:
    for path, anchor in links(document):
        assert (ROOT / path).exists(), f"{document} links to {path}"
        assert not anchor or anchor in anchors(path), f"{document} links to {path}#{anchor}"


def test_mentioned_files_exist(document: Path) -> None:
    missing = {path for path in repository_paths(document) if not (ROOT / path).exists()}
    assert not missing, f"{document} mentions {missing}"


def resolve(name: str) -> Any:
    """The module or attribute with a dotted name.

    Raises:
        AttributeError: Where a part is neither.
    """
    parts = name.split(".")
    found = importlib.import_module(parts[0])
    for i, part in enumerate(parts[1:], start=2):
        try:
            found = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            found = getattr(found, part)
    return found


def test_python_names_resolve(document: Path) -> None:
    for name in (python_names(document) | imports(document)) - METADATA - GROUPS:
        if name.startswith("fathom_onnx."):
            resolve(name)


@pytest.mark.slow
def test_names_in_the_exporters_resolve(document: Path) -> None:
    for name in python_names(document) | imports(document):
        if name.startswith("fathom_exporters."):
            resolve(name)


def test_a_wrong_name_does_not_resolve() -> None:
    with pytest.raises(AttributeError):
        resolve("fathom_onnx.analysis.runs.run.Rum")


def test_the_index_reaches_every_document() -> None:
    reached, waiting = {Path("docs/README.md")}, [Path("docs/README.md")]
    while waiting:
        new = {path for path, _ in links(waiting.pop())} - reached
        reached |= new
        waiting += [path for path in new if path.suffix == ".md"]
    every = {path.relative_to(ROOT) for path in DOCS.rglob("*") if path.is_file()}
    assert not every - reached


def test_a_folder_of_documents_is_small() -> None:
    for folder, _, names in os.walk(DOCS):
        assert len(names) <= 15, folder


def test_the_citation_has_what_its_format_requires() -> None:
    """Citation File Format 1.2.0: required keys, and those of each reference, with the types that they may have."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    types = {"conference-paper", "article", "report"}
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert reference["type"] in types
    for author in [a for entry in [citation, *citation["references"]] for a in entry["authors"]]:
        assert author.keys() & {"name", "family-names"}


def test_the_changelog_knows_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changes
    assert f"## [{project['version']}]" in changes


def test_commands_and_their_options_exist(document: Path) -> None:
    context = click.Context(main)
    for name, *words in command_lines(document):
        command = main.get_command(context, name)
        options = {option for parameter in command.params for option in parameter.opts}
        wrong = {word for word in words if word.startswith("-")} - options
        assert not wrong, f"{document}: fathom-onnx {name} has no {wrong}"
