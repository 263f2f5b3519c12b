"""Ceilings for a run: measured with its settings, or checked to be of its kind."""

from __future__ import annotations

from fathom_onnx.analysis.paper.provider_comparison import OF_THE_WORK, node_times
from fathom_onnx.analysis.runs.roofline import computed_in
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.ceilings import Ceilings
from fathom_onnx.runtime.environment import cpu_cores, cpu_model
from fathom_onnx.runtime.speed.gauge import doubt

__all__ = ["ceilings_for", "check_ceilings", "check_node_times", "roofline_warnings"]


def check_node_times(run: Run, name: str) -> str:
    """The kind of a run's node times, which must be those of the work for it to have a roofline.

    Args:
        run: The run.
        name: What an error calls it.

    Raises:
        UsageError: The times are those of launching, or of a kind that is not told.
    """
    times = node_times(run.manifest, run.manifest["provider"])
    if times not in OF_THE_WORK:
        raise UsageError(
            f"the node times of run '{name}' are "
            + ("not told" if times == "unknown" else "those of launching kernels, not of running them"),
            "profile with a provider whose kernels are timed",
        )
    return times


def check_ceilings(ceilings: Ceilings, run: Run) -> None:
    """Refuse ceilings that were not measured with the provider and precision of the run.

    Raises:
        UsageError: The provider or the use of TensorFloat-32 differs.
    """
    provider, tf32 = run.manifest["provider"], run.manifest.get("tf32")
    for fact, of_ceilings, of_run in (
        ("provider", ceilings.facts["provider"], provider),
        ("TensorFloat-32", _on_off(ceilings.facts["tf32"]), _on_off(tf32)),
    ):
        if of_ceilings != of_run:
            fix = f"measure with 'ceilings --ep {provider}{' --tf32' if tf32 else ''}'"
            raise UsageError(f"the ceilings are of {fact} {of_ceilings}, the run of {of_run}", fix)


def roofline_warnings(ceilings: Ceilings, run: Run) -> tuple[str, ...]:
    """What makes the shares of the roof doubtful: conditions in which ceilings and run differ, and a busy machine."""
    device = {"cpu": "processor"} if run.manifest["provider"] == "cpu" else {"gpu": "device"}
    of_run = {**run.manifest, "gpu": (run.manifest.get("gpu") or {}).get("name")}
    names = {"threads": "threads", "onnxruntime": "onnxruntime", **device}
    found = [
        f"the run has {title} {of_run.get(name) or 'unknown'}, the ceilings {ceilings.facts[name] or 'unknown'}"
        for name, title in names.items()
        if ceilings.facts[name] != of_run.get(name)
    ]
    return (*found, *(f"in the run {line}" for line in doubt(run.manifest.get("gauge"))))


def _on_off(tf32: bool | None) -> str:
    return "unknown" if tf32 is None else "on" if tf32 else "off"


def ceilings_for(run: Run, anyway: bool = False) -> Ceilings:
    """Measure the ceilings of this machine with the settings of a run and in its number types; takes seconds.

    Args:
        run: The run.
        anyway: Whether to measure here though the run is from another machine.

    Raises:
        UsageError: The run is from another machine, and ``anyway`` is not set.
        RunError: onnxruntime fails.
    """
    from fathom_onnx.runtime.ceilings.measured import measure_ceilings
    from fathom_onnx.runtime.providers.gpu import gpu_facts
    from fathom_onnx.runtime.settings import SessionSettings

    manifest = run.manifest
    if manifest["provider"] == "cpu":
        run_device, this_device = manifest["cpu"], cpu_model()
    else:
        run_device, this_device = (str((facts or {}).get("name") or "") for facts in (manifest.get("gpu"), gpu_facts()))
    if (run_device != this_device or not run_device) and not anyway:
        raise UsageError(
            f"the run is from another machine ({run_device or 'unknown'}, this is {this_device or 'unknown'})",
            "give that machine's --ceilings FILE, or --measure to measure here anyway",
        )
    threads = manifest["threads"] or cpu_cores()
    settings = SessionSettings(manifest["provider"], threads, tf32=bool(manifest.get("tf32")))
    return measure_ceilings(settings, types=computed_in(run))
