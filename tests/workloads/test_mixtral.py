"""mixtral: its published size, and how many slots an expert has."""

from __future__ import annotations

import pytest

from fathom_onnx.errors import UsageError
from fathom_onnx.workloads import workload


def test_the_published_number_of_parameters() -> None:
    # Mixtral 8x7B as released: 46,702,792,704, of which a token sees 12.9 billion
    attention = 2 * 4096**2 + 2 * 4096 * 1024
    expert = 3 * 4096 * 14_336
    outside = 2 * 32_000 * 4096 + 4096 + 32 * (2 * 4096 + attention + 8 * 4096)
    made = workload("mixtral")
    assert sum(p.elements for p in made.parameters) == outside + 32 * 8 * expert == 46_702_792_704
    assert round((outside + 32 * 2 * expert) / 1e9, 1) == 12.9


def test_slots() -> None:
    # 2048 tokens choose twice among 8 experts: 512 each if even, and a quarter more
    assert workload("mixtral").config.slots == 640
    assert workload("mixtral", "tiny").config.slots == 10
    assert workload("mixtral", "tiny", {"capacity": "0.01"}).config.slots == 1
    assert workload("mixtral", "tiny", {"capacity": "9"}).config.slots == 16  # no expert has more than all tokens


def test_fewer_experts_than_a_token_has_are_refused() -> None:
    with pytest.raises(UsageError, match="a token cannot have 2 of 1 experts"):
        workload("mixtral", "tiny", {"experts": "1"})
