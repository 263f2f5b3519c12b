"""A step as a function of tensors: the model, its loss, PyTorch's backward pass and the optimizer's own step.

In comes a :class:`Subject`; out goes a function from a step's inputs to its outputs and gradients by name, which can be
run and recorded alike.
"""

from .step import OP, PHASE, SCOPE, Mark, Step, gradient_name, layer_marks, make_step, updated
from .subject import Batch, Subject

__all__ = [
    "OP",
    "PHASE",
    "SCOPE",
    "Batch",
    "Mark",
    "Step",
    "Subject",
    "gradient_name",
    "layer_marks",
    "make_step",
    "updated",
]
