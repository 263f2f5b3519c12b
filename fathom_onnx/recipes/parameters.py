"""Options of a function that builds a recipe: text made into values by its parameters' annotations and defaults."""

from __future__ import annotations

import ast
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fathom_onnx.errors import UnknownNameError, UsageError

__all__ = ["bound_options"]

_TRUE, _FALSE, _NONE = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("none", "null")
_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_LIST_ORIGINS = (tuple, list, Sequence)


def bound_options(build: Callable[..., Any], options: Mapping[str, Any], what: str) -> inspect.BoundArguments:
    """The arguments of a call of ``build`` with some options.

    Args:
        build: The function.
        options: Its options by name. Text is made into a value of the parameter's type; other values stay as they are.
        what: What errors call the function.

    Raises:
        UnknownNameError: It has no such option.
        UsageError: A text is no value of the parameter's type, or an option that has no default is left out.
    """
    try:
        signature = _signature(build)
    except (TypeError, ValueError):  # of some builtins none is known
        raise UsageError(f"{what} has no signature that can be read", "name a function written in Python") from None
    parameters = {p.name: p for p in signature.parameters.values() if p.kind in _NAMED}
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    for name in options:
        if name not in parameters and not open_ended:
            raise UnknownNameError(f"option of {what}", name, parameters)
    values = {
        name: _value(name, text, parameters.get(name)) if isinstance(text, str) else text
        for name, text in options.items()
    }
    missing = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty and n not in values]
    if missing:
        raise UsageError(f"{what} needs a value for '{missing[0]}'", f"give one with --set {missing[0]}=VALUE")
    call = signature.bind_partial()
    call.arguments = {name: values[name] for name in parameters if name in values}
    further = {name: value for name, value in values.items() if name not in parameters}
    if further:
        keywords = next(p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD)
        call.arguments[keywords] = further
    return call


def _signature(build: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(build, eval_str=True)
    except (NameError, SyntaxError, AttributeError):  # annotations of names that are not there at run time
        return inspect.signature(build)


def _value(name: str, text: str, parameter: inspect.Parameter | None) -> Any:
    kind: Any = inspect.Parameter.empty if parameter is None else parameter.annotation
    default: Any = inspect.Parameter.empty if parameter is None else parameter.default
    if kind in (inspect.Parameter.empty, Any) or isinstance(kind, str):
        kind = type(default) if default is not inspect.Parameter.empty and default is not None else None
    try:
        return _guess(text) if kind is None else _parse(kind, text)
    except ValueError as error:
        raise UsageError(f"option '{name}' cannot be '{text}'", f"give {error}") from None


def _guess(text: str) -> Any:
    """The number, truth value or None that a text is written as; the text itself where it is none of these."""
    if text.lower() in _NONE:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (int, float, tuple, list)) else text


def _parse(kind: Any, text: str) -> Any:
    """A text as a value of a type.

    Raises:
        ValueError: It is none; the message says what to give.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, text)
    if origin is typing.Literal:
        return _chosen({str(value): value for value in arguments}, text)
    if origin is typing.Annotated:
        return _parse(arguments[0], text)
    if origin in _LIST_ORIGINS or kind in (tuple, list):
        return _listed(list if list in (origin, kind) else tuple, arguments, text)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _chosen({**{str(m.value): m for m in kind}, **dict(kind.__members__)}, text)
    return _plain(kind, text)


def _one_of(kinds: Sequence[Any], text: str) -> Any:
    if type(None) in kinds and text.lower() in _NONE:
        return None
    wanted = []
    for kind in sorted((k for k in kinds if k is not type(None)), key=lambda k: k is str):  # text can be anything
        try:
            return _parse(kind, text)
        except ValueError as error:
            wanted.append(str(error))
    raise ValueError(" or ".join([*wanted, *(["none"] if type(None) in kinds else [])]))


def _chosen(values: Mapping[str, Any], text: str) -> Any:
    if text not in values:
        raise ValueError(f"one of {', '.join(values)}")
    return values[text]


def _listed(make: type, arguments: Sequence[Any], text: str) -> Any:
    parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    kinds = [k for k in arguments if k is not ...]
    if not kinds:
        return make(_guess(part) for part in parts)
    if len(kinds) == 1:
        kinds *= len(parts)
    if len(kinds) != len(parts):
        raise ValueError(f"{len(kinds)} values separated by commas")
    return make(_parse(kind, part) for kind, part in zip(kinds, parts, strict=True))


def _plain(kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ValueError("true or false")
    if kind is type(None):
        return _chosen({"none": None, "None": None}, text)
    wanted = {int: "a whole number", float: "a number", str: "text", Path: "a path"}
    if kind not in wanted:
        raise ValueError("it a default, since --set takes only numbers, true or false, and text")
    try:
        return kind(text)
    except ValueError:
        raise ValueError(wanted[kind]) from None
