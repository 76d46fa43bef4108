"""Weights alone in 8 and 4 bits: against networks dequantised by hand, and in the files that targets write."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import sdk
from exporters import TARGETS, load_exporter
from exporters.base import Lowered, Options
from runtime_py.bundle import describe
from runtime_py.proof import sqnr_db
from sdk.quantize.recipes import NothingToQuantise
from sdk.quantize.scheme import CannotTake, check_scheme
from sdk.quantize.weights import rounded, with_small_weights

SHAPE = (1, 3, 32, 32)


class Wide(nn.Module):
    """Nearly all of its file are weights: a stem, a depthwise and two 1 x 1 convolutions, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6()),
            *(nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.Conv2d(64, 640, 1), nn.Hardswish()),
            *(nn.Conv2d(640, 256, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 640), nn.ReLU(), nn.Linear(640, 100)),
        )

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.layers(image)
        return found


@pytest.fixture(scope="module")
def wide() -> nn.Module:
    torch.manual_seed(0)
    network = Wide().train()
    with torch.no_grad():
        for _ in range(4):  # so that folding the norms changes something
            network(torch.randn(4, *SHAPE[1:]))
    return network.eval()


@pytest.fixture(scope="module")
def program(wide: nn.Module) -> ExportedProgram:
    return torch.export.export(wide, (torch.randn(SHAPE),))


def by_hand(network: Wide, bits: int) -> nn.Module:
    """Norms folded by torch's own tool, and each weight through `rounded`, dequantised here."""
    folded = nn.Sequential(*network.layers)
    made: list[nn.Module] = []
    for layer in folded:
        if isinstance(layer, nn.BatchNorm2d):
            made[-1] = nn.utils.fuse_conv_bn_eval(made[-1], layer)
        else:
            made.append(layer)
    for layer in made:
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        weight = layer.weight.detach()
        grouped = bits == 4 and weight[0, 0].numel() == 1 and weight.shape[1] % 32 == 0
        rows = weight.reshape(-1, 32) if grouped else weight.flatten(1)
        small = rounded(rows, 4 if grouped else 8)
        layer.weight = nn.Parameter((small.whole.float() * small.scale[:, None]).reshape(weight.shape))
    return nn.Sequential(*made).eval()


