"""``fathom-onnx ceilings``."""

from __future__ import annotations

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell

__all__ = ["command"]


@click.command("ceilings")
@click.option("--ep", default="cpu", show_default=True, help="Execution provider: cpu or cuda.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads inside an operator; all cores by default.")
@options.tf32_option
@options.json_option
def command(ep: str, threads: int | None, tf32: bool, as_json: bool) -> None:
    """Measure what onnxruntime reaches on this machine: GFLOP/s of large products, GB/s of large copies.

    Products are measured in float32, float16 and 8-bit integers, and copies also of data that stay in a cache. The best
    of several sizes counts. Keep the JSON in a file for 'roofline --ceilings FILE'.
    """
    from fathom_onnx.cli.render import print_json, progress, table
    from fathom_onnx.runtime.ceilings.measured import measure_ceilings
    from fathom_onnx.runtime.environment import cpu_cores
    from fathom_onnx.runtime.settings import SessionSettings

    settings = SessionSettings(ep, threads or cpu_cores(), tf32=tf32)
    with progress() as (say, _):
        say("products and copies")
        ceilings = measure_ceilings(settings)
    if as_json:
        print_json(ceilings.as_json())
        return
    facts = ceilings.facts
    device = "" if facts["provider"] == "cpu" else f"{facts['gpu'] or 'unknown device'}, "
    products = "" if facts["tf32"] is None else f", TensorFloat-32 {'on' if facts['tf32'] else 'off'}"
    tell(
        f"{device}{facts['cpu']}, provider {facts['provider']}, {facts['threads']} threads, onnxruntime "
        f"{facts['onnxruntime']}{products}"
    )
    rows = [
        (f"{s.op} {s.size}, {s.form}", f"{s.giga:.1f} GFLOP/s", f"{1e3 * s.seconds:.2f} ms", str(s.runs))
        for s in ceilings.products
    ]
    rows += [
        (
            f"{s.op}{' ' if s.form else ''}{s.form}, {s.work / 1e6:.3g} MB",
            f"{s.giga:.1f} GB/s",
            f"{1e3 * s.seconds:.3g} ms",
            str(s.runs),
        )
        for s in (*ceilings.copies, *ceilings.in_cache)
    ]
    table("", ("op", "best", "time", "runs"), rows, text=("op",))
    for kind, gflops in ceilings.arithmetic.items():
        best = ceilings.best_product(kind)
        tell(f"ceiling in {kind}: {gflops:.1f} GFLOP/s" + (f" ({best.op}, {best.form})" if best else ""))
    for kind, why in ceilings.not_measured.items():
        tell(f"no ceiling in {kind}: {why}")
    tell(f"ceiling of memory: {ceilings.gbytes:.1f} GB/s; it and float32 bind at {ceilings.ridge:.1f} FLOPs a byte")
