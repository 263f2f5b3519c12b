"""``fathom-onnx study``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.cli.targets import refuse_preset

if TYPE_CHECKING:
    from fathom_onnx.study import StudyResult

__all__ = ["command"]


@click.command("study")
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD|FILE.py:build]...")
@options.suite_option
@options.framework_option("usual")
@options.mode_option("all")
@options.preset_option("small")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="An argument of FILE.py:build; may repeat.")
@options.list_option(
    "--ep", options.text_list, None, "Execution providers: cpu, cuda, all; every one that works here by default."
)
@options.cuda_options
@options.list_option("--threads", options.count_list, None, "Threads inside an operator; 1 and all cores by default.")
@options.measuring_options_of(4, 2, " in a round")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each run is measured, in a process of its own.",
)
@click.option("--no-verify", is_flag=True, help="Leave verification out.")
@click.option("--no-native", is_flag=True, help="Leave out the runs in the frameworks themselves.")
@click.option("--compiled", is_flag=True, help="Time the steps that torch.compile and XLA make, too; takes minutes.")
@click.option(
    "--values",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Checkpoints in WORKLOAD or WORKLOAD-FRAMEWORK: run these with their values, too.",
)
@click.option(
    "--figures",
    type=click.Choice(["pdf", "svg", "png"]),
    help="Write the paper's figures as files too, sized for two columns, with their data as CSV.",
)
@options.output_option("study", "Folder of the study.")
@options.json_option
def command(
    workloads: tuple[str, ...],
    suite: str,
    framework: str,
    mode: str,
    preset: str,
    changes: tuple[str, ...],
    ep: tuple[str, ...] | None,
    tf32: bool,
    serialize: bool,
    threads: tuple[int, ...] | None,
    steps: int,
    warmup: int,
    seed: int,
    rounds: int,
    no_verify: bool,
    no_native: bool,
    compiled: bool,
    values: Path | None,
    figures: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Export, verify, profile and compare workloads, a suite's where none is named, and write a report.

    A FILE.py:build among them is a model of your own: it is verified and profiled like a workload, and placed among
    those of the study.

    Prints whether the framework matters, then the paper's claims with our numbers. Work that was already done with the
    same inputs is not repeated. A cell that fails is recorded and the others go on; the exit code is then 1.
    """
    from fathom_onnx.cli.render import print_json
    from fathom_onnx.study import run_study
    from fathom_onnx.workloads import names

    from .live import print_events, print_waiting

    refuse_preset(workloads)
    with print_events() as on_event:
        result = run_study(
            output,
            preset,
            workloads or names(suite),
            choices.named_frameworks([framework]),
            None if mode == "all" else [mode],
            ep=ep,
            tf32=tf32,
            serialize=serialize,
            threads=threads,
            rounds=rounds,
            steps=steps,
            warmup=warmup,
            seed=seed,
            verify=not no_verify,
            native=not no_native,
            compiled=compiled,
            values=values,
            target_options=options.pairs(changes, "NAME=VALUE"),
            on_event=on_event,
            on_wait=print_waiting,
        )
    if as_json:
        print_json(result.json())
    else:
        _print(result)
    if figures is not None:
        from fathom_onnx.study.figure_files import write_figures

        for path in write_figures(result, figures):
            tell(f"figure: {path}", err=True)
    if not result.ok:
        click.get_current_context().exit(1)


def _print(result: StudyResult) -> None:
    tell(f"verdict: {result.verdict}")
    for finding in result.findings:
        tell(finding)
    tell("\nThe paper's claims")
    for entry in result.ledger:
        tell(str(entry))
    for level in result.framework:
        tell(f"\nWhere frameworks differ most by {level.what}")
        for difference in level.differences:
            tell(str(difference))
    tell(f"report: {result.report}")
