"""Memory in a trace: the allocator's state at the end of each node of the first runs.

onnxruntime allocates tensor by tensor in a session's first run. From the second on it may take one block for all of
them, planned from the first, so that what is in use no longer follows the tensors: only its size is of interest then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from fathom_onnx.errors import RunError

from .events import NODE_SUFFIX, RUN, read_lines

__all__ = ["NodeMemory", "TracedMemory", "traced_memory"]


@dataclass(frozen=True)
class NodeMemory:
    """The memory of one node execution, bytes; None where the provider does not say.

    Attributes:
        name: The node's name in the trace.
        activation_bytes: Its inputs that are no parameters.
        parameter_bytes: Its inputs that are.
        output_bytes: Its outputs.
        in_use_bytes: What had been asked of the allocator and not given back when the node ended.
        change_bytes: How much that grew while the node ran.
    """

    name: str
    activation_bytes: int | None
    parameter_bytes: int | None
    output_bytes: int | None
    in_use_bytes: int | None
    change_bytes: int | None


@dataclass(frozen=True)
class TracedMemory:
    """Memory in the first two runs of a trace.

    Attributes:
        nodes: The node executions of the first run, in the order in which they ended.
        peak_bytes: Most bytes that the allocator ever handed out, in whole blocks and with the parameters that it
            holds, by the end of the second run (of the first where it is the only one); None where the provider does
            not say.
        held_bytes: What the allocator had taken from the system by then.
    """

    nodes: tuple[NodeMemory, ...]
    peak_bytes: int | None
    held_bytes: int | None


def _number(arguments: Mapping[str, Any], key: str) -> int | None:
    text = arguments.get(key)
    return None if text is None else int(text)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for count, line in enumerate(read_lines(path)):
        try:
            event = orjson.loads(line)
            yield {"name": event["name"], "args": event.get("args", {})}
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"trace '{path.name}' is broken after {count} events", "profile again") from error


def traced_memory(path: Path) -> TracedMemory:
    """Read the memory of the first two runs of a trace.

    Raises:
        RunError: The file is missing or broken.
    """
    nodes: list[NodeMemory] = []
    runs, last = 0, {}
    for event in _events(path):
        name, arguments = event["name"], event["args"]
        if name == RUN:
            runs += 1
            if runs == 2:
                break
        if not name.endswith(NODE_SUFFIX):
            continue
        last = arguments
        if runs == 0:
            nodes.append(
                NodeMemory(
                    name[: -len(NODE_SUFFIX)],
                    _number(arguments, "activation_size"),
                    _number(arguments, "parameter_size"),
                    _number(arguments, "output_size"),
                    _number(arguments, "mem_bytes_requested_in_use"),
                    _number(arguments, "mem_requested_in_use_delta"),
                )
            )
    return TracedMemory(tuple(nodes), _number(last, "mem_in_use_peak"), _number(last, "mem_arena_held"))
