"""Inputs by number, and what their readers make of them."""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import traceback
import warnings
from pathlib import Path
from typing import Any

from batches import Judged

from fathom_onnx.convert.onnx_files import samples
from fathom_onnx.errors import FathomError

from . import bytes as of_bytes
from . import seeds, twists
from .readers import READERS, Reader

__all__ = ["LONGEST_S", "died", "judge", "keep", "made", "prepare", "readable", "warm"]

LONGEST_S = 10
"""Seconds of the processor that an input may take."""

MOST_BYTES = 10**9
"""Memory that the inputs of a process may take beside what it has before; address space counts, of which half a
gigabyte more may be asked for without being used."""


class Slow(BaseException):
    """An input took too long."""


def made(kind: str, number: int) -> tuple[str, bytes]:
    """The kind of file and the content of an input.

    Args:
        kind: ``structure`` or ``bytes``.
        number: Its number, which says all about it (with the versions of the packages that the seeds are from).
    """
    chosen = random.Random(f"{kind}:{number}")
    if kind == "structure":
        first, second = chosen.choice(seeds.graphs()), chosen.choice(seeds.graphs())
        return "graph", twists.twisted(first, second, chosen)
    name = chosen.choice(("graph", "graph", *seeds.others()))
    several = seeds.graphs() if name == "graph" else seeds.others()[name]
    return name, of_bytes.damaged(chosen.choice(several), chosen.choice(several), chosen)


def warm(place: Path) -> None:
    """Load the seeds, and what reads them, before processes fork."""
    for of, data in (("graph", seeds.graphs()[0]), *((of, files[0]) for of, files in seeds.others().items())):
        reader, path = readable(of, data, place / "input")
        with contextlib.suppress(FathomError):
            reader(path)


def readable(of: str, data: bytes, path: Path) -> tuple[Reader, Path]:
    """The reader of a kind of file, and the file, whose path begins so."""
    suffix, reader = READERS[of]
    path = Path(f"{path}{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return reader, path


def keep(kind: str, number: int, path: Path) -> None:
    """Write an input to a path that begins so."""
    readable(*made(kind, number), path)


def prepare() -> None:
    """Limit the memory of this process, and set what ends an input that takes too long."""

    def too_slow(*_: Any) -> None:
        raise Slow

    warnings.simplefilter("ignore")
    samples.LONGEST_S = LONGEST_S / 4  # what ends a loop is tried, not how patient it is
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES + 2**29, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, too_slow)


def judge(kind: str, number: int, place: Path) -> Judged:
    """Make an input and give it to its reader.

    Args:
        kind: The kind.
        number: Its number.
        place: A folder for its file.
    """
    of, data = made(kind, number)
    reader, path = readable(of, data, place / "input")
    finding = None
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        reader(path)
        outcome = "read"
    except FathomError as error:
        outcome = "refused"
        if "\n" in str(error):
            finding = "a refusal of several lines"
    except (Exception, Slow) as error:  # whatever it is, it is what is looked for
        outcome, finding = "failed", f"{_where(error)}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Judged((outcome, of), finding)


def died(how: str) -> Judged:
    """What came of an input whose process died."""
    return Judged(("failed",), f"a process ended by {how}")


def _where(error: BaseException) -> str:
    """What tells findings apart: the kind of error, and the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "fathom_onnx" in f.filename] or frames
    last = ours[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.name}"
