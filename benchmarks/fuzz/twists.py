"""Changes of a model's structure, by protobuf's own reflection: any field of any message in it."""

from __future__ import annotations

import random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["twisted"]

_NUMBERS = (0, 1, -1, 2, 3, 7, 16, 255, 999, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
_TEXTS = ("", "x", "y", "Relu", "If", "Loop", "ai.onnx.ml", "a/b/c", "../w", "N", "\x1b[31m", "é", "x" * 5000)
_BYTES = (b"", b"\x00", b"\xff\xfe\xfd", b"\x00" * 64, b"../../w")
_FLOATS = (0.0, -1.0, 1e30, float("inf"), float("nan"))


def _messages(message: Message, limit: int = 4000) -> list[Message]:
    """The message and all that it holds, at most ``limit``."""
    found, waiting = [], [message]
    while waiting and len(found) < limit:
        one = waiting.pop()
        found.append(one)
        for field, value in one.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting.extend(value if field.is_repeated else [value])
    return found


def _value(field: FieldDescriptor, chosen: random.Random, names: list[str]) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return chosen.choice(_BYTES)
        return chosen.choice(names) if names and chosen.random() < 0.5 else chosen.choice(_TEXTS)
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return chosen.choice(_FLOATS)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return chosen.choice([value.number for value in field.enum_type.values])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chosen.random() < 0.5
    bits = 31 if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 63
    number = chosen.choice(_NUMBERS)
    unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return min(abs(number) if unsigned else max(number, -(2**bits)), 2**bits - 1)


def _twist_repeated(message: Message, field: FieldDescriptor, chosen: random.Random, names: list[str]) -> None:
    several = getattr(message, field.name)
    if not len(several):
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            several.add()
        else:
            several.append(_value(field, chosen, names))
        return
    place, other = chosen.randrange(len(several)), chosen.randrange(len(several))
    what = chosen.choice(("drop", "repeat", "swap", "set", "clear"))
    if what == "clear":
        message.ClearField(field.name)
    elif what == "drop":
        del several[place]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if what == "repeat":
            several.add().CopyFrom(several[place])
        else:
            kept = type(several[place])()
            kept.CopyFrom(several[place])
            several[place].CopyFrom(several[other])
            several[other].CopyFrom(kept)
    elif what == "repeat":
        several.append(several[place])
    elif what == "swap":
        several[place], several[other] = several[other], several[place]
    else:
        several[place] = _value(field, chosen, names)


def twisted(seed: bytes, other: bytes, chosen: random.Random) -> bytes:
    """A model with one to six changes; some take a part of another model.

    Args:
        seed: The model.
        other: The other one.
        chosen: Random numbers.
    """
    model = onnx.load_model_from_string(seed)
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    for _ in range(chosen.choice((1, 1, 2, 3, 6))):
        message = chosen.choice(_messages(model))
        if chosen.random() < 0.1:
            alike = [m for m in _messages(onnx.load_model_from_string(other)) if type(m) is type(message)]
            if alike:
                message.CopyFrom(chosen.choice(alike))
                continue
        field = chosen.choice(message.DESCRIPTOR.fields)
        if field.is_repeated:
            _twist_repeated(message, field, chosen, names)
        elif chosen.random() < 0.2:
            message.ClearField(field.name)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, _value(field, chosen, names))
    return model.SerializeToString()
