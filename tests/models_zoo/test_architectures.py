"""Every network of the zoo against its row: the integers are those of the papers' or the authors' own code."""

from math import prod

import pytest
import torch
from torch import Tensor, nn

from models_zoo import MODELS, ModelSpec, create_model

ENTRIES = {
    "mobilenetv4_conv_small": 278,
    "mobilenetv4_conv_medium": 464,
    "mobilenetv4_conv_large": 614,
    "mobilenetv4_hybrid_medium": 632,
    "mobilenetv4_hybrid_large": 787,
    "ghostnet_050": 512,
    "ghostnet_100": 512,
    "ghostnet_130": 512,
    "leyolo_nano": 651,
    "leyolo_small": 651,
    "leyolo_medium": 798,
    "leyolo_large": 798,
    "mcunet_in0": 272,
    "mcunet_in1": 254,
    "mcunet_in2": 326,
    "mcunet_in3": 326,
    "mcunet_in4": 308,
    "mcunet_vww1": 272,
    "mobilenet_v2": 314,
    "turbo_vaed_hunyuan": 158,
    "turbo_vaed_cog": 158,
    "turbo_vaed_dc": 134,
    "turbo_vaed_ltx": 86,
}
"""State-dict entries, as the published checkpoints have them (timm, torchvision, the authors' repositories)."""


def network(name: str, **overrides: int) -> nn.Module:
    """On the meta device, where tensors have shapes and no memory."""
    with torch.device("meta"):
        return create_model(name, **overrides).eval()


def convolution_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Output elements x kernel volume x input channels of a group, summed over the convolutions that ran."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Conv3d)
        total += output.numel() * prod(layer.kernel_size) * layer.in_channels // layer.groups

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d) and layer.weight.requires_grad:
            layer.register_forward_hook(count)
    model(torch.empty(1, *shape, device="meta"))
    return total


@pytest.mark.parametrize("spec", MODELS.values(), ids=list(MODELS))
def test_parameters_and_macs(spec: ModelSpec) -> None:
    model = network(spec.name)
    assert sum(parameter.numel() for parameter in model.parameters()) == spec.params
    fixed = 0
    if spec.task == "detect":  # the sheet counts the head's fixed convolution over 16 bins too
        fixed = 4 * 16 * sum((spec.input_size // stride) ** 2 for stride in (8, 16, 32))
    assert convolution_macs(model, spec.shape) + fixed == spec.macs


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_of_the_state_dict(name: str) -> None:
    assert len(network(name).state_dict()) == ENTRIES[name]


@pytest.mark.parametrize("spec", [spec for spec in MODELS.values() if spec.classifier], ids=lambda spec: spec.name)
def test_any_number_of_classes(spec: ModelSpec) -> None:
    assert network(spec.name).state_dict()[spec.classifier].shape == (spec.num_classes,)
    model = network(spec.name, num_classes=7)
    assert model.state_dict()[spec.classifier].shape == (7,)
    side = 2 * max(spec.stride, 32)
    answer = model(torch.empty(2, 3, side, side + spec.stride * 2, device="meta"))
    cells = sum((side // stride) * ((side + spec.stride * 2) // stride) for stride in (8, 16, 32))
    assert answer.shape == ((2, 4 + 7, cells) if spec.task == "detect" else (2, 7))


@pytest.mark.parametrize("spec", [s for s in MODELS.values() if s.task == "decode_video"], ids=lambda spec: spec.name)
def test_a_decoder_scales_as_its_row_says(spec: ModelSpec) -> None:
    model, (dt, dh, dw) = network(spec.name), spec.scale
    for frames, height, width in ((1, 2, 3), (4, 3, 2)):
        video = model(torch.empty(1, spec.shape[0], frames, height, width, device="meta"))
        expected = dt * (frames - 1) + 1 if spec.causal else dt * frames
        assert video.shape == (1, 3, expected, height * dh, width * dw)
