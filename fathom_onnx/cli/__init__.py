"""The command line: parse, call, render. Each command is in a file of its own; nothing heavy is imported here."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import FathomError, RunError, UnknownNameError, one_line

__all__ = ["main"]

_COMMANDS = {
    "ceilings": ("run_commands", "Measure what onnxruntime reaches on this machine."),
    "compare": ("run_commands", "Show what got slower and what faster from one run to another."),
    "compat": ("graph_commands", "Say which simulators and compilers take graphs."),
    "convert": ("graph_commands", "Convert graphs to the forms that simulators read."),
    "export": ("graph_commands", "Write the ONNX graphs of workloads, or of a model of your own."),
    "extract": ("run_commands", "Write one node of a run as a graph of its own, and time it alone."),
    "gaps": ("graph_commands", "Show what stands in the way of the graph of a model of your own."),
    "inspect": ("graph_commands", "Show what a graph is and what it costs, without running it."),
    "list": ("graph_commands", "Show the workloads there are."),
    "overlay": ("run_commands", "Put the times of a run on its graph, for Netron, Model Explorer or Perfetto."),
    "place": ("study_commands", "Show where a graph stands among the workloads."),
    "profile": ("run_commands", "Run a graph and show where its time goes."),
    "report": ("run_commands", "Write an offline HTML page on runs: where the time goes, or how they compare."),
    "roofline": ("run_commands", "Set a profiled run against what its machine can do."),
    "show": ("graph_commands", "Show one workload: configuration, interface, layers."),
    "study": ("study_commands", "Export, verify, profile and compare; write a report."),
    "sweep": ("study_commands", "Run over threads, batch sizes, providers, levels; write tables."),
    "train": ("run_commands", "Train a workload in onnxruntime."),
    "verify": ("graph_commands", "Check graphs against their frameworks and each other."),
}
"""Command name to the folder of the module of that name, which holds it, and its line in the help."""


class _Commands(click.Group):
    """Commands that are imported when they are called, and errors as one line with an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            raise click.UsageError(str(UnknownNameError("command", cmd_name, _COMMANDS)), ctx)
        module = importlib.import_module(f"{__name__}.{_COMMANDS[cmd_name][0]}.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FathomError as error:
            tell(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except MemoryError as error:
            tell(f"error: there is not enough memory ({one_line(error)}); make the sizes smaller", err=True)
            sys.exit(RunError.exit_code)
        except BrokenPipeError:
            sys.exit(0)  # whoever read the output has seen enough


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fathom-onnx")
@click.option("--max-memory", metavar="SIZE", help="Memory that the command may take, such as 4GB; then it gives up.")
def main(max_memory: str | None) -> None:
    """The Fathom workloads, and models of your own, as ONNX graphs: export, verify, profile, study.

    Exit codes: 0 done; 1 a check failed; 2 usage; 3 graph; 4 missing framework or provider; 5 output; 6 data; 7 export;
    8 run.
    """
    if max_memory is not None:
        from fathom_onnx.processes import limit_memory

        limit_memory(max_memory)
