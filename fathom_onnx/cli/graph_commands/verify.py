"""``fathom-onnx verify``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.cli.targets import recipe_options
from fathom_onnx.exporting import ExportRequest, Purpose, export_graph, refuse_no_marks
from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["command"]


@click.command("verify")
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD|FILE.py:build]...")
@click.option("--all", "_everything", is_flag=True, help="Every workload of the suite, as where none is named.")
@options.suite_option
@options.framework_option("usual")
@options.mode_option("all")
@options.configuration_options("tiny")
@options.purpose_option("simulators")
@options.opset_option
@options.marks_option
@recipe_options
@click.option("--steps", type=click.IntRange(min=1), default=5, show_default=True, help="Training steps to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, batches and noise.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="onnxruntime's threads.")
@click.option("--ep", default="cpu", show_default=True, help="Execution provider of the graphs: cpu or cuda.")
@options.json_option
def command(
    workloads: tuple[str, ...],
    _everything: bool,
    suite: str,
    framework: str,
    mode: str,
    preset: str,
    batch: int | None,
    changes: tuple[str, ...],
    purpose: Purpose,
    opset: int,
    marks: bool,
    accumulate: int | None,
    specialise: bool,
    steps: int,
    seed: int,
    threads: int,
    ep: str,
    as_json: bool,
) -> None:
    """Check graphs against their frameworks, and the graphs of two frameworks against each other.

    Each graph is read in float64 and run by onnxruntime in float32, from the same values as the framework's own step in
    both. Exit code 1 when a comparison is over its limit.
    """
    from fathom_onnx.cli.render import print_json, progress, table
    from fathom_onnx.runtime.providers.names import check_provider
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.verification import Check, verify, verify_pair

    check_provider(ep)  # before anything is exported

    chosen = choices.chosen_workloads(() if _everything else workloads, preset, batch, changes, suite)
    cells = choices.chosen_cells(chosen, framework, mode)
    if not marks:
        for name in dict.fromkeys(name for _, name, _ in cells):
            refuse_no_marks(name)
    shared: dict[str, Any] = {
        "steps": steps,
        "seed": seed,
        "settings": SessionSettings(ep, threads),
        "purpose": purpose,
        "opset": opset,
    }
    jobs: list[tuple[str, Callable[[Callable[[str], None]], Check]]] = []

    def add(workload: Workload, own: Sequence[tuple[str, Mode]]) -> None:
        for name, one_mode in own:

            def single(say: Callable[[str], None], m: Mode = one_mode, f: str = name) -> Check:
                graph = None if marks else export_graph(f, ExportRequest(workload, m, "input", purpose, opset, marks))
                return verify(workload, f, m, graph=graph, progress=say, **shared)

            jobs.append((f"{workload.name} {one_mode} {name}", single))
        for (first, one_mode), (second, other_mode) in itertools.combinations(own, 2):
            if one_mode != other_mode:
                continue

            def double(say: Callable[[str], None], m: Mode = one_mode, p: tuple[str, str] = (first, second)) -> Check:
                return verify_pair(workload, p, m, progress=say, **shared)

            jobs.append((f"{workload.name} {one_mode} {second} against {first}", double))

    for workload in chosen:
        add(workload, [(name, one_mode) for w, name, one_mode in cells if w is workload])
    checks: list[Check] = []
    with progress(len(jobs)) as (say, advance):
        for title, job in jobs:
            checks.append(job(lambda text, title=title: say(f"{title}: {text}")))  # type: ignore[misc]
            advance()
    if as_json:
        print_json({"schema": "fathom-onnx/verify/1", "provider": ep, "checks": [check.json() for check in checks]})
    else:
        columns = ("workload", "mode", "graph", "against", "result", "loss", "gradient", "update", "state", "float32")
        table("", columns, [_row(check) for check in checks], text=columns[:5])
        for check in checks:
            for fault in check.faults:
                tell(f"{check.workload} {check.mode} {check.left} against {check.right}: {fault}")
        presets = dict.fromkeys(f"preset {w.preset}" for w in chosen)
        passed = sum(check.passed for check in checks)
        tell(f"{passed} of {len(checks)} comparisons passed ({steps} steps, {', '.join(presets)}, on {ep})")
    if not all(check.passed for check in checks):
        click.get_current_context().exit(1)


def _row(check: object) -> list[str]:
    from fathom_onnx.verification import Check

    assert isinstance(check, Check)
    training = check.mode == "training"
    errors = (check.loss, check.gradient.error, check.update.error)
    return [
        check.workload,
        check.mode,
        check.left,
        check.right,
        "passed" if check.passed else "FAILED",
        *(f"{error:.1e}" if training else "" for error in errors),
        f"{check.state.error:.1e}",
        f"{check.single.error:.1f}x" if check.single.name else "",
    ]
