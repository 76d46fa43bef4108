"""What is read back from a file, against a network of which it is known what is in it."""

from pathlib import Path

import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor, nn
from torch.nn import functional as F

from exporters import TARGETS, load_exporter
from exporters.base import Options
from exporters.contents import UnreadableArtifact, contents
from exporters.mil.errors import CorruptPackage
from tests.exporters.support import Stored

q = torch.ops.quantized_decomposed


def through_int8(x: Tensor) -> Tensor:
    whole = q.quantize_per_tensor(x, 0.05, 3, -128, 127, torch.int8)
    real: Tensor = q.dequantize_per_tensor(whole, 0.05, 3, -128, 127, torch.int8)
    return real


class Mixed(nn.Module):
    """Three layers in integers, one that is stored small and computes in float if `small`, and two in float."""

    def __init__(self, small: bool) -> None:
        super().__init__()
        self.dense, self.depthwise, self.answer = Stored(16, 3, 3, 3), Stored(16, 1, 3, 3), Stored(24, 16)
        self.small = Stored(16, 16, 1, 1) if small else None
        self.plain, self.last = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = through_int8(F.conv2d(through_int8(x), self.dense(), padding=1).relu())
        x = through_int8(F.conv2d(x, self.depthwise(), padding=1, groups=16))
        if self.small is not None:
            x = F.conv2d(torch.sigmoid(x), self.small())
        x = through_int8(self.plain(torch.sigmoid(x)).mean((2, 3)))
        x = through_int8(F.linear(x, self.answer()))
        answer: Tensor = self.last(torch.sigmoid(x))
        return answer


INT8, SMALL = 16 * 3 * 9 + 16 * 9 + 24 * 16, 16 * 16
FLOAT = 16 * 16 * 9 + 24 * 10


class Plain(nn.Module):
    """Layers of each kind that counts, and a product of two activations, which does not."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.up, self.linear = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(torch.sigmoid(self.depthwise(self.dense(x).relu()))).flatten(2)
        answer: Tensor = self.linear((x @ x.transpose(1, 2))[:, :, :6])
        return answer


PLAIN = 3 * 8 * 9 + 8 * 25 + 8 * 6 * 4 + 6 * 5


def written(network: nn.Module, target: str, precision: str, folder: Path) -> Path:
    torch.manual_seed(0)
    program = torch.export.export(network.eval(), (torch.randn(1, 3, 8, 8),))
    exporter = load_exporter(target)
    path = folder / f"net{exporter.suffix}"
    exporter.lower(program, Options(precision, ("image",), ("answer",)), path)
    return path


@pytest.mark.slow
def test_a_layer_is_integer_only_where_it_computes_so(target: str, tmp_path: Path) -> None:
    small = target != "executorch"  # which has no kernel for a convolution's dequantised weight
    found = contents(target, written(Mixed(small), target, "mixed", tmp_path))
    assert found is not None
    assert (found.layers, found.integer_layers) == (5 + small, 3)
    whole = INT8 + SMALL * small
    assert found.weights == {"int8": whole, "float32": FLOAT}
    assert found.int8_share == whole / (whole + FLOAT)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "kind"), [("fp32", "float32"), ("fp16", "float16")])
def test_float_files_hold_their_own_type(precision: str, kind: str, target: str, tmp_path: Path) -> None:
    found = contents(target, written(Plain(), target, precision, tmp_path))
    assert found is not None
    assert (found.layers, found.integer_layers) == (4, 0)
    assert sum(found.weights.values()) == PLAIN
    if (target, precision) != ("executorch", "fp16"):  # XNNPACK's serialiser keeps convolutions in float32
        assert found.weights == {kind: PLAIN}


def test_a_file_of_another_kind_is_refused(target: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{TARGETS[target].suffix}"
    path.write_bytes(b"not a model at all" * 8)
    kind = CorruptPackage if target == "coreml" else UnreadableArtifact
    with pytest.raises(kind, match=path.name):
        contents(target, path)


def test_a_target_without_a_reader_has_no_contents(tmp_path: Path) -> None:
    assert contents("somewhere", tmp_path) is None
