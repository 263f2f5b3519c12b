"""The workload that is read off a recipe, and what of it is recorded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fathom_exporters.torch.recording.record import fake_mode_of
from fathom_exporters.torch.stepping import Subject
from fathom_exporters.torch.stepping.averages import unread_counters
from fathom_exporters.torch.stepping.drawing import Draw
from fathom_exporters.torch.stepping.updating import apply_op
from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.graph.address import scope_of
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.recipes.batch import tensors
from fathom_onnx.recipes.recorded import RecipeConfig, RecordedOptimizer, starting_variable
from fathom_onnx.workloads.contract import Array, Initialiser, Layer, Noise, TensorSpec, Variable

from .calling import Call, call_of, named_outputs
from .failing import explained, reason_of
from .state import Start, State, needs_capturable_form, state_of, with_rates_as_tensors
from .trial import Trial, module_is_recorded, try_inference, try_training

__all__ = ["Described", "derive", "subject_of"]

_STAND_IN = Initialiser("normal", 0.02)
"""How variables are drawn whose values nobody knows: those of a model on fake tensors."""


@dataclass(frozen=True)
class Described:
    """What the exporter needs of a recipe beside the contract.

    Attributes:
        call: How the batch is given to the module and the loss.
        state: The optimizer's state; None without an optimizer.
        paths: Variable to the path of the module's tensor.
        layers: Path of a module to the name of its layer.
        root: The layer of what is computed in no other.
        capturable: Whether the optimizer is recorded in its form for recording.
        counters: Paths of counters of batches that no result depends on.
        branch_free: Whether the module runs on the paths that libraries have for compilers.
        rewritten: Trained parameters that forward itself changes before they are updated, such as clipped weights.
    """

    call: Call
    state: State | None
    paths: Mapping[str, str]
    layers: Mapping[str, str]
    root: str
    capturable: bool
    counters: frozenset[str]
    branch_free: bool
    rewritten: frozenset[str]


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    return TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def _noise(draws: Iterable[Draw], taken: set[str]) -> tuple[Noise, ...]:
    found = []
    for number, draw in enumerate(draws):
        name = f"noise.{number}"
        while name in taken:
            name = f"step.{name}"
        found.append(Noise(name, draw.shape, draw.kind))
    return tuple(found)


def _refuse_types(model: nn.Module) -> None:
    """Refuse element types that ONNX's operators do not take.

    Raises:
        ExportError: There is one.
    """
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if nn.parameter.is_lazy(tensor):
            raise ExportError(f"'{name}' has no shape yet", "run the model once before the export")
        if tensor.dtype in (torch.bfloat16,) or tensor.is_complex():
            kind = str(tensor.dtype).removeprefix("torch.")
            advice = "convert the model to float32" if tensor.dtype == torch.bfloat16 else "write it in real numbers"
            raise ExportError(f"'{name}' is {kind}, which ONNX's operators do not take at opset 18", advice)


def _trained(optimizer: Optimizer, model: nn.Module, reached: frozenset[str]) -> dict[str, nn.Parameter]:
    """The parameters that a step updates, in the model's order.

    Raises:
        ExportError: There are none, or the optimizer has a tensor that is not the model's.
    """
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"the optimizer is of type {type(optimizer).__name__}", "give one of torch.optim")
    inner = next((value for value in vars(optimizer).values() if isinstance(value, Optimizer)), None)
    if inner is not None:
        raise ExportError(
            f"the optimizer {type(optimizer).__name__} steps another one ({type(inner).__name__}), with a state apart",
            f"give the {type(inner).__name__} itself, with a hook (register_step_pre_hook) for what is done beside it",
        )
    own = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in own.items()}
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    foreign = sum(id(p) not in names for p in grouped)
    if foreign:
        raise ExportError(
            f"the optimizer has {foreign} of {len(grouped)} parameters that are not the model's",
            "make it over model.parameters(); put further modules with parameters, such as a loss, into the model",
        )
    chosen = {names[id(p)] for p in grouped if p.requires_grad} & reached
    if not chosen:
        raise ExportError("the loss depends on no parameter of the optimizer", "give it parameters that the loss reads")
    hooked = next((n for n in chosen if getattr(own[n], "_post_accumulate_grad_hooks", None)), None)
    if hooked:
        raise ExportError(
            f"'{hooked}' has a hook on its accumulated gradient, which a graph cannot call", "remove the hook"
        )
    return {name: own[name] for name in own if name in chosen}


def _copied(tensor: Tensor) -> Array:
    """A tensor's values as they are now: training the model on, or refilling a batch, does not change the graph's."""
    found: Array = tensor.detach().cpu().clone(memory_format=torch.contiguous_format).numpy()
    return found


class _Values:
    """Variables with their starting values: stored ones, constants, or stand-ins for those of fake tensors."""

    def __init__(self) -> None:
        self.stored: dict[str, Array] = {}

    def variable(self, name: str, start: Start) -> Variable:
        dtype = str(start.dtype).removeprefix("torch.")
        if not isinstance(start.value, Tensor):
            return Variable(name, start.shape, Initialiser.constant(start.value), dtype)
        if hasattr(start.value, "fake_mode") or start.value.device.type == "meta":
            known = start.dtype.is_floating_point
            return Variable(name, start.shape, _STAND_IN if known else Initialiser.constant(0), dtype)
        return starting_variable(name, _copied(start.value), self.stored)

    def of(self, tensors_: Mapping[str, Tensor]) -> tuple[Variable, ...]:
        return tuple(self.variable(n, Start(tuple(t.shape), t.dtype, t)) for n, t in tensors_.items())


def _refuse_first_steps(first: Trial, second: Trial) -> None:
    """Refuse what is read of an example and is another where buffers are as the first step leaves them.

    Raises:
        ExportError: There is such a value.
    """
    for once, again in itertools.zip_longest(first.specialised, second.specialised, fillvalue=""):
        if once != again:
            raise ExportError(
                f"what is read at {once or again} is another in the next step",
                "take a step before the export where only the first one differs, else write it with torch.where",
            )


def _trials(call: Call, branch_free: bool) -> tuple[Trial | None, Trial | None]:
    """The trials of training and inference; None for what the recipe has not, or what does not run.

    Raises:
        ExportError: The step of the recipe does not run.
    """
    fake = fake_mode_of(call.model)
    with explained(call.model, call.recipe.specialise):
        training = try_training(call, fake, branch_free) if call.recipe.optimizer is not None else None
        if training and training.specialised and training.after:
            _refuse_first_steps(training, try_training(call, fake, branch_free, training.after))
        try:
            return training, try_inference(call, fake, branch_free)
        except Exception:
            if training is None:
                raise
            return training, None


def _tried(call: Call) -> tuple[Trial | None, Trial | None, bool]:
    """The trials, and whether they were free of branches; where a model does not fit that, as it runs otherwise.

    Raises:
        ExportError: The step runs in neither way.
    """
    try:
        return (*_trials(call, True), True)
    except ExportError as error:
        if error.__cause__ is None or reason_of(error):
            raise
        first = error
    try:
        return (*_trials(call, False), False)
    except ExportError as error:
        if reason_of(error):
            raise
        raise first from first.__cause__


def derive(recipe: Recipe, target: str = "") -> RecipeWorkload:
    """The workload of a recipe.

    Args:
        recipe: The recipe.
        target: Name of the function that built it, if any.

    Raises:
        UsageError: The recipe cannot be a step.
        ExportError: Its step cannot be recorded.
    """
    if recipe.rate_input and isinstance(recipe.optimizer, Optimizer):
        recipe = replace(recipe, optimizer=with_rates_as_tensors(recipe.optimizer))
    call = call_of(recipe)
    model = call.model
    _refuse_types(model)
    training, inference, branch_free = _tried(call)
    own, buffers, counters = (
        dict(model.named_parameters()),
        dict(model.named_buffers()),
        frozenset(unread_counters(model)),
    )
    buffers = {name: buffer for name, buffer in buffers.items() if name not in counters}
    trained = _trained(recipe.optimizer, model, training.reached) if training else {}
    state = state_of(recipe.optimizer, trained) if training else None
    changed = training.changed - trained.keys() if training else frozenset()
    values = _Values()
    parts: tuple[tuple[Variable, ...], ...]
    kept: frozenset[str] = frozenset()
    if training is None:
        parts = (values.of(own), values.of(buffers), ())
    else:
        others: dict[str, Tensor] = {**{n: p for n, p in own.items() if n not in trained}, **buffers}
        frozen = {n: t for n, t in others.items() if n not in changed}
        # a parameter that no gradient trains can be changed by forward itself, as those of a slow copy are
        parts = (values.of(trained), values.of({n: t for n, t in others.items() if n in changed}), values.of(frozen))
        kept = frozenset(frozen)
    slots = tuple(values.variable(n, start) for n, start in state.starts.items()) if state else ()
    options = tuple(values.variable(n, start) for n, start in state.option_starts.items()) if state else ()
    root = type(model).__name__
    layers = {path: scope_of(path) or root for path, _ in model.named_modules()}
    given = tensors(recipe.batch)
    specs = {n: _spec(n, torch.as_tensor(given[path])) for n, path in call.paths.items()}
    op = apply_op(recipe.optimizer) if training else "ApplyGradientDescent"
    taken = {*own, *buffers, *specs}
    optimizer = type(recipe.optimizer).__name__ if training else ""
    return RecipeWorkload(
        name=root,
        preset="own",
        config=RecipeConfig(root, optimizer, recipe.accumulate),
        features=tuple(s for n, s in specs.items() if n in call.features),
        outputs=_outputs(inference),
        layers=tuple(Layer(layers[path], type(module).__name__) for path, module in model.named_modules()),
        parameters=parts[0],
        optimizer=RecordedOptimizer(op, slots),  # type: ignore[arg-type]
        targets=tuple(s for n, s in specs.items() if n not in call.features),
        noise={
            "training": _noise(_repeated(training, recipe), taken) if training else (),
            "inference": _noise(inference.draws if inference else (), taken),
        },
        buffers=parts[1],
        frozen=(*parts[2], *options),
        data="example",
        recipe=recipe,
        framework="torch",
        stored=values.stored,
        example=_example(recipe, call),
        paths=dict(call.paths),
        target=target,
        kept=kept,
        specialised=tuple(
            dict.fromkeys(note for trial in (training, inference) if trial for note in trial.specialised)
        ),
        described=Described(
            call=call,
            state=state,
            paths={name: name for name in (*own, *buffers)},
            layers=layers,
            root=root,
            capturable=bool(trained) and needs_capturable_form(recipe.optimizer, next(iter(trained.values()))),
            counters=counters,
            branch_free=branch_free,
            rewritten=training.changed & trained.keys() if training else frozenset(),
        ),
    )


def _repeated(trial: Trial, recipe: Recipe) -> tuple[Draw, ...]:
    """The draws of all parts of a batch; the trial was of the whole batch at once.

    Raises:
        ExportError: The batch cannot be cut, or draws of a part are unlike those of the whole.
    """
    if recipe.accumulate == 1 or not trial.draws:
        return trial.draws
    parts = recipe.accumulate
    cut = tuple(Draw((d.shape[0] // parts, *d.shape[1:]) if d.shape else (), d.kind) for d in trial.draws)
    return cut * parts


def _outputs(trial: Trial | None) -> tuple[TensorSpec, ...]:
    return tuple(_spec(name, tensor) for name, tensor in trial.outputs.items()) if trial else ()


def _example(recipe: Recipe, call: Call) -> dict[str, Array]:
    """The example batch by input name; nothing where it is on fake tensors."""
    found: dict[str, Array] = {}
    given = tensors(recipe.batch)
    for name, path in call.paths.items():
        tensor: Any = torch.as_tensor(given[path])
        if hasattr(tensor, "fake_mode") or tensor.device.type == "meta":
            return {}
        found[name] = _copied(tensor)
    sizes = {t.shape[0] for t in found.values() if t.ndim}
    if recipe.accumulate > 1 and any(size % recipe.accumulate for size in sizes):
        raise UsageError(
            f"a batch of {max(sizes)} cannot be cut into {recipe.accumulate} equal parts", "give a number that divides"
        )
    return found


def subject_of(workload: RecipeWorkload) -> Subject:
    """What is recorded of a workload that :func:`derive` made."""
    described: Described = workload.described
    call, state = described.call, described.state
    own = dict(call.model.named_parameters())

    def forward(values: Mapping[str, Any]) -> Any:
        with module_is_recorded(described.branch_free):
            return call.forward(values)

    names = {v.name for v in (*workload.parameters, *workload.buffers, *workload.frozen)}
    return Subject(
        model=call.model,
        workload=workload,
        paths={name: path for name, path in described.paths.items() if name in names},
        parameters={p.name: own[described.paths[p.name]] for p in workload.parameters},
        forward=forward,
        loss=call.loss,
        optimizer=workload.recipe.optimizer,
        slots=state.slots if state else {},
        constants=state.constants if state else {},
        options=state.options if state else {},
        outputs=named_outputs,
        root=described.root,
        layers=described.layers,
        parts=workload.recipe.accumulate,
        capturable=described.capturable,
        counters=described.counters,
        draws=True,
    )
