"""A recipe as it is recorded: its function as one of flat arguments, and its step."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import optax

from fathom_exporters.jax.capture import Width, shape_of_spec
from fathom_exporters.jax.jaxprs import ClosedJaxpr, same
from fathom_exporters.jax.step import Made
from fathom_onnx.errors import ExportError, UsageError, one_line
from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.batch import BatchPath, path_name, tensors, unflatten
from fathom_onnx.recipes.blame import user_line
from fathom_onnx.recipes.recorded import unique
from fathom_onnx.workloads.contract import Mode, TensorSpec, Workload

from .names import Leaf, layer_of
from .replay import DrawSpec, Replay, draws_of

__all__ = ["Described", "Function", "Tree", "explained"]

Function = Callable[[Sequence[Any], int], Sequence[Any]]
"""From flat arguments, and the number of the part of the batch, to flat results."""


@dataclass
class Tree:
    """A pytree of arrays with a name each."""

    leaves: list[Leaf]
    names: list[str]
    structure: Any

    @property
    def specs(self) -> list[TensorSpec]:
        """Its arrays as an interface's."""
        return [TensorSpec(n, leaf.shape, leaf.dtype) for n, leaf in zip(self.names, self.leaves, strict=True)]

    def of(self, flat: Sequence[Any]) -> Any:
        """The pytree of other arrays."""
        return jax.tree_util.tree_unflatten(self.structure, flat)


