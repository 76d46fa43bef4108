"""What tests of exporters share: targets that are installed here, and int8 weights as the quantiser stores them."""

from importlib.util import find_spec

import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor, nn

from exporters import TARGETS

q = torch.ops.quantized_decomposed


def installed(target: str) -> str:
    """The target; the test is skipped where its packages are absent."""
    row = TARGETS[target]
    absent = [package for package in row.packages if find_spec(package) is None]
    if absent:
        pytest.skip(f"{row.title} needs {', '.join(absent)}, not installed here")
    return target


class Stored(nn.Module):
    """A weight in int8 with a scale an output channel, dequantised where it is used, and a bias for who wants one."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("whole", torch.randint(-127, 128, shape, dtype=torch.int8))
        self.register_buffer("scale", torch.rand(shape[0]) * 1e-3 + 1e-3)
        self.register_buffer("zero", torch.zeros(shape[0], dtype=torch.int64))
        self.bias = nn.Parameter(torch.randn(shape[0]) * 0.1, requires_grad=False)

    def forward(self) -> Tensor:
        weight: Tensor = q.dequantize_per_channel(self.whole, self.scale, self.zero, 0, -127, 127, torch.int8)
        return weight
