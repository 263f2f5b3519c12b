"""The loss of a recipe as Keras computes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.trainers.trainer import Trainer

from fathom_onnx.errors import UsageError

__all__ = ["TotalLoss", "total_loss"]


@dataclass(frozen=True)
class TotalLoss:
    """The loss that a training step minimises, the layers' own terms added.

    Attributes:
        compute: From (inputs, targets, outputs, sample weights) to a scalar.
        counting: What keeps metrics while it computes the loss; they are no state of the step.
    """

    compute: Callable[[Any, Any, Any, Any], tf.Tensor]
    counting: Any = None

    def counters(self) -> list[Any]:
        """The variables of these metrics."""
        metrics = self.counting.metrics if self.counting is not None else ()
        return [variable for metric in metrics for variable in metric.variables]


def _compiled(model: Any) -> bool:
    return isinstance(model, keras.Model) and bool(model.compiled)


def _own_compute_loss(model: Any) -> bool:
    return isinstance(model, keras.Model) and type(model).compute_loss is not Trainer.compute_loss


def _scalar(value: Any) -> tf.Tensor:
    """What a function of the user's gives: its mean where it is no scalar, as Keras takes it."""
    return tf.reduce_mean(tf.convert_to_tensor(value))


def _reduced(value: Any) -> tf.Tensor:
    """What a loss of Keras' gives. Of one that does not reduce, ``fit`` shows the mean and differentiates the sum.

    Raises:
        UsageError: It is no scalar.
    """
    value = tf.convert_to_tensor(value)
    if value.shape.rank:
        raise UsageError(
            f"the loss has {value.shape.num_elements()} numbers, as with reduction='none'",
            "give it reduction='sum' for the gradient that fit takes, 'sum_over_batch_size' for the loss that it shows",
        )
    return value


def _takes_weights(function: Callable[..., Any]) -> bool:
    """Whether a function takes sample weights after targets and outputs."""
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        return False
    return True


def _returned(outputs: Any) -> tf.Tensor:
    """The loss that a model returns: a scalar, or the entry or attribute ``loss``, or the first of several outputs.

    Raises:
        UsageError: It returns none.
    """
    value = outputs
    if isinstance(outputs, Mapping):
        value = outputs.get("loss")
    elif hasattr(outputs, "loss"):
        value = outputs.loss
    elif isinstance(outputs, list | tuple) and outputs:
        value = outputs[0]
    if not isinstance(value, tf.Tensor) or value.shape.num_elements() != 1:
        raise UsageError(
            "the model returns no loss",
            "give loss=, a Keras loss or a function from (targets, outputs) to a scalar, or compile the model",
        )
    return tf.reshape(value, ())


def _with_extra(model: Any, value: tf.Tensor) -> tf.Tensor:
    """The loss and what layers add to it: regularisers and activity."""
    extra = list(model.losses) if isinstance(model, keras.layers.Layer) else []
    return tf.add_n([value, *(tf.cast(tf.reduce_sum(term), value.dtype) for term in extra)]) if extra else value


def total_loss(model: Any, loss: Any) -> TotalLoss:
    """The loss of a model's training step.

    Args:
        model: The model.
        loss: A Keras loss or its name, a function from (targets, outputs) to the loss, or a list or dict of these for
            several outputs. None for the loss that the model was compiled with, or that it returns.

    Raises:
        UsageError: The model has a training step of its own, and no loss is given.
    """
    if loss is None and isinstance(model, keras.Model) and type(model).train_step is not keras.Model.train_step:
        raise UsageError(
            f"{type(model).__name__} has a train_step of its own, which may take several updates",
            "give loss=: the step is then the gradient of this loss and one update",
        )
    if loss is None and (_compiled(model) or _own_compute_loss(model)):
        # compute_loss adds the layers' terms itself
        return TotalLoss(lambda x, y, outputs, weights: _reduced(model._compute_loss(x, y, outputs, weights)), model)
    if loss is None:
        return TotalLoss(lambda x, y, outputs, weights: _with_extra(model, _returned(outputs)))
    if isinstance(loss, str | list | tuple | Mapping):
        several = CompileLoss(loss, output_names=getattr(model, "output_names", None))
        return TotalLoss(
            lambda x, y, outputs, weights: _with_extra(model, _reduced(several(y, outputs, weights))), several
        )

    def one(x: Any, y: Any, outputs: Any, weights: Any) -> tf.Tensor:
        if isinstance(loss, keras.Loss):
            return _with_extra(model, _reduced(loss(y, outputs, weights)))
        if weights is None:
            return _with_extra(model, _scalar(loss(y, outputs)))
        if _takes_weights(loss):
            return _with_extra(model, _scalar(loss(y, outputs, weights)))
        weighted = LossFunctionWrapper(loss, reduction="sum_over_batch_size")  # as ``fit`` takes a function
        return _with_extra(model, _reduced(weighted(y, outputs, weights)))

    return TotalLoss(one)
