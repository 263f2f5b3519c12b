"""``fathom-onnx profile --runtime``: a workload's step in its framework itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from fathom_onnx.cli import choices
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.native import native_frameworks
from fathom_onnx.recipes.target import is_target

from .report import say_what_is_kept

if TYPE_CHECKING:
    from fathom_onnx.analysis.runs.compiled import CompiledRun
    from fathom_onnx.analysis.runs.native_run import NativeRun

__all__ = ["ONNXRUNTIME", "profile_by_framework", "runtime_option"]

F = TypeVar("F", bound=Callable[..., Any])

ONNXRUNTIME = "onnxruntime"
"""The runtime that is not a framework."""

_NOT_NATIVE = {
    "framework": "--framework",
    "ep": "--ep",
    "optimization": "--optimization",
    "dims": "--dim",
    "allow_fallback": "--allow-fallback",
    "tf32": "--tf32",
    "serialize": "--serialize",
}
"""Options that only mean something to onnxruntime, by parameter."""


def runtime_option(command: F) -> F:
    """``--runtime`` and ``--compiled``."""
    compiled = click.option(
        "--compiled",
        is_flag=True,
        help="With --runtime: as the framework's own compiler makes it, torch.compile or XLA.",
    )
    runtime = click.option(
        "--runtime",
        default=ONNXRUNTIME,
        show_default=True,
        help="onnxruntime, or the framework that runs the workload itself: torch, tensorflow or jax.",
    )
    return runtime(compiled(command))


def profile_by_framework(context: click.Context) -> None:
    """Profile the workload that ``profile`` was given in the framework that ``--runtime`` names.

    Raises:
        UnknownNameError: No such runtime or workload.
        UsageError: An option that only onnxruntime has, a graph file, or more than one mode.
    """
    given: dict[str, Any] = context.params
    runtime, target, output = given["runtime"], given["target"], given["output"]
    if is_target(target):
        raise UsageError(
            f"'{target}' is not run in {runtime} by this command", "leave out --runtime, or run it yourself"
        )
    known = native_frameworks()
    if runtime not in known:
        raise UnknownNameError("runtime", runtime, (ONNXRUNTIME, *known))
    for name, option in _NOT_NATIVE.items():
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP):
            raise UsageError(f"{option} is for onnxruntime and not for --runtime {runtime}", f"leave {option} out")
    if target.endswith(".onnx") or Path(target).exists():
        raise UsageError(f"'{target}' is a graph, which {runtime} does not run", "name a workload, or leave --runtime")
    modes = choices.chosen_modes(given["mode"])
    if len(modes) > 1:
        raise UsageError("profile runs one step", "name one mode")
    (workload,) = choices.chosen_workloads([target], given["preset"], given["batch"], given["changes"])

    from fathom_onnx.cli.render import print_json, progress
    from fathom_onnx.native_profiling import profile_compiled, profile_native

    measure: Callable[..., NativeRun | CompiledRun] = profile_compiled if given["compiled"] else profile_native
    with progress() as (say, _):
        run = measure(
            workload,
            runtime,
            modes[0],
            threads=given["threads"],
            warmup=given["warmup"],
            steps=given["steps"],
            seed=given["seed"],
            folder=output,
            progress=lambda text, done, total: say(f"{text} {done} of {total}"),
        )
    summary = run.summary()
    if given["as_json"]:
        print_json(summary)
    elif given["compiled"]:
        _print_compiled(summary, given["top"])
    else:
        _print(summary, given["top"])
    say_what_is_kept(output, given["html"])


def _print(s: dict[str, Any], top: int) -> None:
    from fathom_onnx.cli.render import table, time_us
    from fathom_onnx.runtime.speed.gauge import gauge_line

    told = " ".join(s[key] for key in ("workload", "mode", "preset"))
    tell(f"{told} in {s['framework']} {s['framework_version']}, {s['threads']} threads")
    tell(f"data: {s['data']['source']} ({s['data']['kind']}); {s['steps']} steps after {s['warmup']} of warm-up")
    way = f" ({s['profiled_as']})" if s["profiled_as"] else ""
    if way:
        tell(f"profiled: {s['profiled_as']}")
    rows = [
        ("step, unprofiled", s["control_us"], "as the framework runs it by default"),
        ("step, unprofiled, profile's settings", s["comparable_us"], s["profiled_as"]),
        ("step, profiled", s["step_us"], f"profiling adds {time_us(s['profiling_overhead_us'])}"),
        ("run inside the profile", s["run_time_us"], ""),
        ("  in operations", s["op_time_us"], f"{s['explained_share']:.1%} of the comparable unprofiled step"),
        ("    of it split", s["split_us"], "gradients of one operation, split by runs of each alone"),
        ("    of unknown phase", s["unknown_phase_us"], ""),
        ("    of unknown layer", s["unknown_layer_us"], ""),
        ("  outside operations", s["outside_us"], "dispatch, scheduling, Python"),
    ]
    total = s["run_time_us"]
    cells = [
        (name, time_us(us), f"{us / total:.1%}" if total and name.startswith(" ") else "", note)
        for name, us, note in rows
    ]
    table("Time", ("", "median", "share", "note"), cells, text=("", "note"))
    if line := gauge_line(s):
        tell(line)
    for key, title in (
        ("by_phase", "phase"),
        ("by_class", "class"),
        ("by_op", "op"),
        ("by_framework_op", "framework operation"),
        ("by_layer", "layer"),
    ):
        _print_groups(title, way, s[key], len(s[key]) if key in ("by_phase", "by_class") else top)


def _print_compiled(s: dict[str, Any], top: int) -> None:
    from fathom_onnx.cli.render import table, time_us

    told = " ".join(s[key] for key in ("workload", "mode", "preset"))
    tell(f"{told} in {s['framework']} {s['framework_version']}, {s['threads']} threads")
    tell(f"data: {s['data']['source']} ({s['data']['kind']}); {s['steps']} steps after {s['warmup']} of warm-up")
    tell(f"compiler: {s['compiler']}; the first step took {s['compile_s']:.1f} s longer")
    low, high = s["quartiles_us"]
    rows = [
        ("step", time_us(s["step_us"]), f"half of them between {time_us(low)} and {time_us(high)}"),
        ("fastest", time_us(s["fastest_us"]), ""),
        ("slowest", time_us(s["slowest_us"]), ""),
    ]
    table("Time", ("", "median", "note"), rows, text=("", "note"))
    if s["by_kind"] is not None:
        kinds = [
            (name, time_us(k["us"]), f"{k['share']:.1%}", str(k["kernels"]), str(k["calls"]))
            for name, k in s["by_kind"].items()
        ]
        table("By kind of kernel", ("kind", "median", "share", "kernels", "calls"), kinds, text=("kind",))
        kernels = [(k["name"], k["kind"], k["op"], time_us(k["us"]), str(k["calls"])) for k in s["kernels"][:top]]
        columns = ("kernel", "kind", "op", "median", "calls")
        table("Kernels under the profiler", columns, kernels, text=columns[:3])
    tell(f"unknown: {s['unknown']}")


def _print_groups(title: str, way: str, groups: list[dict[str, Any]], top: int) -> None:
    from fathom_onnx.cli.render import table, time_us
    from fathom_onnx.vocabulary import OpClass

    titles = {c.value: f"{c.value} {c.label}" for c in OpClass}
    body = [
        (titles.get(g["name"], g["name"]), time_us(g["us"]), f"{g['share']:.1%}", f"{g['calls']:g}")
        for g in groups[:top]
    ]
    if rest := groups[top:]:
        us = sum(g["us"] for g in rest)
        body.append((f"{len(rest)} more", time_us(us), f"{sum(g['share'] for g in rest):.1%}", ""))
    table(f"By {title}{way}", (title, "median", "share", "calls"), body, text=(title,))
