"""Importing a user's module, from a file or by its name, with the modules beside it; each folder has its own.

Two folders may hold modules of one name (``model.py``). Python knows only one module of a name, so that those of a
folder are put away when a target of another folder is built, and back when its own turn comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from fathom_onnx.errors import UsageError

__all__ = ["beside", "import_file", "local_files"]

_LOCAL: dict[Path, dict[str, ModuleType]] = {}
"""Folder to the modules that were imported from it."""


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[None]:
    """A context in which the modules of a folder can be imported, as those beside a script can."""
    for other, modules in _LOCAL.items():
        if other != folder:
            for name, module in modules.items():
                if sys.modules.get(name) is module:
                    del sys.modules[name]
    sys.modules.update(_LOCAL.get(folder, {}))
    importlib.invalidate_caches()  # a file may be newer than what the finders remember
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
        _LOCAL[folder] = {name: module for name, module in list(sys.modules.items()) if _is_of(folder, name, module)}


def local_files(folder: Path) -> list[Path]:
    """The files of the modules that were imported from a folder, sorted."""
    files = (getattr(module, "__file__", None) for module in _LOCAL.get(folder, {}).values())
    return sorted({Path(file) for file in files if file})


def _is_of(folder: Path, name: str, module: ModuleType) -> bool:
    """Whether a module was found through the entry of ``folder`` in the path: not one of a package that lies below."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not Path(file).is_relative_to(folder):
        return False
    first = Path(file).relative_to(folder).parts[0]
    return first.partition(".")[0] == name.partition(".")[0]


def import_file(path: Path) -> ModuleType:
    """Run a file as a module under a name of its own, which ``pickle`` and ``dataclasses`` find again.

    Args:
        path: An absolute path.

    Raises:
        UsageError: It cannot be read as a module.
    """
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"_target_{digest}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{path}' is not a Python file", "give one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
