"""A quantised network as the quantiser writes it, by hand: ends of every kind, and no tool that measures ranges."""

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from runtime_py.manifest import Manifest, Preprocessing
from runtime_py.manifest import Tensor as Spec
from tests.exporters.support import Stored

q = torch.ops.quantized_decomposed
SHAPE = (1, 3, 16, 16)
INPUT, INNER, SCORES = (0.0187, -14), (0.031, -128), (0.052, 17)
"""Scale and zero point."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MANIFEST = Manifest(
    model="ended",
    inputs=(Spec(name="image", shape=SHAPE, layout="NCHW"),),
    outputs=(
        Spec(name="scores", shape=(1, 10)),
        Spec(name="map", shape=(1, 8 * 64)),
        Spec(name="share", shape=(1, 10)),
    ),
    preprocessing=Preprocessing(
        input="image", width=16, height=16,
        mean_values=tuple(255 * value for value in MEAN), scale_values=tuple(255 * value for value in STD),
    ),
)  # fmt: skip


def whole(x: Tensor, params: tuple[float, int]) -> Tensor:
    found: Tensor = q.quantize_per_tensor(x, *params, -128, 127, torch.int8)
    return found


def real(x: Tensor, params: tuple[float, int]) -> Tensor:
    """Called for each reader anew, as the quantiser writes it: runtimes look for a dequantisation of a layer's own."""
    found: Tensor = q.dequantize_per_tensor(x, *params, -128, 127, torch.int8)
    return found


class Ended(nn.Module):
    """Scores straight from a layer; a map that is moved about, and read by the next layer too; a share in float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = Stored(8, 3, 3, 3), Stored(10, 8)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.conv2d(real(whole(image, INPUT), INPUT), self.stem(), self.stem.bias, 2, 1).relu()
        x = whole(x, INNER)
        mean = whole(F.adaptive_avg_pool2d(real(x, INNER), 1), INNER)
        row = whole(real(mean, INNER).flatten(1), INNER)
        scores = whole(F.linear(real(row, INNER), self.head(), self.head.bias), SCORES)
        return real(scores, SCORES), self.moved(x), real(scores, SCORES).softmax(1)

    def moved(self, x: Tensor) -> Tensor:
        return real(x, INNER).flatten(1)


class Whole(Ended):
    """The map as it is."""

    def moved(self, x: Tensor) -> Tensor:
        return real(x, INNER)


class InFloat(nn.Module):
    """Integers inside, and floats at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Stored(10, 3)

    def forward(self, image: Tensor) -> Tensor:
        mean = whole(image.sigmoid().mean((2, 3)), INPUT)
        return F.linear(real(mean, INPUT), self.head(), self.head.bias).softmax(1)


def program(network: type[nn.Module] = Ended) -> ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(network().eval(), (torch.zeros(SHAPE),))


def pixels(seed: int) -> Tensor:
    """Smooth noise of bytes, as photographs are, (1, 3, H, W)."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(coarse, size=SHAPE[2:], mode="bilinear") * 255).round().to(torch.uint8)


def normalised(given: Tensor) -> Tensor:
    """ToTensor and Normalize."""
    x = given.to(torch.float32).div(255)
    return x.sub(torch.tensor(MEAN).view(1, 3, 1, 1)).div(torch.tensor(STD).view(1, 3, 1, 1))
