"""``fathom-onnx export``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.cli.targets import recipe_options, refuse_replacing
from fathom_onnx.errors import FathomError, UsageError
from fathom_onnx.exporting import (
    BYTECODE,
    TEXT,
    Exported,
    ExportRequest,
    Purpose,
    export_file,
    export_stablehlo,
    graph_path,
    refuse_no_marks,
    refuse_no_stablehlo,
)
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.workloads.contract import NoiseSource

__all__ = ["command"]


def _line(made: Exported) -> str:
    from fathom_onnx.cli.render import size

    what = f"{made.path}  {made.framework} {made.mode}"
    values = f"  {size(made.values_bytes)} of values" if made.values_bytes else ""
    count = f"{made.nodes} {'nodes' if made.path.suffix == '.onnx' else 'operations'}"
    return f"{what}  {count}  {size(made.size_bytes)}{values}  {made.seconds:.1f} s"


@click.command("export")
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD|FILE.py:build]...")
@options.suite_option
@options.framework_option("torch")
@options.mode_option("all")
@options.configuration_options("paper")
@click.option(
    "--noise",
    type=click.Choice(["graph", "input"]),
    default="graph",
    show_default=True,
    help="Draw random tensors in the graph, or take them as inputs.",
)
@click.option("--rate-input", is_flag=True, help="Take the learning rate of training steps as an input, for schedules.")
@options.purpose_option("simulators")
@options.opset_option
@options.marks_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "stablehlo"]),
    default="onnx",
    show_default=True,
    help="ONNX, or of jax StableHLO: text in .mlir, bytecode where -o names a .mlirbc.",
)
@recipe_options
@options.output_option("graphs", "Folder for the files, or the file where one graph is made.")
@options.json_option
def command(
    workloads: tuple[str, ...],
    suite: str,
    framework: str,
    mode: str,
    preset: str,
    batch: int | None,
    changes: tuple[str, ...],
    noise: NoiseSource,
    rate_input: bool,
    purpose: Purpose,
    opset: int,
    marks: bool,
    form: str,
    accumulate: int | None,
    specialise: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Write the ONNX graphs of workloads, a suite's where none is named, and of models of your own.

    FILE.py:build, or package.module:build, is a function that returns (model, batch, loss, optimizer): any model's step
    becomes a graph. Its arguments are given by --set. What the model starts from is written beside its graph.

    A file is written whole or not at all. Where one graph fails the others are still made; the exit code is then that
    of the first failure.
    """
    from fathom_onnx.cli.render import print_json, progress

    chosen = choices.chosen_workloads(workloads, preset, batch, changes, suite, rate_input=rate_input)
    cells = choices.chosen_cells(chosen, framework, mode)
    endings = (".onnx",) if form == "onnx" else (TEXT, BYTECODE)
    one_file = output.suffix in endings and not output.is_dir()
    if one_file and len(cells) != 1:
        raise UsageError(f"'{output}' cannot hold {len(cells)} graphs", "name one workload and --mode, or a folder")
    for name in dict.fromkeys(name for _, name, _ in cells):  # before anything is written
        if not marks:
            refuse_no_marks(name)
        if form == "stablehlo":
            refuse_no_stablehlo(name)
    ensure_folder(output.parent if one_file else output)
    done: list[Exported] = []
    failed: list[FathomError] = []
    with progress(len(cells)) as (say, advance):
        for workload, name, one_mode in cells:
            say(f"{workload.name} {one_mode} from {name}")
            request = ExportRequest(workload, one_mode, noise, purpose, opset, marks)
            try:
                path = output if one_file else graph_path(output, workload.name, name, one_mode)
                if form == "stablehlo":
                    made = export_stablehlo(name, request, path if one_file else path.with_suffix(TEXT))
                else:
                    if not one_file:
                        refuse_replacing(path, workload)
                    made = export_file(name, request, path)
            except UsageError:
                raise  # would fail in the same way for every graph
            except FathomError as error:
                failed.append(error)
                tell(f"error: {error}", err=True)
            else:
                done.append(made)
                if not as_json:
                    tell(_line(made))
            advance()
    if as_json:
        print_json({"schema": "fathom-onnx/export/1", "graphs": [asdict(made) for made in done]})
    if failed:
        click.get_current_context().exit(failed[0].exit_code)
