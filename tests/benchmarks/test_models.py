"""The zoos: recipes that are small, complete and the same at each call."""

from __future__ import annotations

import sys

import pytest

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from models import first, further  # noqa: E402
from models.registry import OPTIMIZERS  # noqa: E402

pytestmark = pytest.mark.slow


def test_the_zoos_hold_what_they_are_said_to() -> None:
    assert len(list(first.ZOO)) == 61
    assert len(list(further.ZOO)) >= 64
    assert set(first.ZOO) & set(further.ZOO) == set()
    for zoo in (first.ZOO, further.ZOO):
        assert {zoo.optimizer_of(name) for name in zoo} == set(OPTIMIZERS)


def test_a_recipe_is_the_same_at_each_call_and_can_be_stepped() -> None:
    model, batch, loss, optimizer = further.build("vae")
    again, other, _, _ = further.build("vae")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert torch.equal(batch["x"], other["x"])
    loss(model(**batch), batch).backward()
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_options_reach_the_model() -> None:
    model, _, _, optimizer = first.build("bert", optimizer="nadam", attention="sdpa", dropout=0.25)
    assert type(optimizer).__name__ == "NAdam"
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}
    assert model.config._attn_implementation == "sdpa"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no model rube"):
        first.build("rube")


def test_macs_by_formulas_are_those_of_the_counter_and_of_paper() -> None:
    from models.counting import eager_macs
    from torch.utils.flop_counter import FlopCounterMode

    model, batch, _, _ = first.build("llama")
    with FlopCounterMode(display=False) as counter:
        model(**batch).loss.backward()
    assert eager_macs(*first.build("llama")[:3]) == (counter.get_total_flops() // 2, 0, {})
    layer = torch.nn.Linear(3, 5)
    rows = {"input": torch.ones(7, 3)}
    forward_and_filter = 2 * 7 * 3 * 5  # the gradient of the input is not needed
    assert eager_macs(layer, rows, lambda o, b: o.sum()) == (forward_and_filter, 0, {})
    products = eager_macs(layer, rows, lambda o, b: layer.weight.mv(b["input"][0]).sum())
    assert products == (7 * 3 * 5, 3 * 5, {"mv": 1})


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize(("kind", "positions"), [(torch.nn.Conv1d, 8), (torch.nn.ConvTranspose1d, 10)])
def test_channels_of_different_groups_do_not_meet(kind, positions, groups) -> None:
    from models.counting import eager_macs

    layer = kind(8, 16, 3, groups=groups)
    rows = {"input": torch.ones(2, 8, 10, requires_grad=True)}
    once = 2 * positions * 16 * (8 // groups) * 3
    assert eager_macs(layer, rows, lambda o, b: o.sum()) == (3 * once, 0, {})


def test_a_rewritten_model_is_in_a_zoo_beside_its_original() -> None:
    from any_model import REWRITTEN

    every = {*first.ZOO, *further.ZOO}
    assert REWRITTEN.keys() | set(REWRITTEN.values()) <= every
