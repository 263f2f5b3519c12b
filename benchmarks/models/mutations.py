"""Single random faults in training graphs, and how many of them verification finds.

    PYTHONPATH=tests:benchmarks python -m models.mutations                    # all graphs, 20 mutations of each kind
    PYTHONPATH=tests:benchmarks python -m models.mutations --only attention --each 5 --seed 1

A mutation counts where an output changes by 1e-5 in float64, of a parameter relative to its change in the step. One
that counts and passes verification is a hole, and is printed. The kinds are in ``tests/support/mutating/``.
"""

from __future__ import annotations

import argparse
import logging
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from fathom_onnx.exporting import read_recipe
from fathom_onnx.recipes import Recipe
from fathom_onnx.workloads import workload
from support.mutating import KINDS, Trial, Trials


class Attention(nn.Module):
    """One head over three tokens, and a normalisation of the rows that come out."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, T, 4] to the same shape."""
        return self.norm(x + (self.q(x) @ self.k(x).mT / 2).softmax(-1) @ self.v(x))


def _squares(outputs: Any, batch: Any) -> Any:
    return ((outputs - batch[1]) ** 2).mean()


def _entropy(outputs: Any, batch: Any) -> Any:
    return nn.functional.cross_entropy(outputs, batch[1])


def _attention() -> Recipe:
    model = Attention()
    return Recipe(model, (torch.randn(2, 3, 4), torch.randn(2, 3, 4)), _squares, torch.optim.AdamW(model.parameters()))


def _convolution() -> Recipe:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)
    return Recipe(model, (torch.randn(4, 2, 8, 8), torch.randint(0, 3, (4,))), _entropy, optimizer)


def _embedding() -> Recipe:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 5), nn.GELU(), nn.Linear(5, 3))
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-2, centered=True)
    optimizer.register_step_pre_hook(lambda *_: (nn.utils.clip_grad_norm_(model.parameters(), 1.0), None)[1])
    return Recipe(model, (torch.randint(0, 7, (4, 3)), torch.randint(0, 3, (4,))), _entropy, optimizer)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "attention": _attention,
    "convolution": _convolution,
    "embedding": _embedding,
}
BUILT_IN = {"memnet": "torch", "autoenc": "tensorflow"}


def trials(name: str) -> Trials:
    """A graph with the values that it is judged on."""
    if name in BUILT_IN:
        return Trials(workload(name, "tiny"), BUILT_IN[name])
    torch.manual_seed(0)
    return Trials(read_recipe(RECIPES[name]()), "torch")


def measure(name: str, each: int, seed: int) -> list[Trial]:
    """Judge some mutations of each kind."""
    made, found = trials(name), []
    assert not made.faults(), made.faults()
    for kind in KINDS:
        rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
        tried = [made.trial(kind, rng) for _ in range(each)]
        found += [trial for trial in tried if trial is not None]
        for trial in tried:
            if trial is not None and trial.outcome == "hole":
                print(f"hole in {name}: {trial.told} ('{trial.name}' changes by {trial.change:.1e})", flush=True)
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*RECIPES, *BUILT_IN], help="graphs")
    parser.add_argument("--each", type=int, default=20, help="mutations of each kind for each graph")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| graph | mutations that run | change no output | found | holes |\n|---|---:|---:|---:|---:|")
    for name in arguments.only:
        began = time.process_time()
        count = Counter(trial.outcome for trial in measure(name, arguments.each, arguments.seed))
        run = sum(count.values()) - count["invalid"]
        row = (name, run, count["same"], count["found"], count["hole"])
        print(f"| {' | '.join(map(str, row))} |  <!-- {time.process_time() - began:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
