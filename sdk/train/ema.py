"""An exponential moving average of a model's weights and buffers."""

import copy

import torch
from torch import Tensor, nn


class Ema:
    """`model` is the averaged copy; counters (integer buffers) are copied, not averaged."""

    def __init__(self, source: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(source).eval().requires_grad_(False)
        self.decay = decay
        pairs = zip(self.model.state_dict().values(), source.state_dict().values(), strict=True)
        tensors = list(pairs)
        self._means: list[Tensor] = [mean for mean, _ in tensors if mean.is_floating_point()]
        self._values: list[Tensor] = [value for mean, value in tensors if mean.is_floating_point()]
        self._counters = [(mean, value) for mean, value in tensors if not mean.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimiser step `step` (from 0); the decay grows from 0.1 so that early noise fades."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._means, self._values, 1 - decay)
        for mean, value in self._counters:
            mean.copy_(value)
