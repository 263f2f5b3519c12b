"""The command lines that repeat a study, which its report shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from fathom_onnx.exporting import frameworks as known_frameworks
from fathom_onnx.exporting import usual_frameworks

from .chosen import Chosen
from .plan import Options

__all__ = ["command_lines"]


def command_lines(
    folder: Path,
    options: Options,
    providers: Sequence[str],
    thread_counts: Sequence[int],
    chosen: Chosen,
    rounds: int,
    flags: Sequence[str],
) -> list[str]:
    """The command lines that repeat the study: one, or one a framework where some but not all of them are chosen.

    Models of the user's own are of one framework each, and in the line of that.
    """
    used = list(dict.fromkeys(c.framework for c in chosen.cells))
    modes = list(dict.fromkeys(c.mode for c in chosen.cells))
    common = ["--mode", modes[0] if len(modes) == 1 else "all", "--ep", ",".join(providers)]
    common += ["--threads", ",".join(map(str, thread_counts))]
    common += ["--rounds", str(rounds)]
    for name in ("steps", "warmup", "seed"):
        common += [f"--{name}", str(getattr(options, name))]
    common += flags
    own = chosen.models
    names = {model.name for model in own}
    of_definitions = dict.fromkeys(c.workload for c in chosen.cells if c.workload not in names)
    start = ["fathom-onnx", "study"]
    place = ["-o", str(folder), *(["--preset", options.preset] if of_definitions else [])]
    place += [part for n, v in (own[0].target.options if own else ()) for part in ("--set", f"{n}={v}")]
    several = {"all": set(known_frameworks()), "usual": set(usual_frameworks())}
    as_one = next(([name] for name, group in several.items() if len(used) > 1 and set(used) == group), used)
    lines = []
    for name in as_one:
        targets = [model.target.text for model in own if name in (*several, model.framework)]
        lines.append(shlex.join([*start, *of_definitions, *targets, *place, "--framework", name, *common]))
    return lines
