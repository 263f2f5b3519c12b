"""llama and llama-decode: published sizes, interfaces, and which modes they have."""

from __future__ import annotations

import pytest

from fathom_onnx.errors import UsageError
from fathom_onnx.study.cells import cells
from fathom_onnx.workloads import workload


def test_the_published_number_of_parameters() -> None:
    # Llama 3 8B as released: 8,030,261,248
    per_block = 2 * 4096 + 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14_336
    by_hand = 2 * 128_256 * 4096 + 4096 + 32 * per_block
    for name in ("llama", "llama-decode"):
        assert sum(p.elements for p in workload(name).parameters) == by_hand == 8_030_261_248


def test_what_prefill_gives_is_what_decoding_carries() -> None:
    prefill, decode = workload("llama", "tiny"), workload("llama-decode", "tiny")
    position, *caches = decode.caches
    assert [(c.name, c.shape) for c in caches] == [(o.name, o.shape) for o in prefill.outputs[1:]]
    assert (position.name, position.shape, position.dtype) == ("position.index", (), "int64")
    interface = decode.interface("inference")
    assert interface.state[0] == ("position.index.next", "position.index")
    assert [o.name for o in interface.outputs] == ["logits", *(c.next.name for c in decode.caches)]
    assert prefill.interface("inference").state == ()


def test_a_mode_that_a_workload_lacks() -> None:
    decode = workload("llama-decode", "tiny")
    decode.check_mode("inference")
    with pytest.raises(UsageError, match="workload 'llama-decode' has no training step; give the mode 'inference'"):
        decode.check_mode("training")
    made = cells("tiny", ["llama", "llama-decode"], ["torch"])
    assert [(c.workload, c.mode) for c in made] == [
        ("llama", "inference"),
        ("llama", "training"),
        ("llama-decode", "inference"),
    ]


def test_impossible_sizes() -> None:
    with pytest.raises(UsageError, match="a width of 18 is not 4 heads of an even size"):
        workload("llama", "tiny", {"width": "18"})
    with pytest.raises(UsageError, match="4 query heads are not in equal groups of 3"):
        workload("llama", "tiny", {"kv_heads": "3"})
