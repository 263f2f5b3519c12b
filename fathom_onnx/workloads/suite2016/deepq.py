"""deepq: the deep Q-network on Atari Breakout (Mnih et al. 2015, doi:10.1038/nature14236).

Convolutions 8x8/4, 4x4/2 and 3x3/1 of 32, 64 and 64 filters and a fully connected layer of 512 units, each with a ReLU,
then a linear layer to one Q value per action. Inference computes the Q values of a batch of states. A training step has
two such networks: the online network, and the target network, whose variables are frozen and start as copies. With
``y = reward + discount * (1 - terminal) * max_a Q_target(next_state, a)`` the loss is the mean over the batch of the
Huber loss of ``y - Q(state, action)``, whose gradient is the error clipped to -1..1 as in the paper. No gradient flows
through y. The paper copies the online network into the target network every 10,000 updates; that is not part of a step:
the training loop feeds new frozen values instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Draw, Initialiser, Layer, RMSProp, TensorSpec, Workload
from fathom_onnx.workloads.stack import Convolution, Stack

__all__ = ["DEFINITION", "KERNELS", "STRIDES", "TARGET", "DeepqConfig", "build", "convolutions", "features"]

_NATURE = "Mnih et al. 2015"
_FATHOM = "Fathom deepq (Adolf et al. 2016)"

KERNELS = (8, 4, 3)
"""Kernel sizes of the three convolutions (Mnih et al. 2015, methods, model architecture)."""

STRIDES = (4, 2, 1)
"""Strides of the three convolutions (same source)."""

TARGET = "target."
"""Prefix of the names of the target network's layers and variables."""


@dataclass(frozen=True)
class DeepqConfig:
    """Hyper-parameters of deepq."""

    batch: int = setting(32, f"{_NATURE}, extended data table 1: minibatch size")
    image: int = setting(84, f"{_NATURE}, methods: frames of 84x84 luminance")
    history: int = setting(4, f"{_NATURE}, extended data table 1: agent history length")
    filters: tuple[int, ...] = setting((32, 64, 64), f"{_NATURE}, methods, model architecture")
    hidden: int = setting(512, f"{_NATURE}, methods, model architecture")
    actions: int = setting(4, "Breakout in the Arcade Learning Environment (Bellemare et al. 2013): minimal action set")
    discount: float = setting(0.99, f"{_NATURE}, extended data table 1: discount factor")
    clip: float = setting(1.0, f"{_NATURE}, methods: error term clipped to -1..1, the Huber loss's delta")
    learning_rate: float = setting(2.5e-4, f"{_NATURE}, extended data table 1, and {_FATHOM}")
    decay: float = setting(0.95, f"{_NATURE}, extended data table 1: squared gradient momentum, and {_FATHOM}")
    epsilon: float = setting(0.01, f"{_NATURE}, extended data table 1: min squared gradient, and {_FATHOM}")


def convolutions(config: DeepqConfig) -> Iterator[Convolution]:
    """The convolutions in order, ``conv1`` to ``conv3``.

    Raises:
        ValueError: The configuration does not have three numbers of filters.
    """
    if len(config.filters) != len(KERNELS):
        raise ValueError(f"filters has {len(config.filters)} values, not {len(KERNELS)}")
    channels_in = config.history
    for number, (channels, kernel, stride) in enumerate(zip(config.filters, KERNELS, STRIDES, strict=True), 1):
        yield Convolution(f"conv{number}", f"relu{number}", channels_in, channels, kernel, stride)
        channels_in = channels


def features(config: DeepqConfig) -> int:
    """Elements of a state's features, the input of ``fc1``.

    Raises:
        ValueError: The image is too small for a convolution.
    """
    side = config.image
    for number, conv in enumerate(convolutions(config), 1):
        side = conv.output_side(side)
        if side < 1:
            raise ValueError(f"image side {config.image} leaves nothing after convolution {number}")
    return config.filters[-1] * side**2


def _network(config: DeepqConfig) -> Stack:
    """Layers and parameters of the online network."""
    # the paper gives no initial values: He et al. 2015 before a ReLU, Glorot and Bengio 2010 elsewhere
    stack = Stack()
    for conv in convolutions(config):
        stack.convolution(conv)
    stack.plain("flatten", "flatten")
    stack.linear("fc1", features(config), config.hidden)
    stack.plain("relu4", "relu")
    stack.linear("fc2", config.hidden, config.actions, Initialiser.glorot_uniform(config.hidden, config.actions))
    return stack


def build(preset: str, config: DeepqConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The configuration is impossible: filters or image side.
    """
    c = config
    online = _network(c)
    frames = (c.batch, c.history, c.image, c.image)
    coin = Draw("integers", 0, 2)
    return Workload(
        name="deepq",
        preset=preset,
        config=c,
        features=(TensorSpec("states", frames, meaning="the last frames, oldest first, grey levels 0 to 1"),),
        targets=(
            TensorSpec("next_states", frames, meaning="the frames after the action"),
            TensorSpec("actions", (c.batch, c.actions), meaning="one-hot action taken", draw=Draw("one_hot")),
            TensorSpec("rewards", (c.batch,), meaning="reward, clipped to -1..1", draw=coin),
            TensorSpec("terminals", (c.batch,), meaning="1 where the episode ended, else 0", draw=coin),
        ),
        parameters=tuple(online.parameters),
        outputs=(TensorSpec("q_values", (c.batch, c.actions), meaning="expected return of every action"),),
        layers=(
            *online.layers,
            *(replace(layer, name=f"{TARGET}{layer.name}") for layer in online.layers),
            Layer("bootstrap", "bootstrap target"),
        ),
        optimizer=RMSProp(c.learning_rate, c.decay, c.epsilon),
        data="atari",
        frozen=tuple(replace(p, name=f"{TARGET}{p.name}", starts_as=p.name) for p in online.parameters),
    )


_PAPER = DeepqConfig()

DEFINITION = Definition(
    name="deepq",
    summary="deep Q-network with a frozen target network, on Breakout",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=16),
        "tiny": replace(_PAPER, batch=4, image=36, filters=(4, 8, 8), hidden=16),
    },
    build=build,
    fidelity="The original Fathom code clamps negative Q values to zero, which the paper does not; here they are as "
    "the network gives them. The loss is the mean over the batch, as the paper's expectation says. RMSProp is "
    "Fathom's, without the running mean of the gradient that the authors' released code subtracts.",
    papers=(
        "Mnih et al., Human-level control through deep reinforcement learning, Nature 518, 2015, "
        "doi:10.1038/nature14236",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
