"""Batches from the frameworks' own loaders."""

from __future__ import annotations

import numpy as np
import pytest

import fathom_onnx
from support.graphs.small_models import line_training

ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


@pytest.mark.slow
def test_loaders_of_both_frameworks_give_the_same_run() -> None:
    import tensorflow as tf
    import torch

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(ROWS)

        def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
            return {"x": torch.from_numpy(ROWS[place])}

    def loader(rows: torch.utils.data.Dataset) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(rows, batch_size=None)

    parts = torch.utils.data.TensorDataset(torch.from_numpy(ROWS))
    arrays = [{"x": row} for row in ROWS]
    given = [arrays, loader(Rows()), loader(parts), tf.data.Dataset.from_tensor_slices({"x": ROWS})]
    runs = [fathom_onnx.train(line_training(), 14, batches=several, threads=1) for several in given]
    assert len(runs[0].losses) == 14  # the six rows are begun anew
    assert all(run.losses == runs[0].losses for run in runs)


def test_a_run_from_python_is_kept_and_resumed(tmp_path) -> None:
    options = {"batches": [{"x": row} for row in ROWS], "threads": 1}
    whole = fathom_onnx.train(line_training(), 9, **options)
    fathom_onnx.train(line_training(), 4, checkpoint=tmp_path, **options)
    rest = fathom_onnx.train(line_training(), 9, checkpoint=tmp_path, resume=True, **options)
    assert rest.first_step == 5
    assert rest.losses == whole.losses


def test_starting_values_take_the_place_of_the_graphs_own() -> None:
    found = fathom_onnx.train(
        line_training(), 1, batches=[{"x": np.ones(3, np.float32)}], values={"line.w": np.full(3, 2, np.float32)}
    )
    assert found.losses == [36.0]
