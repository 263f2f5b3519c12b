"""``fathom-onnx profile --trace``: a trace that is already there, attributed without running anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from fathom_onnx.cli import options
from fathom_onnx.errors import UsageError

from .report import say_what_is_kept
from .run_report import print_run

__all__ = ["profile_trace", "trace_options"]

F = TypeVar("F", bound=Callable[..., Any])

_WITH_TRACE = frozenset({"target", "trace", "optimized", "dims", "top", "output", "html", "as_json"})
"""Parameters of ``profile`` that mean something where nothing is run."""


def trace_options(command: F) -> F:
    """``--trace`` and ``--optimized``."""
    for option in (
        click.option(
            "--optimized",
            type=click.Path(path_type=Path),
            metavar="MODEL.opt.onnx",
            help="With --trace: the model that its session saved as optimized_model_filepath.",
        ),
        click.option(
            "--trace",
            type=click.Path(path_type=Path),
            metavar="TRACE.json",
            help="Run nothing: attribute this onnxruntime profile, of any provider and machine.",
        ),
    ):
        command = option(command)
    return command


def profile_trace(context: click.Context) -> None:
    """Attribute the trace that ``profile`` was given.

    Raises:
        UsageError: An option that is for running, or no graph file.
    """
    given: dict[str, Any] = context.params
    if given["trace"] is None:
        raise UsageError("--optimized is the model of a trace, and there is none", "give --trace, or leave it out")
    for parameter in context.command.params:
        name = str(parameter.name)
        default = context.get_parameter_source(name) in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
        if name not in _WITH_TRACE and not default:
            option = parameter.opts[0]
            raise UsageError(f"{option} is for running, and with --trace nothing is run", f"leave {option} out")
    target = given["target"]
    if not (target.endswith(".onnx") or Path(target).exists()):
        raise UsageError(f"'{target}' is no graph file", "give the .onnx file that the session of the trace loaded")

    from fathom_onnx.cli.render import print_json
    from fathom_onnx.trace_profiling import profile_from_trace

    sizes = options.dimension_sizes(given["dims"])
    output = given["output"]
    run = profile_from_trace(Path(target), given["trace"], given["optimized"], dimensions=sizes, folder=output)
    summary = run.summary()
    if given["as_json"]:
        print_json(summary)
    else:
        print_run(summary, given["top"])
    say_what_is_kept(output, given["html"])
