"""The cost of one node, given by the shapes of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from fathom_onnx.analysis.cost.node_costs import NodeCost, node_cost
from fathom_onnx.graph import Tensor

Shapes = list[tuple[int, ...] | None]


def cost(
    kind: str,
    inputs: list[tuple[int, ...] | str | None],
    outputs: Shapes,
    values: Mapping[int, Any] | None = None,
    dtypes: Mapping[str, str] | None = None,
    **more: object,
) -> NodeCost:
    """Inputs are ``i0``, ``i1``, ...; an input that is ``""`` is left out; ``values`` are known by position."""
    domain = str(more.pop("domain", ""))
    names = [
        ["" if s == "" else f"{side}{i}" for i, s in enumerate(all_)] for side, all_ in (("i", inputs), ("o", outputs))
    ]
    node = helper.make_node(kind, *names, domain=domain, **more)
    known = dict(zip(names[0] + names[1], [*inputs, *outputs], strict=True))
    tensors = {n: Tensor(n, s, (dtypes or {}).get(n, "float32")) for n, s in known.items() if not isinstance(s, str)}
    return node_cost(node, tensors, {f"i{p}": np.asarray(v) for p, v in (values or {}).items()})
