"""Targets: what a user's function may return and take, and one line for each mistake."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.errors import FathomError
from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.target import Target, is_target


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def built(path: Path, function: str = "", **options: Any) -> Recipe:
    return Target.parse(f"{path}:{function}" if function else str(path), options).build()


def refusal(text: str, **options: Any) -> str:
    with pytest.raises(FathomError) as caught:
        Target.parse(text, options).build()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.py", True),
        ("a.py:build", True),
        ("package.module:build", True),
        ("/x/y.py:small", True),
        ("residual", False),
        ("graph.onnx", False),
        ("a:b.onnx", False),
    ],
)
def test_targets_are_told_from_workloads_and_files(text: str, expected: bool):
    assert is_target(text) is expected


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("('m', 1)", Recipe("m", 1)),
        ("('m', 1, max)", Recipe("m", 1, max)),
        ("('m', 1, max, 'o')", Recipe("m", 1, max, "o")),
        ("('m', (1, 2), None, 'o')", Recipe("m", (1, 2), None, "o")),
        ("{'model': 'm', 'batch': 1, 'accumulate': 4}", Recipe("m", 1, accumulate=4)),
        ("dict(model='m', batch=1, optimizer='o', specialise=True)", Recipe("m", 1, None, "o", 1, True)),
        ("Recipe('m', 1)", Recipe("m", 1)),
    ],
)
def test_what_a_function_may_return(tmp_path: Path, returned: str, expected: Recipe):
    path = written(tmp_path, f"from fathom_onnx.recipes import Recipe\ndef build():\n    return {returned}\n")
    assert built(path) == expected == built(path, "build")


ANNOTATED = """
from __future__ import annotations
import enum
from pathlib import Path
from typing import Literal, Optional

class Size(enum.Enum):
    SMALL = 1
    LARGE = 2

def build(n: int, rate=0.5, flag: bool = False, name="x", most: int | None = 3, kind: Literal["a", "b"] = "a",
          sizes: tuple[int, ...] = (1,), free=None, old: Optional[float] = None, size: Size = Size.SMALL,
          both: int | str = 0, folder: Path = Path("."), off=True):
    return (n, rate, flag, name, most, kind, sizes, free, old, size.name, both, folder, off), 0
"""


@pytest.mark.parametrize(
    ("option", "text", "position", "value"),
    [
        ("n", "7", 0, 7),
        ("n", "-7", 0, -7),
        ("rate", "1e-3", 1, 1e-3),
        ("rate", "2", 1, 2.0),
        ("flag", "true", 2, True),
        ("flag", "No", 2, False),
        ("flag", "1", 2, True),
        ("off", "off", 12, False),
        ("name", "3", 3, "3"),
        ("most", "none", 4, None),
        ("most", "5", 4, 5),
        ("kind", "b", 5, "b"),
        ("sizes", "2,3", 6, (2, 3)),
        ("sizes", "(2, 3)", 6, (2, 3)),
        ("free", "4", 7, 4),
        ("free", "0.5", 7, 0.5),
        ("free", "text", 7, "text"),
        ("free", "None", 7, None),
        ("free", "True", 7, True),
        ("old", "1.5", 8, 1.5),
        ("size", "LARGE", 9, "LARGE"),
        ("both", "2", 10, 2),
        ("both", "two", 10, "two"),
        ("folder", "a/b", 11, Path("a/b")),
        ("rate", 3, 1, 3),  # not text: as it is
    ],
)
def test_text_is_read_by_annotation_or_default(tmp_path: Path, option: str, text: Any, position: int, value: Any):
    options = {"n": "1", option: text}
    found = built(written(tmp_path, ANNOTATED), **options).model[position]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs a value for 'n'; give one with --set n=VALUE"),
        ({"n": "x"}, "option 'n' cannot be 'x'; give a whole number"),
        ({"n": "1.5"}, "option 'n' cannot be '1.5'; give a whole number"),
        ({"n": "1", "rate": "fast"}, "option 'rate' cannot be 'fast'; give a number"),
        ({"n": "1", "flag": "maybe"}, "option 'flag' cannot be 'maybe'; give true or false"),
        ({"n": "1", "kind": "c"}, "option 'kind' cannot be 'c'; give one of a, b"),
        ({"n": "1", "most": "x"}, "option 'most' cannot be 'x'; give a whole number or none"),
        ({"n": "1", "sizes": "1,x"}, "option 'sizes' cannot be '1,x'; give a whole number"),
        ({"n": "1", "rat": "2"}, "did you mean 'rate'? known: n, rate, flag"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any], said: str):
    assert said in refusal(str(written(tmp_path, ANNOTATED)), **options)


def test_options_beyond_the_named_ones_go_to_keywords(tmp_path: Path):
    path = written(tmp_path, "def build(a, /, *, b=2, **more):\n    return (a, b, more), 0\n")
    assert built(path, a="1", c="x", d="3").model == (1, 2, {"c": "x", "d": 3})


BAD = {
    "syntax.py": "def build(:\n",
    "raises.py": "x = 1\n\nraise RuntimeError('on import')\n",
    "exits.py": "import sys\nsys.exit(3)\n",
    "absent.py": "import no_such_package\n",
    "relative.py": "from .layers import Net\n",
    "mine.py": """
