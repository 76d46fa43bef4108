"""Small networks to be quantised, and samples of theirs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from runtime_py.manifest import Classify, Manifest
from runtime_py.manifest import Tensor as Spec

SHAPE = (1, 3, 12, 12)
MANIFEST = Manifest(
    model="net", task="classify", inputs=(Spec(name="x", shape=SHAPE),), outputs=(Spec(name="y", shape=(1, 32)),),
    postprocessing=Classify(output="y"),
)  # fmt: skip


class Branches(nn.Module):
    """A residual sum, a concatenation around an activation, a view, a reading layer without a bias."""

    def __init__(self, outlier: float = 0.3) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.third, self.last = nn.Conv2d(32, 16, 1, bias=False), nn.Linear(16 * 36, 32)
        self.outlier = outlier

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.first(x))
        y = x + self.second(x)
        # one place that says nothing in float, and takes all levels from the others in integers
        y = y + self.outlier * (x > 2.2).float() * x
        z = nn.functional.max_pool2d(nn.functional.relu(self.third(torch.cat((x, y), 1))), 2)
        answer: Tensor = self.last(z.view(1, -1))
        return answer


def program(outlier: float = 0.3) -> ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Branches(outlier).eval(), samples(1)[0])


def samples(count: int, seed: int = 1) -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(SHAPE, generator=generator),) for _ in range(count)]


def firsts(network: nn.Module, given: Sequence[tuple[Tensor]]) -> list[Tensor]:
    """The first output for each sample."""
    with torch.no_grad():
        return [torch.utils._pytree.tree_leaves(network(*sample))[0] for sample in given]
