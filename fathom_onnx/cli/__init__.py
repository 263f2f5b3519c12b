"""The command line: parse, call, render. Each command is in a file of its own; nothing heavy is imported here."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ..errors import FathomError, UnknownNameError

__all__ = ["main"]

_COMMANDS = {
    "ceilings": "Measure what onnxruntime reaches on this machine.",
    "compare": "Show what got slower and what faster from one run to another.",
    "compat": "Say which simulators and compilers take graphs.",
    "convert": "Convert graphs to the forms that simulators read.",
    "export": "Write the ONNX graphs of workloads.",
    "inspect": "Show what a graph is and what it costs, without running it.",
    "list": "Show the workloads there are.",
    "overlay": "Put the times of a run on its graph, for Netron, Model Explorer or Perfetto.",
    "place": "Show where a graph stands among the workloads.",
    "profile": "Run a graph and show where its time goes.",
    "roofline": "Set a profiled run against what its machine can do.",
    "show": "Show one workload: configuration, interface, layers.",
    "study": "Export, verify, profile and compare; write a report.",
    "sweep": "Run over threads, batch sizes, providers, levels; write tables.",
    "train": "Train a workload in onnxruntime.",
    "verify": "Check graphs against their frameworks and each other.",
}
"""Command name to its line in the help; the command itself is in the module of that name."""


class _Commands(click.Group):
    """Commands that are imported when they are called, and errors as one line with an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            raise click.UsageError(str(UnknownNameError("command", cmd_name, _COMMANDS)), ctx)
        module = importlib.import_module(f"{__name__}.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FathomError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.exit(0)  # whoever read the output has seen enough


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fathom-onnx")
def main() -> None:
    """The Fathom workloads as ONNX graphs: export, verify, profile, study.

    Exit codes: 0 done; 1 a check failed; 2 usage; 3 graph; 4 missing framework or provider; 5 output; 6 data; 7 export;
    8 run.
    """
