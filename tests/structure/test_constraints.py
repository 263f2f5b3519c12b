"""The hashed constraints: every dependency that is installed, in the tested version, with the hashes of its files."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT


def pinned(text: str) -> dict[str, str]:
    """Package to version."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_every_package_has_hashes_and_the_tested_version() -> None:
    text = (ROOT / "constraints-hashed.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all(re.fullmatch(r"\S+==[^\\]+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry) for entry in entries)
    hashed, tested = pinned(text), pinned((ROOT / "constraints.txt").read_text())
    assert len(hashed) == len(entries)
    assert {name: v for name, v in tested.items() if name in hashed and hashed[name] != v} == {}
    # cupti-python is of the extra cuda, which stands in place of torch's libraries
    assert set(tested) - set(hashed) == {"cupti-python"}


def test_what_the_project_asks_for_is_among_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    hashed = pinned((ROOT / "constraints-hashed.txt").read_text())
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in project["dependencies"]]
    waiting = ["dev"]
    while waiting:
        for requirement in map(Requirement, extras[waiting.pop()]):
            if requirement.name == project["name"]:
                waiting += requirement.extras
            else:
                asked.append(requirement)
    assert len(asked) > 25
    wrong = [str(r) for r in asked if hashed.get(canonicalize_name(r.name), "0") not in r.specifier]
    assert wrong == []
