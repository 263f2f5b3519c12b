"""Stages that do nothing slow, and workers that do it at once in this process, for tests of studies and sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

from fathom_onnx.errors import one_line
from fathom_onnx.study import CallOutcome, FinishedRun, Job, Stage, Stages, StudyResult, WorkerCall, run_study
from support.runs.summaries import spent, summary

OPS = {"autoenc": {"MatMul": 90.0, "Add": 10.0}, "residual": {"Conv2D": 95.0, "Add": 5.0}}


class World:
    """What the stages of a test do, and a record of all they did."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.broken: dict[tuple[str, str], BaseException] = {}
        self.passes = True
        self.version = "1"
        self.ops: dict[str, dict[str, float]] = OPS
        self.ops_on: dict[str, dict[str, dict[str, float]]] = {}
        self.ops_trained: dict[str, dict[str, float]] = {}
        """Workload to its ops with trained values, where they are not the usual ones."""
        self.faster: dict[str, float] = {}
        self.node_times: dict[str, str] = {"cpu": "kernel", "cuda": "device"}
        self.ops_in: dict[tuple[str, str, int], dict[str, float]] = {}
        """(Workload, framework, round) to the ops of that round, where they are not the usual ones."""
        self.speed_in: dict[int, list[float]] = {}
        """Round to the readings of the speed gauge in it, which the step's time follows."""

    def _work(self, stage: str, job: Job) -> None:
        what = f"{stage} {job.cell}" + (f" with {len(job.others)}" if job.others else "")
        what += f" round {job.round}" if job.round else ""
        self.did.append(what)
        for name in (str(job.cell), job.name):
            if (stage, name) in self.broken:
                raise self.broken[stage, name]

    def export(self, job: Job) -> dict[str, Any]:
        self._work("export", job)
        job.graph().parent.mkdir(parents=True, exist_ok=True)
        job.graph().write_text(str(job.cell))
        return {"path": str(job.graph())}

    def verify(self, job: Job) -> dict[str, Any]:
        self._work("verify", job)
        return {"checks": [{"name": f"check {job.cell}", "passed": self.passes, "detail": "fine"}]}

    def compare(self, job: Job) -> dict[str, Any]:
        self._work("compare", job)
        return {"checks": [{"name": f"compare {job.cell}", "passed": True, "detail": "same"}]}

    def profile(self, job: Job) -> dict[str, Any]:
        self._work("profile", job)
        job.output.mkdir(parents=True)
        o = job.options
        return {
            "folder": f"{job.output.name}-{job.round}",
            "cell": list(astuple(job.cell)),
            "threads": o.threads,
            "ep": o.ep,
            "tf32": o.tf32,
            "trained": job.values is not None,
        }

    def pool(self, job: Job) -> dict[str, Any]:
        self._work("pool", job)
        job.output.mkdir(parents=True)
        rounds = [int(folder.name.rpartition("-")[2]) for folder in job.rounds]
        o = job.options
        return {
            "folder": job.output.name,
            "cell": list(astuple(job.cell)),
            "threads": o.threads,
            "ep": o.ep,
            "tf32": o.tf32,
            "rounds_of": rounds,
            "trained": job.values is not None,
        }

    def structure(self, job: Job) -> dict[str, Any]:
        self._work("structure", job)
        ops = self.ops[job.cell.workload]
        return {"ops": ops, "nodes": {op: [[f"forward/x/{op}", 1.0]] for op in ops}, "unknown": 1}

    def read(self, folder: Path, result: dict[str, Any]) -> FinishedRun:
        if ("read", "") in self.broken:
            raise self.broken["read", ""]
        workload, framework, mode = result["cell"]
        ep = result["ep"]
        ops = self.ops_on.get(ep, self.ops)[workload]
        if result["trained"]:
            ops = self.ops_trained.get(workload, ops)
        step = (200.0 if mode == "training" else 100.0) / (self.faster.get(workload, 1.0) if ep != "cpu" else 1.0)
        facts = {"control_us": step, "node_time_us": sum(ops.values()), "threads": result["threads"], "provider": ep}
        numbers = result.get("rounds_of") or [0]
        several = [self.ops_in.get((workload, framework, number), ops) for number in numbers]
        mix = spent(workload, framework, mode, several)
        if len(numbers) > 1:
            mix = replace(mix, rounds=(1,) * len(numbers))
            facts["rounds"] = [self._round(step, number) for number in numbers]
        read = summary(workload, framework, mode, facts, **ops)
        manifest = {"cpu": "test", "provider": ep, "node_times": self.node_times[ep]}
        if ep != "cpu":
            manifest |= {"gpu": {"name": "Test <GPU>", "driver": None, "wheels": ["a", "b"]}, "tf32": result["tf32"]}
        return FinishedRun(read, manifest, mix)

    def _round(self, step: float, number: int) -> dict[str, Any]:
        """What the summary of a pooled run says of a round."""
        readings = self.speed_in.get(number, [1.0, 1.0])
        spread = max(readings) / min(readings) - 1
        gauge = {"readings_us": readings, "spread": spread, "steady": spread <= 0.1}
        us = step * readings[0]
        return {"steps": 1, "control_us": us, "step_us": us, "gauge": gauge}

    def stages(self) -> Stages:
        def graph_inputs(job: Job) -> dict[str, Any]:
            return {"cell": str(job.cell), "version": self.version, "changes": job.options.changes}

        def inputs(job: Job) -> dict[str, Any]:
            return {**graph_inputs(job), **asdict(job.options), "values": str(job.values)}

        return Stages(
            export=Stage("export", self.export, graph_inputs, lambda job, result: job.graph().is_file()),
            verify=Stage("verify", self.verify, inputs),
            compare=Stage("compare", self.compare, inputs, spread=True),
            structure=Stage("structure", self.structure, graph_inputs),
            profile=Stage("profile", self.profile, inputs),
            read=self.read,
            pool=Stage("pool", self.pool, lambda job: {**inputs(job), "rounds": [p.name for p in job.rounds]}),
        )

    def with_natives(self) -> Stages:
        """The stages with the frameworks' own runs, which take half the time."""

        def prepare(job: Job) -> dict[str, Any]:
            self._work("prepare", job)
            return {}

        def native(job: Job) -> dict[str, Any]:
            self._work("native", job)
            job.output.mkdir(parents=True)
            return {"folder": job.output.name, "cell": list(astuple(job.cell)), "threads": job.options.threads}

        def read(folder: Path, result: dict[str, Any]) -> FinishedRun:
            workload, framework, mode = result["cell"]
            ops = {op: us / 2 for op, us in self.ops[workload].items()}
            facts = {"control_us": 50.0, "step_us": 60.0, "op_time_us": sum(ops.values()), "explained_share": 0.8}
            return FinishedRun(
                summary(workload, framework, mode, facts, **ops), {}, spent(workload, framework, mode, [ops])
            )

        def inputs(job: Job) -> dict[str, Any]:
            return {"cell": str(job.cell), **asdict(job.options)}

        return replace(
            self.stages(),
            prepare=Stage("prepare", prepare, inputs, spread=True, by_workload=True),
            native=Stage("native", native, inputs),
            read_native=read,
        )

    def with_compiled(self) -> Stages:
        """The stages with the frameworks' own runs and compiled steps, in which TensorFlow takes twice as long."""

        def compiled(job: Job) -> dict[str, Any]:
            self._work("compiled", job)
            job.output.mkdir(parents=True)
            return {"folder": job.output.name, "cell": list(astuple(job.cell))}

        def read(folder: Path, result: dict[str, Any]) -> FinishedRun:
            workload, framework, mode = result["cell"]
            shown = framework == "torch"
            kinds = {"generated": {"us": 6.0, "share": 0.6, "kernels": 1, "calls": 3}} if shown else None
            facts = {"step_us": 10.0 if shown else 20.0, "compile_s": 1.5, "by_kind": kinds}
            words = {"compiler": f"compiler of {framework}", "unknown": "most of it"}
            return FinishedRun({"workload": workload, "framework": framework, "mode": mode, **facts, **words}, {}, None)

        def inputs(job: Job) -> dict[str, Any]:
            return {"cell": str(job.cell), **asdict(job.options)}

        return replace(self.with_natives(), compiled=Stage("compiled", compiled, inputs), read_compiled=read)


class Inline:
    """Workers that do calls at once in this process; a KeyboardInterrupt goes through, as it does from the terminal."""

    def __init__(self) -> None:
        self.lanes: list[tuple[str, bool]] = []
        self.groups: list[str] = []

    def run(self, calls: Sequence[WorkerCall], fresh: bool = False) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
        for call in calls:
            self.lanes.append((" or ".join(call.lanes), fresh))
            self.groups.append(call.group)
            yield call, None
            try:
                yield call, CallOutcome(call.function(call.argument), "", 0.5)
            except Exception as error:
                yield call, CallOutcome(None, one_line(error), 0.5)


def conduct(folder: Path, world: World, inline: Inline | None = None, **options: Any) -> StudyResult:
    """Run a study of two workloads in a world, at once and in this process."""

    @contextmanager
    def workers(logs: Path) -> Iterator[Inline]:
        yield inline or Inline()

    usual = {"preset": "tiny", "workloads": ["autoenc", "residual"], "modes": ["inference"], "threads": 2, "rounds": 1}
    return run_study(folder, workers=workers, **{"stages": world.stages(), **usual, **options})
