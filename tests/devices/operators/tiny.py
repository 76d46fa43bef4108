"""One small network on each target: what is read back of its operators is compared with the network itself."""

from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from devices.operators import Timed
from devices.operators.matching import HEAVY, rows
from exporters import TARGETS
from exporters.base import Options
from runtime_py import manifest
from runtime_py.bundle import Bundle, describe
from runtime_py.manifest import Artifact, Manifest, Node, OperatorRow
from sdk.nodes import nodes_of
from tests.exporters.mcu.test_reader import quantised
from tests.exporters.support import installed

SHAPE, CLASSES = (1, 3, 48, 64), 10
LAYERS = ("stem.0", "expand.0", "depth.0", "project", "side", "head")


class Tiny(nn.Module):
    """An inverted residual, a branch that is joined, a classifier. Each layer has weights of another number."""

    def __init__(self, joined: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(16, 40, 1), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(40, 40, 5, 2, 2, groups=40), nn.ReLU())
        self.project = nn.Conv2d(40, 16, 1)
        self.side = nn.Conv2d(16, 16, 3, 2, 1)
        self.head = nn.Linear(32 if joined else 16, CLASSES)
        self.joined = joined

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        narrow, side = self.project(self.depth(self.expand(x))), self.side(x)
        both = torch.cat([narrow, side], 1) if self.joined else narrow + side
        answer: Tensor = self.head(both.mean((2, 3)))
        return answer


@dataclass(frozen=True)
class Made:
    """A bundle of one artifact, in memory but for the artifact's own file, and an input of it."""

    bundle: Bundle
    artifact: Artifact
    inputs: dict[str, np.ndarray]

    @property
    def network(self) -> tuple[Node, ...]:
        return self.bundle.manifest.network

    @property
    def path(self) -> Path:
        return self.bundle.path / self.artifact.file


def lowered(folder: Path, target: str, precision: str = "fp32", *, joined: bool = True) -> Made:
    """The network on `target`, which is installed here or the test is skipped."""
    row = TARGETS[installed(target)]
    torch.manual_seed(0)
    network = Tiny(joined).eval()
    plain = torch.export.export(network, (torch.zeros(SHAPE),))
    program = quantised(network, *SHAPE) if precision == "w8a8" else plain
    image = np.random.default_rng(1).random(SHAPE, np.float32) * 2 - 1
    return _written(folder, row.module, target, precision, program, nodes_of(plain), image)


def _written(
    folder: Path, module: str, target: str, precision: str, program: ExportedProgram, network: tuple[Node, ...],
    image: np.ndarray,
) -> Made:  # fmt: skip
    exporter = import_module(module).exporter
    name = f"tiny.{precision}{exporter.suffix}" if exporter.suffix.startswith(".") else exporter.suffix.rstrip("/")
    told = exporter.lower(program, Options(precision, ("image",), ("scores",), example=image), folder / name)
    size, sha256 = describe(folder / name)
    artifact = Artifact(
        target=target, precision=precision, file=name, bytes=size, sha256=sha256, status="executed",
        inputs=told.inputs, outputs=told.outputs, operators_total=told.operators_total, mcu=told.mcu,
    )  # fmt: skip
    own = Manifest(
        model="tiny", inputs=(manifest.Tensor(name="image", shape=SHAPE),), artifacts=(artifact,), network=network,
        outputs=(manifest.Tensor(name="scores", shape=(1, CLASSES)),),
    )  # fmt: skip
    return Made(Bundle(folder, own), artifact, {"image": image})


def all_layers(made: Made, timed: list[Timed]) -> tuple[OperatorRow, ...]:
    """The rows, which must hold every layer of the network once, by its module's name, and each of its
    multiply-accumulates. Each must have taken some time, but for the last one with its 320."""
    found = rows(timed, made.network)
    layers = [one for one in found if one.macs]
    assert sorted(one.module for one in layers) == sorted(LAYERS)
    assert sum(one.macs for one in found) == sum(node.macs for node in made.network)
    for one in layers:
        assert not one.own
        assert one.node is not None
        assert made.network[one.node].kind in HEAVY
        assert one.ms > 0 or one.module == "head"
        if one.ms > 0:
            assert one.gmacs_per_s is not None
            assert abs(one.gmacs_per_s * one.ms * 1e6 - one.macs) <= 1e-6 * one.macs
    assert all(one.ms >= 0 and one.node is not None for one in found)
    return found


def outputs_of(made: Made) -> dict[str, int]:
    """Elements of each layer's output, worked out by hand from the network above."""
    half, quarter = 24 * 32, 12 * 16
    assert prod(SHAPE[2:]) == 4 * half
    return {"stem.0": 16 * half, "expand.0": 40 * half, "depth.0": 40 * quarter, "project": 16 * quarter,
            "side": 16 * quarter, "head": CLASSES}  # fmt: skip
