"""Targets: ``FILE.py:build`` or ``package.module:build``, the name of a function that builds a recipe."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from fathom_onnx.errors import ExportError, FathomError, UnknownNameError, UsageError, one_line

from .blame import user_line
from .frameworks import is_model
from .importing import beside, import_file, local_files
from .parameters import bound_options
from .recipe import Recipe, recipe_from

__all__ = ["USUAL_FUNCTION", "Target", "is_target"]

USUAL_FUNCTION = "build"
"""The function of a file that is named without one."""

_Made = TypeVar("_Made")
_FORM = "FILE.py:build or package.module:build"


def is_target(text: str) -> bool:
    """Whether a command's argument names a target: a workload's name has no colon, and is no file."""
    return not text.lower().endswith(".onnx") and (":" in text or text.endswith(".py"))


@dataclass(frozen=True)
class Target:
    """A function that builds a recipe, with its options; it can be sent to other processes.

    Attributes:
        text: The target as it was given.
        module: Absolute path of its file, or the dotted name of its module.
        function: The function's name.
        folder: The folder whose modules it may import: that of its file, or the one in which the command was called.
        options: Names and values of options; text is made into a value of the parameter's type.
        accumulate: What the recipe's own is replaced by; None for none.
        specialise: Whether it is to be specialised, whatever the recipe says.
        rate_input: Whether its learning rate is to be an input, whatever the recipe says.
    """

    text: str
    module: str
    function: str
    folder: Path
    options: tuple[tuple[str, Any], ...] = ()
    accumulate: int | None = None
    specialise: bool = False
    rate_input: bool = False

    @classmethod
    def parse(
        cls,
        text: str,
        options: Mapping[str, Any] | None = None,
        accumulate: int | None = None,
        specialise: bool = False,
        rate_input: bool = False,
    ) -> Target:
        """The target that a text names.

        Args:
            text: ``FILE.py:build``, ``FILE.py`` or ``package.module:build``.
            options: Options for the function.
            accumulate: What the recipe's own is replaced by; None for none.
            specialise: Whether the recipe is to be specialised, whatever it says.
            rate_input: Whether the recipe's learning rate is to be an input, whatever it says.

        Raises:
            UsageError: It is no target, or there is no such file.
        """
        module, _, function = (text, "", USUAL_FUNCTION) if text.endswith(".py") else text.rpartition(":")
        if not module or not function.isidentifier():
            raise UsageError(f"'{text}' is not a target", f"write it as {_FORM}")
        given = tuple(sorted((options or {}).items()))
        if not module.endswith(".py"):
            if Path(module).exists():
                raise UsageError(f"'{module}' is not a Python file", "give one that ends in .py")
            if not all(part.isidentifier() for part in module.split(".")):
                raise UsageError(f"'{text}' is not a target", f"write it as {_FORM}")
            return cls(text, module, function, Path.cwd(), given, accumulate, specialise, rate_input)
        path = Path(module).absolute()
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no file"
            raise UsageError(f"'{module}' is {what}", "give the path of the Python file whose function builds a recipe")
        return cls(text, str(path), function, path.parent, given, accumulate, specialise, rate_input)

    def find(self) -> Callable[..., Any]:
        """The function itself, the modules of its folder importable.

        Raises:
            UsageError: There is no such module or function.
            ExportError: The user's code fails.
        """
        with beside(self.folder):
            return self._function(self._module())

    def build(self) -> Recipe:
        """The recipe that the function builds, the modules of its folder importable.

        Raises:
            UsageError: There is no such module or function, an option does not fit, or what it returns is no recipe.
            ExportError: The user's code fails; the message names the error and the line.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before the user's code imports it: it reports its devices
        with beside(self.folder):
            build = self._function(self._module())
            what = f"'{self.text}'"
            call = bound_options(build, dict(self.options), what)
            built = self._of_the_user(lambda: build(*call.args, **call.kwargs))
            recipe = recipe_from(built, what)
        if self.accumulate is not None:
            recipe = replace(recipe, accumulate=self.accumulate)
        return replace(
            recipe,
            specialise=recipe.specialise or self.specialise,
            rate_input=recipe.rate_input or self.rate_input,
        )

    def digest(self) -> str:
        """A hash of what a built recipe depends on: names, options, and the files that were imported from its folder.

        It covers the imported files only after :meth:`build`.
        """
        found = hashlib.sha256(repr((self.module, self.function, self.options, self.accumulate)).encode())
        found.update(repr((self.specialise, self.rate_input)).encode())
        own = [Path(self.module)] if self.module.endswith(".py") else []
        for path in [*own, *(p for p in local_files(self.folder) if p not in own)]:
            found.update(f"{path.name}\0".encode() + path.read_bytes())
        return found.hexdigest()[:16]

    def _module(self) -> ModuleType:
        if self.module.endswith(".py"):
            return self._of_the_user(lambda: import_file(Path(self.module)))
        try:
            found = importlib.util.find_spec(self.module)
        except ModuleNotFoundError as error:
            raise self._no_module(str(error.name)) from error
        except Exception as error:  # a package on the way fails when it is imported
            raise self._failed(error) from error
        if found is None:
            raise self._no_module(self.module)
        return self._of_the_user(lambda: importlib.import_module(self.module))

    def _no_module(self, name: str) -> UsageError:
        return UsageError(f"there is no module '{name}' for '{self.text}'", f"install it, or call from '{self.folder}'")

    def _function(self, module: ModuleType) -> Callable[..., Any]:
        functions = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        ]
        if not hasattr(module, self.function):
            where = Path(self.module).name if self.module.endswith(".py") else self.module
            raise UnknownNameError(f"function of '{where}'", self.function, functions)
        found = getattr(module, self.function)
        if is_model(found) or not callable(found):
            kind = type(found).__name__
            raise UsageError(f"'{self.text}' is of type {kind}, not a function", "name one that returns the recipe")
        return found  # type: ignore[no-any-return]  # whatever the user's module holds

    def _of_the_user(self, call: Callable[[], _Made]) -> _Made:
        try:
            return call()
        except FathomError:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> ExportError:
        kind = type(error).__name__
        said = one_line(str(error)) if str(error) else ""
        place = user_line(error)
        what = f"'{self.text}' fails{f' at {place}' if place else ''}: {kind}{f': {said}' if said else ''}"
        if isinstance(error, ModuleNotFoundError):
            return ExportError(what, "install it where fathom-onnx is installed")
        if isinstance(error, ImportError) and "relative import" in str(error):
            return ExportError(what, "name the module by its package: package.module:build")
        return ExportError(what)
