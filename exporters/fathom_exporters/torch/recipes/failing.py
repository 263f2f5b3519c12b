"""A step that cannot be recorded, in one line: the operation, the layer, the user's line of code, what to write."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from fathom_onnx.errors import ExportError, FathomError, one_line
from fathom_onnx.recipes.blame import user_line

__all__ = ["explained", "is_of_recording", "reason_of"]

_BY_VALUE = (
    "a branch or a number that depends on values",
    "write it with torch.where, or record it as it is for the example batch with specialise=True (--specialise)",
)
_BY_SHAPE = (
    "a shape that depends on values",
    "use torch.where or a product with a mask of fixed shape (a mean over some: divide by the mask's sum; experts in "
    "transformers: config._experts_implementation = 'batched_mm'), or record it as it is for the example batch with "
    "specialise=True (--specialise)",
)
_BY_CHANCE = (
    "a value that depends on a random number, and is another in every step",
    "choose by torch.where (LayerDrop in transformers: config.layerdrop = 0)",
)


def reason_of(error: BaseException) -> tuple[str, str, str] | None:
    """(operation, what is wrong, what to write instead) of an error of PyTorch's recording; None for any other.

    An export can be tried again where the refusal of another is handled, which is then in the chain of errors too.
    """
    cause: BaseException | None = error
    while cause is not None and (cause is error or not isinstance(cause, FathomError)):
        if isinstance(cause, DataDependentOutputException):
            return (str(cause.func), *_BY_VALUE)
        if isinstance(cause, DynamicOutputShapeException):
            return (str(cause.func), *_BY_SHAPE)
        if isinstance(cause, GuardOnDataDependentSymNode):
            return ("a comparison", *_BY_VALUE)
        cause = cause.__cause__ or cause.__context__
    if "is_complex" in str(error) or "ComplexFloat" in str(error):
        return ("an operation", "complex numbers, which ONNX does not have", "keep real and imaginary parts apart")
    found = re.search(r"aten[.:]+(\w+)", str(error))
    if found and "data-dependent" in str(error):
        return (f"aten.{found[1]}", *_BY_VALUE)
    return None


_ADVICE = re.compile(r"(Use tlparse to see|Set TORCH(DYNAMO|_LOGS)|While executing %).*", re.DOTALL)
"""What PyTorch adds to an error's text about its own tools."""


def _own_text(error: BaseException) -> str:
    return _ADVICE.sub("", str(error)).strip() or type(error).__name__


def is_of_recording(error: ExportError) -> bool:
    """Whether an error is one of :func:`explained`'s: the step failed while it was recorded."""
    return error.__cause__ is not None and not isinstance(error.__cause__, FathomError)


@contextlib.contextmanager
def explained(model: nn.Module, specialise: bool) -> Iterator[None]:
    """While entered, an error of the recording becomes one line that says where.

    Args:
        model: The model that runs.
        specialise: Whether the values of an example are known: what is unknown then is random.

    Raises:
        ExportError: The step cannot be recorded, or the user's code fails.
    """
    running: list[str] = []
    handles = []
    for path, module in model.named_modules():

        def enter(_: Any, __: Any, path: str = path) -> None:
            running.append(path or type(model).__name__)

        def leave(*_: Any) -> None:
            running.pop()

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    except FathomError:
        raise
    except Exception as error:
        place = user_line(error)
        layer = running[-1] if running else type(model).__name__
        at = f" in layer '{layer}'{f' ({place})' if place else ''}"
        found = reason_of(error)
        if found is None:
            raise ExportError(f"the step fails{at}: {type(error).__name__}: {one_line(_own_text(error))}") from error
        operation, what, rewrite = (found[0], *_BY_CHANCE) if specialise else found
        raise ExportError(f"{operation}{at} needs {what}", rewrite) from error
    finally:
        for handle in handles:
            handle.remove()