@dataclass
class Described:
    """A recipe as it is recorded.

    Attributes:
        recipe: The recipe.
        root: The layer of what belongs to no other: the name of the function.
        parameters: The parameters.
        state: What the function carries beside them.
        slots: The optimizer's state.
        update_op: The canonical op of the update.
        owners: Names of the optimizer's state that is of one parameter to the parameter's.
        batch: The tensors of the batch by name.
        paths: Where in the batch each is.
        outputs: Names of the outputs of inference in the order of the results of :meth:`flat`.
        trains: Whether the function gives a loss.
        recorded: The function as it was recorded; see :meth:`record`.
        width: The floating-point type that it was recorded in.
    """

    recipe: Recipe
    root: str
    parameters: Tree
    state: Tree
    slots: Tree
    update_op: str
    owners: Mapping[str, str]
    batch: dict[str, Leaf]
    paths: dict[str, BatchPath]
    outputs: list[TensorSpec] = field(default_factory=list)
    trains: bool = False
    recorded: ClosedJaxpr | None = None
    width: Width = "float32"

    @property
    def inputs(self) -> list[TensorSpec]:
        """The arguments of :meth:`flat`: parameters, state, batch; the batch is one part of the example's."""
        return [*self.parameters.specs, *self.state.specs, *self._batch_specs(self.recipe.accumulate)]

    @property
    def batch_specs(self) -> list[TensorSpec]:
        """The tensors of the whole batch as an interface's."""
        return self._batch_specs(1)

    def _batch_specs(self, parts: int) -> list[TensorSpec]:
        size = self._first_axis(parts)
        shapes = {n: leaf.shape for n, leaf in self.batch.items()}
        cut = {n: (s[0] // parts, *s[1:]) if s and s[0] == size else s for n, s in shapes.items()}
        return [TensorSpec(n, cut[n] if parts > 1 else shapes[n], leaf.dtype) for n, leaf in self.batch.items()]

    def _first_axis(self, parts: int) -> int:
        """The axis that a batch is cut along.

        Raises:
            UsageError: It cannot be cut so.
        """
        size = next((leaf.shape[0] for leaf in self.batch.values() if leaf.shape), 0)
        if parts > 1 and (not size or size % parts):
            raise UsageError(
                f"the batch's first axis of {size} cannot be cut into {parts} equal parts",
                "give a batch whose first axis is a multiple of that, or accumulate=1",
            )
        return size

    def _cut(self, values: Mapping[str, Any]) -> Iterator[list[Any]]:
        """The batch's tensors of each part."""
        parts = self.recipe.accumulate
        size = self._first_axis(parts)
        length = size // parts
        for part in range(parts):
            yield [
                values[n][part * length : (part + 1) * length] if parts > 1 and leaf.shape[:1] == (size,) else values[n]
                for n, leaf in self.batch.items()
            ]

    def flat(self, arguments: Sequence[Any], part: int = 0) -> list[Any]:
        """The user's function: the loss, or its outputs, then the new state, then auxiliary outputs.

        Args:
            arguments: As :attr:`inputs` says.
            part: The number of the part of the batch.

        Raises:
            UsageError: It returns something else.
        """
        counts = len(self.parameters.names), len(self.state.names)
        parameters, state = arguments[: counts[0]], arguments[counts[0] : sum(counts)]
        given = dict(zip(self.paths.values(), arguments[sum(counts) :], strict=True))
        batch = unflatten(self.recipe.batch, given)
        held = [self.state.of(state)] if self.recipe.state is not None else []
        assert self.recipe.loss is not None
        value, new, aux = self._taken_apart(self.recipe.loss(self.parameters.of(parameters), *held, batch))
        self.trains = _is_loss(value)
        named = {Workload.LOSS: value} if self.trains else _named(value, "output")
        named |= {unique(name, named): leaf for name, leaf in _named(aux, "aux").items()}
        self.outputs = [TensorSpec(n, tuple(v.shape), str(v.dtype)) for n, v in named.items()]
        first = 1 if self.trains else len(named)
        results = list(named.values())
        return [*results[:first], *new, *results[first:]]

    def _taken_apart(self, result: Any) -> tuple[Any, list[Any], Any]:
        """What the function returns as the loss or outputs, the leaves of the new state, and auxiliary outputs."""
        pair = isinstance(result, tuple) and len(result) == 2
        if self.recipe.state is None:
            return (result[0], [], result[1]) if pair and _is_loss(result[0]) else (result, [], None)
        if pair:
            for rest, aux in ((result[1], None), _pair(result[1])):
                if jax.tree_util.tree_structure(rest) == self.state.structure:
                    return result[0], jax.tree_util.tree_leaves(rest), aux
        raise UsageError(
            "the function does not return the new state", "return (loss, new state) or (loss, (new state, outputs))"
        )

    def record(self) -> ClosedJaxpr:
        """The function recorded: in double precision where that gives the same equations.

        Raises:
            ExportError: The function fails, or needs values.
        """
        if self.recorded is None:
            self.recorded = single = self.traced("float32")
            outputs = self.outputs
            with contextlib.suppress(ExportError):  # a type that is written out, such as that of a loop's start
                double = self.traced("float64")
                if same(double, single):
                    self.recorded, self.width = double, "float64"
            self.outputs = outputs  # of the types that they have without those of 64 bits
        return self.recorded

    def traced(self, dtype: Width) -> ClosedJaxpr:
        """The function recorded in single or double precision.

        Raises:
            ExportError: The function fails.
        """
        shapes = [shape_of_spec(spec, dtype) for spec in self.inputs]
        try:
            with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Explicitly requested dtype")  # of 64 bits, of a user who allows them
                return jax.make_jaxpr(lambda *arguments: self.flat(arguments))(*shapes)
        except (ExportError, UsageError):
            raise
        except Exception as error:  # of the user's function
            raise explained(error, self.root, dtype) from error

    def replay(self, recorded: ClosedJaxpr) -> Replay:
        """The recorded function as one that can be computed anew."""
        layers = [layer_of(leaf, self.root) for leaf in (*self.parameters.leaves, *self.state.leaves)]
        return Replay(recorded, [*layers, *[None] * len(self.batch)], self.root)

    def labelled(self) -> tuple[str, ...]:
        """The layers of the function, that of what belongs to no other last."""
        replay = self.replay(self.record())

        def stand_in(draw: DrawSpec, number: int) -> Any:
            return jax.numpy.zeros(draw.shape, self.width)

        with jax.enable_x64(self.width == "float64"):
            shapes = [shape_of_spec(spec, self.width) for spec in self.inputs]
            jax.make_jaxpr(lambda *arguments: replay(arguments, stand_in))(*shapes)
        return tuple(dict.fromkeys([*replay.layers, self.root]))

    def inference(self, values: Mapping[str, Any], function: Function) -> Made:
        """The outputs for values of the inputs."""
        variables = [values[n] for n in (*self.parameters.names, *self.state.names)]
        results = list(function([*variables, *(values[n] for n in self.batch)], 0))
        count = 1 if self.trains else len(self.outputs)
        results = [*results[:count], *results[count + len(self.state.names) :]]
        specs = zip(self.outputs, results, strict=True)
        return Made({o.name: v if o.dtype.startswith("float") else v.astype(o.dtype) for o, v in specs})

    def training(self, values: Mapping[str, Any], function: Function) -> Made:
        """One step: loss, new state, gradients, and what the optimizer makes of them."""
        count, parts = len(self.state.names), self.recipe.accumulate
        parameters = [values[n] for n in self.parameters.names]

        def objective(parameters: list[Any], state: list[Any], batch: list[Any], part: int) -> tuple[Any, list[Any]]:
            results = function([*parameters, *state, *batch], part)
            return results[0] / parts if parts > 1 else results[0], list(results[1 : 1 + count])

        state = [values[n] for n in self.state.names]
        loss: Any = None
        gradients: Any = None
        for part, batch in enumerate(self._cut(values)):
            (value, state), more = jax.value_and_grad(objective, has_aux=True)(parameters, state, batch, part)
            with jax.named_scope(Workload.LOSS):
                loss = value if loss is None else loss + value
                gradients = more if gradients is None else [a + b for a, b in zip(gradients, more, strict=True)]
        # of each gradient one tensor, which is an output of the graph and what the optimizer reads
        kept: Callable[[Any], Any] = jax.lax.optimization_barrier
        gradients = [kept(gradient) for gradient in gradients]
        named = dict(zip(self.parameters.names, gradients, strict=True))
        new = dict(zip(self.state.names, state, strict=True)) | self.update(values, named, loss)
        return Made({Workload.LOSS: loss, **{f"{name}.next": value for name, value in new.items()}}, named)

    def update(self, values: Mapping[str, Any], gradients: Mapping[str, Any], loss: Any) -> dict[str, Any]:
        """New parameters and optimizer state by name."""
        parameters = self.parameters.of([values[n] for n in self.parameters.names])
        slots = self.slots.of([values[n] for n in self.slots.names])
        given = self.parameters.of([gradients[n] for n in self.parameters.names])
        with jax.named_scope("optimizer"):
            optimizer = optax.with_extra_args_support(self.recipe.optimizer)
            updates, slots = optimizer.update(given, slots, parameters, value=loss)
            parameters = optax.apply_updates(parameters, updates)
        new = [*jax.tree_util.tree_leaves(parameters), *jax.tree_util.tree_leaves(slots)]
        return dict(zip([*self.parameters.names, *self.slots.names], new, strict=True))

    def draws(self, mode: Mode) -> list[Any]:
        """The draws of a step in order."""
        found = draws_of(self.record().jaxpr)
        return found * (self.recipe.accumulate if mode == "training" else 1)


def _pair(value: Any) -> tuple[Any, Any]:
    return value if isinstance(value, tuple) and len(value) == 2 else (None, None)


def _is_loss(value: Any) -> bool:
    return hasattr(value, "dtype") and value.shape == () and jax.numpy.issubdtype(value.dtype, jax.numpy.floating)


def _named(tree: Any, what: str) -> dict[str, Any]:
    """The arrays of a result by name: its keys, or ``output.0``."""
    found: dict[str, Any] = {}
    for path, value in tensors(tree).items():
        own = path_name(path) if path and isinstance(path[0], str) else path_name((what, *path))
        found[unique(own, found)] = jax.numpy.asarray(value)
    return found


def explained(error: Exception, root: str, dtype: Width) -> ExportError:
    """An error of the user's function or optimizer, recorded in a floating-point type, in one line."""
    place = user_line(error)
    where = f"{root}{f' at {place}' if place else ''}"
    if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        return ExportError(
            f"{where} needs a branch, a number or a shape that depends on values",
            "write it with jnp.where, or with jax.lax.cond",
        )
    if isinstance(error, jax.errors.NonConcreteBooleanIndexError):
        return ExportError(f"{where} needs a shape that depends on values", "write it with jnp.where")
    advice = "give arrays the types of the arguments, as jnp.zeros_like does" if dtype == "float64" else ""
    return ExportError(f"{where} cannot be recorded in {dtype} ({type(error).__name__}: {one_line(error)})", advice)
