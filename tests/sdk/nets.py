"""Networks that the zoo does not have, for `file.py:factory`."""

import torch
from torch import Tensor, nn


class Mixed(nn.Module):
    """Attention, residuals, squeeze-excite, two outputs; takes non-square images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Hardswish())
        self.depthwise = nn.Conv2d(16, 16, 5, 1, 2, groups=16)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1))
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x = self.stem(picture)
        y = self.depthwise(x)
        x = x + y * torch.sigmoid(self.squeeze(y))
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return {"scores": self.head(tokens.mean(1)), "features": x}


class TwoInputs(nn.Module):
    """Two inputs of different shapes, told apart by their order in a subtraction."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(6, 4)

    def forward(self, zebra: Tensor, apple: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.left(zebra), self.right(apple)
        return a - b, a * 2.0


class Fourier(nn.Module):
    """An operator that mobile runtimes lack."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs() + 1.0


class Branching(nn.Module):
    """Control flow on a tensor's value, which torch.export refuses."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x + 1.0
        return x - 1.0


class Failing(nn.Module):
    """Fails by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(7, 7)


class Shades(nn.Module):
    """Ten classes; ends in a layer that is no small part of the whole, as classifiers do."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.ReLU(), nn.Conv2d(16, 64, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, picture: Tensor) -> Tensor:
        answer: Tensor = self.head(nn.functional.adaptive_avg_pool2d(self.trunk(picture), 1).flatten(1))
        return answer


def shades() -> nn.Module:
    torch.manual_seed(0)
    return Shades()


def mixed() -> nn.Module:
    torch.manual_seed(0)
    return Mixed()


def two_inputs() -> nn.Module:
    torch.manual_seed(0)
    return TwoInputs()


def fourier() -> nn.Module:
    return Fourier()


def branching() -> nn.Module:
    return Branching()


def failing() -> nn.Module:
    return Failing()


def no_network() -> int:
    return 3
