"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import OPSET, OPSETS, PURPOSES
from fathom_onnx.workloads import ALL_SUITES, SUITES, USUAL_SUITE
from fathom_onnx.workloads.contract import MODES

__all__ = [
    "configuration_options",
    "count_list",
    "cuda_options",
    "dimension_lists",
    "dimension_option",
    "dimension_sizes",
    "framework_option",
    "inputs_option",
    "json_option",
    "list_option",
    "marks_option",
    "measuring_options",
    "measuring_options_of",
    "mode_option",
    "opset_option",
    "output_option",
    "pairs",
    "preset_option",
    "purpose_option",
    "serialize_option",
    "session_options",
    "suite_option",
    "text_list",
    "tf32_option",
]

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
"""``--json``."""


def framework_option(default: str) -> Callable[[F], F]:
    """``--framework``."""
    return click.option(
        "--framework",
        default=default,
        show_default=True,
        help="torch, tensorflow or jax; usual: the first two; or all.",
    )


marks_option = click.option(
    "--no-marks",
    "marks",
    flag_value=False,
    default=True,
    type=bool,
    help="Of jax: write out JAX's own derivatives, and not the gradients that all frameworks' graphs share.",
)
"""``--no-marks``."""


def mode_option(default: str) -> Callable[[F], F]:
    """``--mode``."""
    return click.option(
        "--mode", type=click.Choice([*MODES, "all"]), default=default, show_default=True, help="Which graph."
    )


def purpose_option(default: str) -> Callable[[F], F]:
    """``--for``."""
    return click.option(
        "--for",
        "purpose",
        type=click.Choice(list(PURPOSES)),
        default=default,
        show_default=True,
        help="Gradients in the ops that most simulators read, or in forms for onnxruntime on a CPU, or on CUDA.",
    )


opset_option = click.option(
    "--opset",
    type=click.Choice([str(opset) for opset in OPSETS]),
    default=str(OPSET),
    show_default=True,
    callback=lambda _context, _option, value: int(value),
    help="23 writes attention, rotary embeddings, normalisations and GELU in ONNX's own ops.",
)
"""``--opset``."""


def output_option(default: str | None, what: str) -> Callable[[F], F]:
    """``-o``."""
    shown = default is not None
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), default=default, show_default=shown, help=what
    )


def configuration_options(preset: str) -> Callable[[F], F]:
    """``--preset``, ``--batch`` and ``--set``."""

    def add(command: F) -> F:
        for option in (
            click.option(
                "--set",
                "changes",
                multiple=True,
                metavar="FIELD=VALUE",
                help="Change a field, or an argument of FILE.py:build; may repeat.",
            ),
            click.option("--batch", type=click.IntRange(min=1), help="Batch size; the preset's own by default."),
            click.option("--preset", default=preset, show_default=True, help="paper, small or tiny."),
        ):
            command = option(command)
        return command

    return add