@pytest.mark.parametrize("bits", [8, 4])
def test_the_canonical_program_answers_as_its_weights_say(wide: Wide, program: ExportedProgram, bits: int) -> None:
    from copy import deepcopy

    image = torch.randn(SHAPE)
    with torch.no_grad():
        found, expected = with_small_weights(program, bits)(image), by_hand(deepcopy(wide), bits)(image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_layer_is_stored_in_integers(program: ExportedProgram) -> None:
    for bits, largest in ((8, 127), (4, 7)):
        stored = {n: t for n, t in with_small_weights(program, bits).state_dict().items() if n.endswith("_whole")}
        assert len(stored) == 6
        assert all(tensor.dtype == torch.int8 for tensor in stored.values())
        grouped = [tensor for tensor in stored.values() if tensor.shape[-1] == 32]
        assert len(grouped) == (4 if bits == 4 else 0)
        assert all(int(tensor.abs().max()) <= largest for tensor in grouped)
    assert sum(tensor.numel() for tensor in program.state_dict.values()) > 430_000  # and the program stays as it is


@pytest.mark.parametrize("bits", [8, 4])
def test_rounding_keeps_each_rows_sum_and_stays_within_a_step(bits: int) -> None:
    torch.manual_seed(0)
    rows = torch.randn(50, 32)
    rows[0] = 0.0
    made = rounded(rows, bits)
    limit = 2 ** (bits - 1) - 1
    missing = rows / made.scale[:, None] - made.whole
    assert int(made.whole.abs().max()) <= limit
    assert not made.whole[0].any()
    inside = (rows / made.scale[:, None]).abs() <= limit
    assert float(missing[inside].abs().max()) <= 1.0 + 1e-4  # a weight may be rounded to the other side
    if bits == 8:  # what a smaller scale cuts off cannot be given back
        assert float(missing.sum(1).abs().max()) <= 0.5 + 1e-3


def test_a_row_of_tiny_and_of_one_large_value_is_finite() -> None:
    rows = torch.tensor([[1e-42, 0.0, 0.0], [3e38, 1.0, -1.0]])
    for bits in (8, 4):
        made = rounded(rows, bits)
        assert bool(torch.isfinite(made.scale).all())


def test_a_network_without_such_layers_is_refused() -> None:
    program = torch.export.export(nn.ReLU(), (torch.randn(1, 4),))
    with pytest.raises(NothingToQuantise, match="no layer"):
        with_small_weights(program, 8)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite", "coreml"])
def test_the_file_shrinks_and_answers_as_the_program(target: str, program: ExportedProgram, tmp_path: Path) -> None:
    exporter, image = load_exporter(target), torch.randn(SHAPE)
    parameters = sum(tensor.numel() for tensor in program.state_dict.values())
    for precision, times in (("w8", 3.3), ("w4", 5.0)):
        if precision not in TARGETS[target].precisions:
            continue
        small = torch.export.export(with_small_weights(program, int(precision[1:])), (image,))
        path = tmp_path / f"{precision}{exporter.suffix}"
        lowered = exporter.lower(small, Options(precision, ("image",), ("scores",)), path)
        found = answer(target, path, lowered, image)
        with torch.no_grad():
            expected = small.module()(image).numpy()
        # float32 sums in another order; integer sums, or activations in 8 bits, would give 50 dB at most
        assert sqnr_db(expected.ravel().astype(float), found.ravel().astype(float)) > 100, precision
        assert 4 * parameters / describe(path)[0] > times, precision


def answer(target: str, path: Path, lowered: Lowered, image: Tensor) -> np.ndarray:
    """The file's, in its own runtime (Core ML's in the interpreter)."""
    from runtime_py.engines import load_engine
    from runtime_py.manifest import Artifact, Manifest
    from runtime_py.manifest import Tensor as Described
    from sdk.interpreted import Interpreted

    manifest = Manifest(
        model="net", inputs=(Described(name="image", shape=SHAPE),), outputs=(Described(name="scores", shape=()),)
    )
    artifact = Artifact(
        target=target, precision="w8", file=path.name, bytes=0, sha256="", status="converted",
        inputs=lowered.inputs, outputs=lowered.outputs,
    )  # fmt: skip
    if target == "coreml":
        found = Interpreted(path, artifact, manifest).run({"image": image.numpy()})
    else:
        found = load_engine(target).load(path, artifact, manifest, 1).run({"image": image.numpy()})
    scores: np.ndarray = found["scores"]
    return scores


def test_executorch_refuses_and_names_what_it_takes() -> None:
    with pytest.raises(CannotTake, match="executorch cannot take w8: XNNPACK has no convolution") as refused:
        check_scheme("w8", ["onnx", "executorch"])
    assert "fp32, fp16, w8a8, mixed" in refused.value.expected
    assert "onnx" in refused.value.hint
    assert "executorch" not in refused.value.hint


def test_litert_refuses_4_bits(tmp_path: Path) -> None:
    with pytest.raises(CannotTake, match="tflite cannot take w4"):
        sdk.export("mcunet_in0", "tflite", precision="w4", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_need_no_data(tmp_path: Path) -> None:
    from runtime_py.errors import SdkError

    with pytest.raises(SdkError, match="--calibration with --precision w8"):
        sdk.export("mcunet_in0", "onnx", precision="w8", calibration=tmp_path, out=tmp_path)


@pytest.mark.slow
def test_an_export_records_it_and_passes_its_gate(tmp_path: Path) -> None:
    result = sdk.export("mcunet_in0", "onnx", precision="w8", out=tmp_path)
    assert result.ok, result.to_dict()
    assert result.manifest is not None
    assert result.manifest.quantization is not None
    assert (result.manifest.quantization.scheme, result.manifest.quantization.int8_macs) == ("w8", 0.0)
    (artifact,) = result.manifest.artifacts
    assert [proof.input for proof in artifact.proofs] == ["photo", "random", "zeros", "saturated"]
    assert artifact.fidelity_db is not None
    assert artifact.fidelity_db > 60
