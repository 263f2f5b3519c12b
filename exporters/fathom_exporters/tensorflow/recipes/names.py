"""Names of a model's layers and variables, read off its structure.

Keras numbers layers by the history of the process (``dense_2``) and may give two variables one name, so a name here is
the path of attributes and of the layers' own names from the model down, as Keras' saving walks it. An automatic name
is numbered anew within its parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras.src.utils.naming import to_snake_case

from fathom_onnx.recipes.recorded import unique

__all__ = ["Structure", "is_automatic", "is_seed", "native", "structure"]

_INTERNAL = ("_self_", "_tf_", "_obj_reference", "_captured", "_TF_MODULE", "_name")
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-]")


def native(variable: Any) -> tf.Variable:
    """The ``tf.Variable`` of a Keras variable, or the variable itself."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def is_seed(variable: tf.Variable) -> bool:
    """Whether a variable is the state of one of Keras' generators of random seeds, the model's or the global one."""
    return str(variable.name).partition(":")[0].rpartition("/")[2] == "seed_generator_state"


def is_automatic(name: str, kind: str) -> bool:
    """Whether Keras made up a name for an object of this class."""
    return re.fullmatch(rf"{re.escape(to_snake_case(kind))}(_\d+)?", name) is not None


@dataclass
class Structure:
    """Layers and variables of a model by name.

    Attributes:
        layers: Name to layer or module, the model itself first.
        variables: Name to variable.
        seeds: Identities of the variables that hold the state of random seeds.
        reserved: Names that no variable may have: the batch's.
    """

    layers: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, tf.Variable] = field(default_factory=dict)
    seeds: set[int] = field(default_factory=set)
    reserved: frozenset[str] = frozenset()
    _known: set[int] = field(default_factory=set)

    def layer_names(self) -> dict[int, str]:
        """Names of the layers by identity."""
        return {id(layer): name for name, layer in self.layers.items()}

    def variable_names(self) -> dict[int, str]:
        """Names of the variables by identity."""
        return {id(variable): name for name, variable in self.variables.items()}

    def add_layer(self, name: str, layer: Any) -> str | None:
        """Add a layer by a name that is made unique; None if it has one already."""
        if id(layer) in self._known:
            return None
        self._known.add(id(layer))
        name = unique(_FOREIGN.sub("_", name), self.layers)
        self.layers[name] = layer
        return name

    def add_variable(self, name: str, variable: Any) -> None:
        """Add a variable by a name that is made unique, if it has none."""
        variable = native(variable)
        if id(variable) not in self._known:
            self._known.add(id(variable))
            self.variables[unique(_FOREIGN.sub("_", name), {*self.variables, *self.reserved})] = variable


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a value: itself, or what its lists and dicts contain."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _flat(f"{name}.{index}", part)
    else:
        yield name, value


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    """What the attributes of a layer or module contain; of a layer, the public ones."""
    private = ("_",) if isinstance(owner, keras.layers.Layer) else _INTERNAL
    for name, value in vars(owner).items():
        if not name.startswith(private):
            yield from _flat(name, value)


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer | tf.Module) and not isinstance(value, keras.layers.InputLayer)


def _layers(owner: Any) -> Iterator[tuple[str, Any]]:
    """The layers within a layer or module, by the name of each in it."""
    named = {id(value): name for name, value in _attributes(owner) if _is_layer(value)}
    if not isinstance(owner, keras.layers.Layer):
        yield from ((name, value) for name, value in _attributes(owner) if _is_layer(value))
        return
    taken: set[str] = set(named.values())
    for layer in filter(_is_layer, owner._layers):
        name = named.pop(id(layer), "")
        if not name:
            kind = type(layer).__name__
            name = to_snake_case(kind) if is_automatic(layer.name, kind) else layer.name
            name = _numbered(name, taken)
            taken.add(name)
        yield name, layer
    yield from ((name, value) for name, value in _attributes(owner) if id(value) in named)


def _numbered(name: str, taken: set[str]) -> str:
    """As Keras numbers layers in a fresh process: ``dense``, ``dense_1``, ``dense_2``."""
    candidates = (name if number == 0 else f"{name}_{number}" for number in range(len(taken) + 1))
    return next(candidate for candidate in candidates if candidate not in taken)


def _own_variables(owner: Any) -> Iterator[tuple[str, Any]]:
    """The variables that a layer or module has itself, by the name of each in it."""
    attributes = {id(native(v)): name for name, v in _attributes(owner) if isinstance(v, keras.Variable | tf.Variable)}
    if isinstance(owner, keras.layers.Layer):
        for variable in (*owner._trainable_variables, *owner._non_trainable_variables):
            name = variable.name
            if is_automatic(name, "Variable"):
                name = attributes.get(id(native(variable)), "variable")
            yield name, variable
    yield from ((name, v) for name, v in _attributes(owner) if isinstance(v, keras.Variable | tf.Variable))


def _walk(found: Structure, owner: Any, name: str) -> None:
    prefix = f"{name}." if name else ""
    for part, variable in _own_variables(owner):
        found.add_variable(f"{prefix}{part}", variable)
    for generator in getattr(owner, "_seed_generators", ()):
        found.seeds.add(id(native(generator.state)))
    for part, layer in _layers(owner):
        layer_name = found.add_layer(f"{prefix}{part}", layer)
        if layer_name is not None:
            _walk(found, layer, layer_name)


def structure(model: Any, reserved: Iterable[str] = ()) -> Structure:
    """The layers and variables of a Keras model or a ``tf.Module``; the model itself has its class's name.

    Args:
        model: The model.
        reserved: Names that no variable may have.
    """
    found = Structure(reserved=frozenset(reserved))
    found.add_layer(type(model).__name__, model)
    _walk(found, model, "")
    return found
