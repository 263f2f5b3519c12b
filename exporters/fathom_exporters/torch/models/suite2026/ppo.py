"""ppo in PyTorch: proximal policy optimisation of :mod:`fathom_onnx.workloads.suite2026.ppo`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_onnx.workloads.suite2026.ppo import ACTIONS, OBSERVATIONS, PpoConfig

__all__ = ["Advantages", "Ppo"]

_LOG_2PI = math.log(2 * math.pi)


class Policy(nn.Module):
    """A normal distribution around a mean, with the same deviation in every state."""

    def __init__(self) -> None:
        super().__init__()
        self.log_deviation = nn.Parameter(torch.zeros(ACTIONS))

    def forward(
        self, mean: Tensor, noise: Tensor | None = None, actions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean [N, actions] -> the actions [N, actions], drawn unless given, and their log probabilities [N]."""
        if actions is None:
            noise = torch.randn_like(mean) if noise is None else noise
            actions = mean + self.log_deviation.exp() * noise
        deviations = (actions - mean) / self.log_deviation.exp()
        return actions, (-0.5 * deviations.square() - self.log_deviation - 0.5 * _LOG_2PI).sum(1)


class Actor(nn.Module):
    """The mean of the policy, and the policy around it."""

    def __init__(self, config: PpoConfig) -> None:
        super().__init__()
        self.depth = len(config.hidden)
        _add_hidden(self, config)
        self.mean = nn.Linear(config.hidden[-1], ACTIONS)
        self.policy = Policy()

    def forward(
        self, observations: Tensor, noise: Tensor | None = None, actions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Observations [N, 3] -> actions [N, actions] and their log probabilities [N]."""
        drawn: tuple[Tensor, Tensor] = self.policy(self.mean(_hidden(self, observations)), noise, actions)
        return drawn


class Critic(nn.Module):
    """The value of a state."""

    def __init__(self, config: PpoConfig) -> None:
        super().__init__()
        self.depth = len(config.hidden)
        _add_hidden(self, config)
        self.value = nn.Linear(config.hidden[-1], 1)

    def forward(self, observations: Tensor) -> Tensor:
        """Observations [N, 3] -> values [N, 1]."""
        values: Tensor = self.value(_hidden(self, observations))
        return values


def _add_hidden(network: nn.Module, config: PpoConfig) -> None:
    for number, (inputs, units) in enumerate(zip((OBSERVATIONS, *config.hidden), config.hidden, strict=False), 1):
        network.add_module(f"hidden{number}", nn.Linear(inputs, units))
        network.add_module(f"tanh{number}", nn.Tanh())


def _hidden(network: Actor | Critic, x: Tensor) -> Tensor:
    for number in range(1, network.depth + 1):
        x = network.get_submodule(f"tanh{number}")(network.get_submodule(f"hidden{number}")(x))
    return x


class Advantages(nn.Module):
    """Generalised advantage estimation (the paper's eq. 11), by doubling."""

    def __init__(self, discount: float, gae: float) -> None:
        super().__init__()
        self.discount, self.gae = discount, gae

    def forward(self, rewards: Tensor, ends: Tensor, values: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Rewards, ends and values [actors, T], values after them [actors, 1] -> advantages and returns [actors, T]."""
        onward = self.discount * (1 - ends)
        advantages = rewards + onward * torch.cat([values[:, 1:], last], 1) - values
        decay = self.gae * onward
        horizon, reach = rewards.shape[1], 1
        while reach < horizon:  # advantages: sums over the next ``reach`` steps; decay: the factor behind them
            advantages = advantages + decay * F.pad(advantages[:, reach:], (0, reach))
            decay = decay * F.pad(decay[:, reach:], (0, reach))
            reach *= 2
        return advantages, advantages + values


class Minibatch(nn.Module):
    """The steps of a minibatch."""

    def forward(self, places: Tensor, *segments: Tensor) -> list[Tensor]:
        """Tensors [actors, T, ...] -> their values at the places, [batch, ...]."""
        return [segment.flatten(0, 1).index_select(0, places) for segment in segments]


class Ppo(nn.Module):
    """Actor and critic, and what training makes of a segment."""

    def __init__(self, config: PpoConfig) -> None:
        super().__init__()
        self.config = config
        self.actor = Actor(config)
        self.critic = Critic(config)
        self.advantages = Advantages(config.discount, config.gae)
        self.minibatch = Minibatch()

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """In inference the acting step; in training what the loss needs of a minibatch."""
        if not self.training:
            actions, log_probabilities = self.actor(batch["observations"], batch.get("noise"))
            values = self.critic(batch["observations"]).squeeze(1)
            return {"actions": actions, "log_probabilities": log_probabilities, "values": values}
        with torch.no_grad():
            last = self.critic(batch["observations"])
            advantages, returns = self.advantages(batch["rewards"], batch["ends"], batch["past_values"], last)
            segments = (batch["past_observations"], batch["past_actions"], batch["past_log_probabilities"])
            observations, actions, old, advantages, returns = self.minibatch(
                batch["places"], *segments, advantages, returns
            )
        _, new = self.actor(observations, actions=actions)
        values = self.critic(observations)
        return {"new": new, "old": old, "advantages": advantages, "values": values, "returns": returns}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The paper's eq. 9, to be made small: clipped surrogate, error of the values, entropy."""
        c = self.config
        centred = outputs["advantages"] - outputs["advantages"].mean()
        advantages = centred / (centred.square().mean().sqrt() + c.advantage_epsilon)
        ratio = torch.exp(outputs["new"] - outputs["old"])
        surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - c.clip, 1 + c.clip) * advantages).mean()
        value_error = (outputs["values"].squeeze(1) - outputs["returns"]).square().mean()
        entropy = (self.actor.policy.log_deviation + 0.5 * (1 + _LOG_2PI)).sum()
        return c.value_coefficient * value_error - surrogate - c.entropy_coefficient * entropy