from helper import fail
several = 3

def build():
    return 1

def failing():
    fail(2)

def quiet():
    raise KeyError

def many():
    return 1, 2, 3, 4, 5

def nothing():
    pass

def modelless():
    return {"batch": 1}

def other():
    return {"model": 1, "batch": 2, "losss": 3}

def parts():
    return {"model": 1, "batch": 2, "accumulate": 0}

def losing():
    return 1, 2, 3

class Net:
    pass
""",
    "mine.txt": "",
    "helper.py": "def fail(n):\n    raise ValueError(f'bad\\n{n}')\n",
}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("none.py", "'none.py' is no file"),
        ("none.py:build", "'none.py' is no file"),
        ("folder.py:build", "'folder.py' is a folder"),
        ("mine.py:", "'mine.py:' is not a target; write it as FILE.py:build or package.module:build"),
        (":build", "':build' is not a target"),
        ("mine.py:a b", "is not a target"),
        ("my-package:build", "is not a target"),
        ("mine.txt:build", "'mine.txt' is not a Python file; give one that ends in .py"),
        ("mine.c:build", "there is no module 'mine.c' for 'mine.c:build'"),
        ("no.such:build", "there is no module 'no' for 'no.such:build'; install it, or call from"),
        ("nosuch:build", "there is no module 'nosuch' for"),
        ("mine.py:biuld", "unknown function of 'mine.py' 'biuld'; did you mean 'build'? known: build, failing"),
        ("mine.py:several", "'mine.py:several' is of type int, not a function"),
        ("mine.py:build", "'mine.py:build' returns a int, and no recipe; return (model, batch, loss, optimizer)"),
        ("mine.py:many", "returns 5 values, and no recipe"),
        ("mine.py:nothing", "returns nothing, and no recipe"),
        ("mine.py:Net", "returns a Net, and no recipe"),
        ("mine.py:modelless", "has no model; return"),
        ("mine.py:other", "unknown part of the recipe that 'mine.py:other' returns 'losss'; did you mean 'loss'?"),
        ("mine.py:parts", "a batch cannot be cut into 0 parts"),
        ("mine.py:losing", "the loss is of type int, not a function"),
        ("mine.py:failing", "'mine.py:failing' fails at helper.py:2: ValueError: bad 2"),
        ("mine.py:quiet", "'mine.py:quiet' fails at mine.py:12: KeyError"),
        ("syntax.py", "'syntax.py' fails at syntax.py:1: SyntaxError"),
        ("raises.py", "'raises.py' fails at raises.py:3: RuntimeError: on import"),
        ("exits.py", "'exits.py' fails at exits.py:2: SystemExit: 3"),
        ("absent.py", "No module named 'no_such_package'; install it where fathom-onnx is installed"),
        ("relative.py", "name the module by its package: package.module:build"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, said: str):
    for name, text in BAD.items():
        written(tmp_path, text, name)
    (tmp_path / "folder.py").mkdir()
    monkeypatch.chdir(tmp_path)
    assert said in refusal(target)


def test_modules_beside_a_file_are_those_of_its_own_folder(tmp_path: Path):
    for folder in ("a", "b"):
        written(tmp_path / folder, f"NAME = '{folder}'\n", "shared_name.py")
        written(tmp_path / folder, "import shared_name\ndef build():\n    return shared_name.NAME, 0\n")
    targets = [Target.parse(f"{tmp_path}/{folder}/mine.py") for folder in "aba"]
    assert [target.build().model for target in targets] == ["a", "b", "a"]
    assert not any(str(tmp_path) in entry for entry in sys.path)


def test_a_module_may_be_named_by_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path / "pkg_of_test", "", "__init__.py")
    written(tmp_path / "pkg_of_test", "N = 5\n", "layers.py")
    written(tmp_path / "pkg_of_test", "from .layers import N\ndef build():\n    return N, 0\n")
    monkeypatch.chdir(tmp_path)
    assert Target.parse("pkg_of_test.mine:build").build().model == 5


def test_classes_of_a_file_can_be_pickled_and_be_dataclasses(tmp_path: Path):
    text = """
from __future__ import annotations
import pickle
from dataclasses import dataclass, field

@dataclass
class Config:
    width: int = 3
    more: list[int] = field(default_factory=list)

def build():
    return pickle.loads(pickle.dumps(Config(4))), 0
"""
    model = built(written(tmp_path, text)).model
    assert model.width == 4
    assert pickle.loads(pickle.dumps(model)) == model


def test_the_hash_covers_options_the_file_and_what_it_imports(tmp_path: Path):
    path = written(tmp_path, "import part_of_hash\ndef build(n=1):\n    return n, 0\n")
    part = written(tmp_path, "X = 1\n", "part_of_hash.py")

    def digest(**options: Any) -> str:
        target = Target.parse(str(path), options)
        target.build()
        return target.digest()

    first = digest()
    assert digest() == first
    assert digest(n=2) != first
    part.write_text("X = 2\n")
    assert digest() != first
    part.write_text("X = 1\n")
    assert digest() == first
    written(tmp_path, "import part_of_hash\ndef build(n=2):\n    return n, 0\n")
    assert digest() != first
