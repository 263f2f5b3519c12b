"""``fathom-onnx train``."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import ExportRequest, export_graph, purpose_for

from .train_progress import TrainProgress

if TYPE_CHECKING:
    from fathom_onnx.data.contract import Split
    from fathom_onnx.graph import Graph
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.training import Evaluation, TrainingRun

__all__ = ["command"]

_STOPPED = 130
"""Exit code of a run that a signal stopped, as shells give it for an interrupted command."""


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """While entered, SIGINT and SIGTERM ask the run to stop after the step that it takes; a second one ends it."""
    asked = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _graphs(
    target: str,
    framework: str,
    preset: str,
    batch: int | None,
    changes: tuple[str, ...],
    ep: str,
    evaluate: bool,
    play: bool,
    rate_input: bool,
) -> tuple[Graph, Graph | None]:
    """The training graph, and the inference graph of the same workload where one can be made and is wanted."""
    from fathom_onnx.data import workload_of
    from fathom_onnx.graph import load
    from fathom_onnx.training.metrics import METRICS

    if target.endswith(".onnx"):
        graph = load(Path(target))
        workload = workload_of(graph) if evaluate or play else None
        name = graph.metadata.framework if graph.metadata else ""
    else:
        chosen = choices.chosen_workloads([target], preset, batch, changes, rate_input=rate_input)
        cells = choices.chosen_cells(chosen, framework, "training")
        if len(cells) > 1:
            raise UsageError("train runs one graph", "name one framework")
        ((workload, name, _),) = cells
        graph = export_graph(name, ExportRequest(workload, "training", purpose=purpose_for(ep)))
    if workload is None or not (play or (evaluate and workload.name in METRICS)):
        return graph, None
    return graph, export_graph(name, ExportRequest(workload, "inference", purpose=purpose_for(ep)))


def _evaluations(
    graph: Graph,
    inference: Graph | None,
    source: str,
    seed: int,
    count: int,
    settings: SessionSettings,
    remark: Callable[[str], None],
) -> list[Evaluation]:
    from fathom_onnx.data import EXAMPLE, batches_for_graph
    from fathom_onnx.training import HeldOutLoss, InferenceMetrics

    if source == EXAMPLE:
        raise UsageError("the data are one example batch, and no other is held out", "leave out --eval-every")
    held_out = list(itertools.islice(batches_for_graph(graph, seed, source, split="held-out", remark=remark), count))
    found: list[Evaluation] = [HeldOutLoss(held_out)]
    return found if inference is None else [*found, InferenceMetrics(inference, held_out, settings)]


@click.command("train")
@click.argument("target", metavar="GRAPH.onnx|WORKLOAD|FILE.py:build")
@options.framework_option("torch")
@options.configuration_options("small")
@options.session_options
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True, help="Number of the last step.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, batches and draws.")
@click.option("--data", metavar="SOURCE|READER:PATH", help="Data source; the workload's own by default.")
@click.option(
    "--schedule",
    metavar="KIND|FILE.py:function|FILE.csv",
    help="Learning rate over the steps: [warmup:N,]constant, linear:N, cosine:N, exponential:G, step:N:G; or yours.",
)
@click.option("--play", is_flag=True, help="Let deepq play the game of its data source itself, instead of at random.")
@click.option(
    "--explore", type=click.IntRange(min=1), default=5000, show_default=True, help="Steps until a player has explored."
)
@click.option(
    "--refresh", type=click.IntRange(min=1), default=250, show_default=True, help="Steps between target networks."
)
@click.option(
    "--replay", type=click.IntRange(min=1), default=20_000, show_default=True, help="Transitions that a player keeps."
)
@click.option("--eval-every", type=click.IntRange(min=1), metavar="N", help="Evaluate on held-out data every N steps.")
@click.option(
    "--eval-batches", type=click.IntRange(min=1), default=8, show_default=True, help="Batches of an evaluation."
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path, file_okay=False), help="Folder of checkpoints, losses and metrics."
)
@click.option("--checkpoint-every", type=click.IntRange(min=1), metavar="N", help="Steps between checkpoints.")
@click.option("--keep", type=click.IntRange(min=1), default=2, show_default=True, help="Checkpoints that stay.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint of --checkpoint, where there is one.")
@click.option(
    "--tensorboard", type=click.Path(path_type=Path, file_okay=False), help="Folder of event files for TensorBoard."
)
@options.json_option
def command(
    target: str,
    framework: str,
    preset: str,
    batch: int | None,
    changes: tuple[str, ...],
    ep: str,
    threads: int | None,
    optimization: str,
    steps: int,
    seed: int,
    data: str | None,
    schedule: str | None,
    play: bool,
    explore: int,
    refresh: int,
    replay: int,
    eval_every: int | None,
    eval_batches: int,
    checkpoint: Path | None,
    checkpoint_every: int | None,
    keep: int,
    resume: bool,
    tensorboard: Path | None,
    as_json: bool,
) -> None:
    """Train a workload, a training graph, or a model of your own on its example batch.

    --data takes another source, or reads files of yours as READER:PATH: mnist, cifar10, images, babi, parallel, text,
    timit, criteo, ogb.

    --schedule changes the learning rate from step to step; a graph file must have it as an input (export --rate-input).

    With --eval-every it is evaluated on held-out data in its field's terms. With --checkpoint the state is kept, every
    --checkpoint-every steps and at the end; SIGINT and SIGTERM stop a run after the step that it takes, with a
    checkpoint, and the exit code is then 130. --resume goes on to the same values as without the interruption.
    """
    from fathom_onnx.cli.render import print_json, progress
    from fathom_onnx.data import batches_for_graph, named_source, source_for_graph
    from fathom_onnx.data.games.playable import GAMES
    from fathom_onnx.graph.files import write_text
    from fathom_onnx.runtime.environment import cpu_cores
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.study.table_files import write_parquet
    from fathom_onnx.training import (
        CheckpointFolder,
        CheckpointPlan,
        EpisodeReward,
        EvaluationPlan,
        Player,
        PlayPlan,
        Rates,
        read_schedule,
        train,
    )
    from fathom_onnx.training.figure import curves
    from fathom_onnx.training.record import LOSSES, METRICS, Record
    from fathom_onnx.training.tensorboard import EventFile

    if checkpoint is None and (resume or checkpoint_every):
        raise UsageError("there is no folder for checkpoints", "name one with --checkpoint")
    source_named = named_source(data) if data else None
    settings = SessionSettings(ep, threads or cpu_cores(), optimization)  # type: ignore[arg-type]
    graph, inference = _graphs(
        target, framework, preset, batch, changes, ep, bool(eval_every), play, schedule is not None
    )
    rates = Rates(graph, read_schedule(schedule, steps)) if schedule else None
    source = source_named or source_for_graph(graph)
    remarks: list[str] = []
    parts = (graph, inference, source.name, seed, eval_batches, settings, remarks.append)
    player, evaluations = None, _evaluations(*parts) if eval_every and not play else []
    if play:
        if source.name not in GAMES or inference is None:
            raise UsageError(f"'{source.name}' is no game that a workload can play", f"one of {', '.join(GAMES)}")
        game, plan = GAMES[source.name], PlayPlan(explore, memory=replay, refresh=refresh)
        player = Player(game, graph, inference, settings, seed, plan)
        evaluations = [EpisodeReward(game, inference, settings, eval_batches)] if eval_every else []
    # a run on a corpus never takes its held-out part, so that what it learned can be judged on that later
    split: Split = "training" if eval_every or source.on_disk else "all"
    kept = None
    if checkpoint:
        data_name = f"{source.name} ({player.plan if player else split})"
        kept = CheckpointPlan(CheckpointFolder(checkpoint, keep), checkpoint_every or 0, resume, data_name)
    with contextlib.ExitStack() as held_open:
        say, advance = held_open.enter_context(progress(steps))
        asked = held_open.enter_context(_signals())
        events = held_open.enter_context(EventFile(tensorboard)) if tensorboard else None
        told = TrainProgress(say, advance, steps)

        def on_step(number: int, loss: float) -> None:
            told.step(number, loss)
            if events:
                events.step(number, loss, float(rates.at(number)[rates.first]) if rates else None)

        def on_metrics(number: int, metrics: Mapping[str, float]) -> None:
            told.evaluated(number, metrics)
            if events:
                events.metrics(number, metrics)

        run = train(
            graph,
            () if player else batches_for_graph(graph, seed, source.name, split=split, remark=remarks.append),
            steps,
            settings,
            seed,
            on_step,
            evaluated=EvaluationPlan(evaluations, eval_every or 0, on_metrics),
            kept=kept,
            stop=asked.is_set,
            rates=rates,
            player=player,
        )
    if checkpoint and run.losses:
        record = Record(run.losses, run.metrics, list(run.rates))
        write_text(checkpoint / "curves.svg", curves(record, graph.name))
        write_parquet(checkpoint / LOSSES, record.loss_table())
        write_parquet(checkpoint / METRICS, record.metric_table())
    for remark in (*remarks, *run.remarks):
        tell(f"note: {remark}", err=True)
    if as_json:
        print_json(
            {
                "schema": "fathom-onnx/train/2",
                "graph": graph.name,
                "source": {"name": source.name, "kind": source.kind, "description": source.description},
                "steps": len(run.losses),
                "first_step": run.first_step,
                "interrupted": run.interrupted,
                "seconds": run.seconds,
                "waited_s": run.waited_s,
                "losses": run.losses,
                "schedule": rates.name if rates else None,
                "learning_rates": run.rates,
                "metrics": [{"step": s, "name": n, "value": v} for s, n, v in run.metrics],
                "checkpoint": str(checkpoint) if checkpoint else None,
            }
        )
    else:
        _print(run, f"{graph.name}: loss on {source.name} ({source.kind})")
    if run.interrupted:
        advice = f"go on with --resume from '{checkpoint}'" if checkpoint else "nothing was kept (--checkpoint)"
        tell(f"stopped after step {len(run.losses)} of {steps}; {advice}", err=True)
        click.get_current_context().exit(_STOPPED)


def _print(run: TrainingRun, title: str) -> None:
    from fathom_onnx.cli.render import table

    losses, last = run.losses, len(run.losses)
    marks = sorted({1, last, *(last * k // 10 for k in range(1, 10) if last * k // 10)})
    table(title, ("step", "loss"), [(str(step), f"{losses[step - 1]:z.4g}") for step in marks], ())
    if run.metrics:
        names = list(dict.fromkeys(name for _, name, _ in run.metrics))
        values = {(step, name): value for step, name, value in run.metrics}
        rows = [
            (str(step), *(f"{values[step, name]:z.4g}" if (step, name) in values else "" for name in names))
            for step in dict.fromkeys(step for step, *_ in run.metrics)
        ]
        table("On held-out data", ("step", *names), rows, ())
    taken = last - run.first_step + 1
    tell(f"{taken} steps in {run.seconds:.1f} s; loss {losses[0]:z.4g} to {losses[-1]:z.4g}")
