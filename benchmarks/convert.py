"""Convert every committed graph to every format, and print what it takes and what is kept.

    python benchmarks/convert.py                          # all graphs, all formats; 'batch' exports anew
    python benchmarks/convert.py residual --to chakra     # graphs whose path holds a word, some formats

Seconds are from the graph file to the last file on disk, of which ``CPU s`` were spent computing; ``disk`` is what the
files take, without the holes of sparse ones. The multiply-accumulates of the SCALE-Sim rows are added up and have to be
the cost model's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fathom_onnx.convert import CONVERTERS, find_converter
from fathom_onnx.convert.write import ConversionJob, convert_file
from fathom_onnx.runtime.environment import cpu_cores, cpu_model

GRAPHS = Path(__file__).resolve().parent.parent / "graphs"
LIMIT_SECONDS = 20

VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "initializers": ({}, {"values": "seed"}),
    "batch": ({"batch": 1},),
}
"""Format to the options it is measured with; the defaults where it is not listed."""


def written_macs(path: Path) -> int:
    """Multiply-accumulates of a SCALE-Sim topology, by its rows."""
    total = 0
    for line in path.read_text().splitlines()[1:]:
        numbers = [int(cell) for cell in line.split(",")[1:-1]]
        if len(numbers) == 3:
            total += numbers[0] * numbers[1] * numbers[2]
        else:
            height, width, kernel_h, kernel_w, channels, filters, stride = numbers
            out = -(-(height - kernel_h + stride) // stride) * -(-(width - kernel_w + stride) // stride)
            total += out * kernel_h * kernel_w * channels * filters
    return total


def share(value: float | None) -> str:
    """A share of a whole, or that it is not known."""
    return "unknown" if value is None else f"{value:.1%}"


def measured(paths: list[Path], formats: list[str]) -> Iterator[tuple[float, list[str]]]:
    """(seconds, row of the table) of each graph, format and variant."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            for name in formats:
                for options in VARIANTS.get(name, ({},)):
                    converter = find_converter(name)
                    job = ConversionJob(path, Path(folder), "graph", converter.suffix)
                    started, cpu_started = time.perf_counter(), time.process_time()
                    made = convert_file(job, converter, options)
                    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
                    files = [Path(row["path"]) for row in made["files"]]
                    if name == "scalesim" and written_macs(files[0]) != made["kept"]["macs"]:
                        raise SystemExit(f"{path}: rows and cost model differ")
                    size = sum(row["size_bytes"] for row in made["files"])
                    disk = sum(file.stat().st_blocks * 512 for file in files)
                    variant = " ".join(f"{k} {v}" for k, v in options.items())
                    yield (
                        seconds,
                        [
                            path.relative_to(GRAPHS).as_posix(),
                            f"{name} {variant}".strip(),
                            f"{seconds:.2f}",
                            f"{cpu:.2f}",
                            f"{size / 1e3:,.0f}",
                            f"{disk / 1e3:,.0f}",
                            share(made["macs_kept"]),
                            share(made["bytes_kept"]),
                        ],
                    )
                    for file in files:
                        file.unlink()


def main() -> int:
    """Print the table; 1 where a conversion took longer than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only graphs whose path holds one of these")
    parser.add_argument("--to", action="append", choices=list(CONVERTERS), help="only these formats; may repeat")
    given = parser.parse_args()
    paths = sorted(p for p in GRAPHS.rglob("*.onnx") if not given.words or any(w in str(p) for w in given.words))
    print(f"Measured on {cpu_model()}, {cpu_cores()} cores, Python {sys.version.split()[0]}.\n")
    print("| graph | format | s | CPU s | kB | kB on disk | MACs kept | bytes kept |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    slow = []
    for seconds, row in measured(paths, given.to or list(CONVERTERS)):
        print("| " + " | ".join(row) + " |", flush=True)
        if seconds > LIMIT_SECONDS:
            slow.append(f"{row[0]} to {row[1]}: {row[2]} s")
    print(f"\nOver {LIMIT_SECONDS} s: {'; '.join(slow) or 'none'}.")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
