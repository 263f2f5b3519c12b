"""The commands that are killed: how each is called, and what has to hold of its files after every kill."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from calls import call

from fathom_onnx.analysis.runs import Run
from fathom_onnx.errors import FathomError

__all__ = ["SUBJECTS", "Subject"]


class Subject(ABC):
    """A command whose arguments change from turn to turn, so that there is always something to write.

    Args:
        place: An empty folder.
    """

    shortest = False
    """Whether a turn is one result, so that each kill has a turn of its own; else kills follow each other in it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.output = place / "out"
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make what has to be there before the first call."""

    @abstractmethod
    def command(self, turn: int) -> list[str]:
        """The arguments of ``fathom-onnx`` in a turn."""

    @abstractmethod
    def check(self) -> list[str]:
        """What is wrong with the files, one line a fault; called after every kill and at the end of every turn."""


class Export(Subject):
    """Two graphs over two older ones, of another batch size: each file is the old graph or the new one."""

    shortest = True

    def prepare(self) -> None:
        """Export both kinds undisturbed: an export gives the same bytes each time."""
        self._known: dict[str, set[bytes]] = {}
        for turn in (0, 1):
            place = self.place / f"whole-{turn}"
            call(self._command(turn, place))
            for path in place.iterdir():
                self._known.setdefault(path.name, set()).add(path.read_bytes())
        call(self._command(0, self.output))

    def command(self, turn: int) -> list[str]:
        """Batches of 2 and 3 in turns."""
        return self._command(turn % 2, self.output)

    def check(self) -> list[str]:
        """Compare each file with both kinds."""
        found = {path.name: path.read_bytes() for path in self.output.glob("[!.]*")}
        missing = [f"{name} is gone" for name in self._known if name not in found]
        return missing + [f"{name} is no whole graph" for name in found if found[name] not in self._known.get(name, ())]

    @staticmethod
    def _command(turn: int, place: Path) -> list[str]:
        options = ["--framework", "torch", "--mode", "all", "--preset", "tiny", "--batch", str(2 + turn)]
        return ["export", "autoenc", *options, "-o", str(place)]


class Profile(Subject):
    """A run folder over an older one: it is the old run or the new one, whole."""

    shortest = True

    def prepare(self) -> None:
        """Export a graph, and profile it once."""
        self._graph = _training_graph(self.place)
        call(self.command(0))

    def command(self, turn: int) -> list[str]:
        """Another seed each time, which tells the runs apart."""
        options = ["--threads", "1", "--warmup", "1", "--steps", "5", "--seed", str(turn)]
        return ["profile", str(self._graph), *options, "-o", str(self.output)]

    def check(self) -> list[str]:
        """Read the run, whose files have hashes."""
        return _faults_of_run(self.output)


class Sweep(Subject):
    """Jobs in the folder of the jobs before: nothing that was finished is lost or done again."""

    def prepare(self) -> None:
        """Nothing is kept yet."""
        self._kept: dict[Path, bytes] = {}

    def command(self, turn: int) -> list[str]:
        """Another seed each turn: the graphs are there, the runs are new."""
        options = ["--framework", "torch", "--preset", "tiny", "--batch", "2,3", "--threads", "1", "--steps", "2"]
        return ["sweep", "autoenc", *options, "--seed", str(turn), "-o", str(self.output)]

    def check(self) -> list[str]:
        """Read every file: results that were there are there as they were, tables and runs are whole."""
        faults = []
        results = {path: path.read_bytes() for path in self.output.glob("cells/*/[!.]*.json")}
        for path, data in self._kept.items():
            if results.get(path) != data:
                faults.append(f"{path.name} is {'changed' if path in results else 'gone'}")
        self._kept = {path: data for path, data in results.items() if not path.name.endswith(".error.json")}
        faults += [f"{path.name}: an error" for path in results if path.name.endswith(".error.json")]
        for path in self.output.rglob("*"):
            if path.name.startswith(".") or any(part.startswith(".") for part in path.relative_to(self.output).parts):
                continue
            if path.name == "manifest.json":
                faults += _faults_of_run(path.parent)
            elif path.suffix == ".json":
                faults += _faults_of_text(path, json.loads)
            elif path.suffix == ".csv":
                faults += _faults_of_text(path, lambda text: list(csv.reader(text.splitlines(), strict=True)))
        return faults


class Study(Sweep):
    """The same of a study."""

    def command(self, turn: int) -> list[str]:
        """One workload from one framework, another seed each turn."""
        options = ["--framework", "torch", "--preset", "tiny", "--threads", "1", "--steps", "2", "--rounds", "1"]
        return ["study", "autoenc", *options, "--no-native", "--seed", str(turn), "-o", str(self.output)]


def _training_graph(place: Path) -> Path:
    options = ["--framework", "torch", "--mode", "training", "--preset", "tiny"]
    call(["export", "autoenc", *options, "-o", str(place / "graphs")])
    (graph,) = (place / "graphs").iterdir()
    return graph


def _faults_of_run(folder: Path) -> list[str]:
    try:
        Run.load(folder)
    except FathomError as error:
        return [str(error)]
    return []


def _faults_of_text(path: Path, read: Callable[[str], object]) -> list[str]:
    try:
        read(path.read_text("utf-8"))
    except (ValueError, csv.Error) as error:
        return [f"{path.name} is not whole: {error}"]
    return []


SUBJECTS: dict[str, type[Subject]] = {"export": Export, "profile": Profile, "sweep": Sweep, "study": Study}
"""Command to what is looked at."""
