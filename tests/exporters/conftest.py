"""Networks that no zoo has, captured once, and each target's own runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from exporters import ALL
from tests.exporters.support import installed

Arrays = Mapping[str, np.ndarray]


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, width // 4, 1)
        self.expand = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(pooled))))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        split = self.qkv(self.norm(x)).reshape(n, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(y.transpose(1, 2).reshape(n, length, width))


class TwoHeads(nn.Module):
    """Attention, residuals, depthwise, squeeze-and-excite, hard-swish; two outputs."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish())
        self.depthwise = nn.Sequential(
            nn.Conv2d(width, width, 5, 1, 2, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU6()
        )
        self.excite = SqueezeExcite(width)
        self.down = nn.Conv2d(width, width, 2, 2)
        self.attention = Attention(width, 4)
        self.classify = nn.Linear(width, 10)
        self.segment = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(image)
        x = x + self.excite(self.depthwise(x))
        mask = F.interpolate(self.segment(x), scale_factor=2.0, mode="nearest")
        tokens = self.attention(self.down(x).flatten(2).transpose(1, 2))
        return self.classify(F.gelu(tokens.mean(1))), mask


class Volume(nn.Module):
    """Conv3d in every form that the rewrite knows: strided, depthwise, dilated, padding by name, 1 x 1 x 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(8, 8, 3, stride=(2, 1, 1), padding=1, groups=8),
            nn.Conv3d(8, 8, (4, 3, 3), padding="same"),
            nn.Conv3d(8, 8, (2, 1, 1), dilation=(2, 1, 1)),
            nn.Conv3d(8, 4, 1),
        )

    def forward(self, volume: Tensor) -> Tensor:
        out: Tensor = self.layers(volume)
        return out


class Slices(nn.Module):
    """A slice of everything in the middle and at the end, which decomposes to a mere alias."""

    def forward(self, image: Tensor) -> Tensor:
        return (image[:, 0:] * 2).flatten(1)[:, 0:]


@torch.library.custom_op("edge_sdk_tests::mirror", mutates_args=())
def mirror(x: Tensor) -> Tensor:
    return x.flip(-1).clone()


@mirror.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class CallsSvd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svd(x * 2)[1]  # the line that every message must give


class CallsCustom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = mirror(x * 2)
        return y + 1


NETWORKS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (TwoHeads, Volume, Slices, CallsSvd, CallsCustom)
}


def settle(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Give batch norm the statistics of seeded noise, so that folding it changes something."""
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(4, *shape[1:]))
    return network.eval()


def saved_and_loaded(network: nn.Module, shape: tuple[int, ...], folder: Path) -> ExportedProgram:
    """The program as an exporter gets it: captured, saved to a .pt2 and read back."""
    path = folder / f"{type(network).__name__}.pt2"
    torch.export.save(torch.export.export(network, (torch.randn(shape),)), path)
    return torch.export.load(path)


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ExportedProgram]:
    folder = tmp_path_factory.mktemp("programs")

    def make(name: str, shape: tuple[int, ...]) -> ExportedProgram:
        torch.manual_seed(0)
        network = NETWORKS[name]()
        if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
            settle(network, shape)
        return saved_and_loaded(network.eval(), shape, folder)

    return make


def run_tflite(path: Path, inputs: Arrays) -> Arrays:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    return interpreter.get_signature_runner()(**inputs)


def run_executorch(path: Path, inputs: Arrays) -> Arrays:
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    answers = method.execute([torch.from_numpy(array) for array in inputs.values()])
    return {str(index): answer.numpy() for index, answer in enumerate(answers)}


def run_openvino(path: Path, inputs: Arrays) -> Arrays:
    import openvino as ov

    compiled = ov.Core().compile_model(path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = compiled(dict(inputs))
    return {port.get_any_name(): answers[port] for port in compiled.outputs}


def run_onnx(path: Path, inputs: Arrays) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def run_coreml(path: Path, inputs: Arrays) -> Arrays:
    from exporters.mil.interpreter import Interpreter
    from exporters.mil.package import read_program

    return Interpreter(read_program(path)).run(inputs)


RUNTIMES: dict[str, Callable[[Path, Arrays], Arrays]] = {
    "coreml": run_coreml,
    "tflite": run_tflite,
    "executorch": run_executorch,
    "openvino": run_openvino,
    "onnx": run_onnx,
}


@pytest.fixture(params=list(ALL))
def target(request: pytest.FixtureRequest) -> str:
    """Every target that is installed here."""
    return installed(request.param)


@pytest.fixture
def run(target: str) -> Callable[[Path, Arrays], Arrays]:
    return RUNTIMES[target]
