"""Models that try one thing of Keras each: a layer, an activation, a loss, an optimizer's setting, a way to build.

:data:`KINDS` has the makers by kind and name. A maker gives a model, inputs, targets, a loss and, where the optimizer
is what is tried, an optimizer.
"""

from __future__ import annotations

from .functions import ACTIVATIONS, LOSSES
from .layers import LAYERS
from .optimizers import OPTIMIZERS
from .ways import WAYS

__all__ = ["KINDS"]

KINDS = {
    "layers": LAYERS,
    "activations": ACTIVATIONS,
    "losses": LOSSES,
    "optimizers": OPTIMIZERS,
    "ways": WAYS,
}
"""Kind to name to maker."""