def text_list(text: str) -> tuple[str, ...]:
    """``a,b`` as its parts; one that is given twice counts once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise click.BadParameter(f"'{text}' has an empty value; write it as A,B,...")
    return tuple(dict.fromkeys(parts))


def count_list(text: str) -> tuple[int, ...]:
    """``1,2`` as whole numbers above zero."""
    parts = text_list(text)
    for part in parts:
        if not part.isdecimal() or int(part) < 1:
            raise click.BadParameter(f"'{part}' is not a whole number above zero")
    return tuple(dict.fromkeys(int(part) for part in parts))


def list_option(flag: str, kind: Callable[[str], tuple[Any, ...]], default: str | None, text: str) -> Callable[[F], F]:
    """An option that takes ``A,B,...``, read by ``kind``."""
    return click.option(
        flag, type=kind, metavar="A,B,...", default=default, show_default=default is not None, help=text
    )


suite_option = click.option(
    "--suite",
    type=click.Choice([*SUITES, ALL_SUITES]),
    default=USUAL_SUITE,
    show_default=True,
    help="Whose workloads are meant where none is named.",
)
"""``--suite``."""


def session_options(command: F) -> F:
    """``--ep``, ``--threads`` and ``--optimization``."""
    for option in (
        click.option(
            "--optimization", default="all", show_default=True, help="Graph optimization: all, extended, basic, none."
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Threads inside an operator; all cores by default."),
        click.option("--ep", default="cpu", show_default=True, help="Execution provider: cpu or cuda."),
    ):
        command = option(command)
    return command


def measuring_options_of(steps: int, warmup: int, of: str = "") -> Callable[[F], F]:
    """``--warmup``, ``--steps`` and ``--seed`` with these defaults; ``of``: what the steps are counted in."""

    def add(command: F) -> F:
        for option in (
            click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and batches."),
            click.option(
                "--steps", type=click.IntRange(min=1), default=steps, show_default=True, help=f"Steps to count{of}."
            ),
            click.option(
                "--warmup",
                type=click.IntRange(min=0),
                default=warmup,
                show_default=True,
                help=f"Steps to run and not count{of}.",
            ),
        ):
            command = option(command)
        return command

    return add


def measuring_options(command: F) -> F:
    """``--warmup``, ``--steps`` and ``--seed`` of a run."""
    return measuring_options_of(10, 3)(command)


tf32_option = click.option("--tf32", is_flag=True, help="Let CUDA multiply in TensorFloat-32; off by default.")
"""``--tf32``."""

custom_ops_option = click.option(
    "--custom-ops",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="LIBRARY",
    help="Library of operators that onnxruntime does not have; may repeat.",
)
"""``--custom-ops``."""

inputs_option = click.option(
    "--inputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Values of the graph's inputs, a batch a file; may repeat. What a file leaves out is drawn.",
)
"""``--inputs``."""

serialize_option = click.option(
    "--serialize", is_flag=True, help="On CUDA: let each launch wait, and show the host's times."
)
"""``--serialize``."""


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``["a=1"]`` as ``{"a": "1"}``.

    Raises:
        UsageError: One has no ``=``.
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise UsageError(f"'{text}' is not {what}", f"write it as {what}")
        found[name.strip()] = value.strip()
    return found


def dimension_option(name: str) -> Callable[[F], F]:
    """``--dim``, as a parameter of this name; read it with :func:`dimension_sizes`."""
    return click.option("--dim", name, multiple=True, metavar="NAME=N", help="Size of a dynamic dimension; may repeat.")


def dimension_sizes(texts: Sequence[str]) -> dict[str, int]:
    """``["a=1", "2*b=8"]`` as ``{"a": 1, "2*b": 8}``.

    Raises:
        UsageError: One has no ``=``, its value is no whole number from 0, or a name has two sizes.
    """
    sizes: dict[str, int] = {}
    for text in texts:
        name, value = _named(text, "NAME=N")
        size = _size(name, value)
        if sizes.setdefault(name, size) != size:
            raise UsageError(f"dimension '{name}' cannot be both {sizes[name]} and {size}", "give one size")
    return sizes


def dimension_lists(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``["a=1,2", "b=8"]`` as ``{"a": (1, 2), "b": (8,)}``; sizes of a name that is given twice are put together.

    Raises:
        UsageError: One has no ``=``, or a value is no whole number from 0.
    """
    sizes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, values = _named(text, "NAME=N,...")
        sizes[name] = sizes.get(name, ()) + tuple(_size(name, value.strip()) for value in values.split(","))
    return sizes


def _named(text: str, form: str) -> tuple[str, str]:
    name, sign, value = (part.strip() for part in text.rpartition("="))
    if not sign or not name or not value:
        raise UsageError(f"'{text}' is not {form}", f"write it as {form}")
    return name, value


def _size(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise UsageError(f"dimension '{name}' cannot be '{text}'", "give a whole number, 0 or more")
    return int(text)


def preset_option(default: str) -> Callable[[F], F]:
    """``--preset``."""
    return click.option("--preset", default=default, show_default=True, help="paper, small or tiny.")


def cuda_options(command: F) -> F:
    """``--tf32`` and ``--serialize``."""
    return tf32_option(serialize_option(command))
