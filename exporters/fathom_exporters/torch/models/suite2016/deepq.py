"""deepq in PyTorch: the deep Q-network of :mod:`fathom_onnx.workloads.suite2016.deepq`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_onnx.workloads.suite2016.deepq import DeepqConfig, convolutions, features

__all__ = ["DeepQ", "QNetwork"]


class QNetwork(nn.Module):
    """States [N, history, H, W] -> Q values [N, actions]."""

    def __init__(self, config: DeepqConfig) -> None:
        super().__init__()
        self.convolutions = tuple(convolutions(config))
        for c in self.convolutions:
            self.add_module(c.name, nn.Conv2d(c.channels_in, c.channels, c.kernel, c.stride))
            self.add_module(c.relu, nn.ReLU())
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(features(config), config.hidden)
        self.relu4 = nn.ReLU()
        self.fc2 = nn.Linear(config.hidden, config.actions)

    def q_values(self, states: Tensor) -> Tensor:
        """States [N, history, H, W] -> Q values [N, actions]."""
        x = states
        for c in self.convolutions:
            x = self.get_submodule(c.relu)(self.get_submodule(c.name)(x))
        q_values: Tensor = self.fc2(self.relu4(self.fc1(self.flatten(x))))
        return q_values

    def forward(self, states: Tensor) -> Tensor:
        """:meth:`q_values`, for the target network as a module of :class:`DeepQ`."""
        return self.q_values(states)


class Bootstrap(nn.Module):
    """The target y: reward and, where the episode goes on, the discounted best Q value of the next state."""

    def __init__(self, discount: float) -> None:
        super().__init__()
        self.discount = discount

    def forward(self, q_values: Tensor, rewards: Tensor, terminals: Tensor) -> Tensor:
        return rewards + self.discount * (1 - terminals) * q_values.amax(1)


class DeepQ(QNetwork):
    """The online network, with the target network and the bootstrap target for training."""

    def __init__(self, config: DeepqConfig) -> None:
        super().__init__(config)
        self.target = QNetwork(config).requires_grad_(False)
        self.bootstrap = Bootstrap(config.discount)
        self.clip = config.clip

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:  # type: ignore[override]
        """Batch inputs to the Q values and, in training, the bootstrap target."""
        outputs = {"q_values": self.q_values(batch["states"])}
        if self.training:
            with torch.no_grad():
                best = self.target(batch["next_states"])
                outputs["targets"] = self.bootstrap(best, batch["rewards"], batch["terminals"])
        return outputs

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean Huber loss of the Q values of the actions taken."""
        taken = (outputs["q_values"] * batch["actions"]).sum(1)
        return F.huber_loss(taken, outputs["targets"], delta=self.clip)
