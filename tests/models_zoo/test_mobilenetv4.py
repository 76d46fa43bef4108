"""MobileNetV4 against the published integers.

Parameters, state-dict entries, multiply-accumulates and stages are those of timm 1.0.31's networks of the same
names, whose checkpoints must load; the paper's rounded figures (arXiv:2404.10518, table 5) count otherwise.
"""

from dataclasses import dataclass
from math import prod

import pytest
import torch
from torch import Tensor, nn

from models_zoo import MODELS, create_model


@dataclass(frozen=True)
class Published:
    """`macs` of the convolutions by input size; parameters of blocks.0 to blocks.4."""

    params: int
    without_classifier: int
    norm_params: int
    entries: int
    macs: dict[int, int]
    stages: tuple[int, int, int, int, int]


PUBLISHED = {
    "mobilenetv4_conv_small": Published(
        3_774_024, 2_493_024, 25_088, 278, {224: 184_725_568, 256: 240_898_048},
        (10_368, 34_112, 272_160, 819_296, 124_800),
    ),
    "mobilenetv4_conv_medium": Published(
        9_715_512, 8_434_512, 67_904, 464, {224: 826_369_984, 256: 1_078_964_224, 320: 1_685_190_400},
        (43_360, 59_552, 1_521_040, 5_330_592, 247_680),
    ),
    "mobilenetv4_conv_large": Published(
        32_590_864, 31_309_864, 149_552, 614, {224: 2_170_061_312, 256: 2_833_989_632, 384: 6_374_940_672},
        (25_632, 113_904, 3_216_288, 26_228_544, 493_440),
    ),
    "mobilenetv4_hybrid_medium": Published(
        11_074_648, 9_793_648, 75_840, 632, {224: 940_445_120, 256: 1_227_960_320},
        (43_360, 59_712, 1_947_920, 6_262_688, 247_680),
    ),
    "mobilenetv4_hybrid_large": Published(
        37_764_624, 36_483_624, 164_400, 787, {224: 2_508_950_016, 384: 7_370_858_496},
        (25_632, 114_096, 3_901_152, 30_717_248, 493_440),
    ),
}  # fmt: skip
CASES = [(name, size) for name, row in PUBLISHED.items() for size in row.macs]


def network(name: str) -> nn.Module:
    """On the meta device, where tensors have shapes and no memory."""
    with torch.device("meta"):
        return create_model(name).eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolution_macs(model: nn.Module, size: int) -> int:
    """Output elements x kernel area x input channels of a group, summed over the convolutions that ran."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += output.numel() * prod(layer.kernel_size) * layer.in_channels // layer.groups

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    model(torch.empty(1, 3, size, size, device="meta"))
    return total


def test_every_network_is_checked() -> None:
    assert set(PUBLISHED) == {name for name in MODELS if name.startswith("mobilenetv4")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters(name: str) -> None:
    model, published = network(name), PUBLISHED[name]
    head = [model.get_submodule("conv_head"), model.get_submodule("norm_head")]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert parameters(model) == published.params == MODELS[name].params
    assert parameters(model) - parameters(model.get_submodule("classifier")) == published.without_classifier
    assert sum(map(parameters, norms)) == published.norm_params
    assert sum(map(parameters, head)) == 1_231_360


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_each_stage(name: str) -> None:
    blocks = network(name).get_submodule("blocks")
    assert tuple(map(parameters, blocks.children())) == PUBLISHED[name].stages


@pytest.mark.parametrize("name", PUBLISHED)
def test_entries_of_the_state_dict(name: str) -> None:
    state = network(name).state_dict()
    assert len(state) == PUBLISHED[name].entries
    assert {"conv_stem.weight", "bn1.num_batches_tracked", "blocks.4.0.bn1.bias", "norm_head.weight"} <= set(state)
    assert state["classifier.weight"].shape == (1000, 1280)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_multiply_accumulates_of_convolutions(name: str, size: int) -> None:
    published = PUBLISHED[name].macs
    assert convolution_macs(network(name), size) == published[size]
    assert MODELS[name].macs == published[MODELS[name].input_size]


def test_drop_path_grows_over_all_blocks() -> None:
    model = create_model("mobilenetv4_conv_medium", drop_path=0.1)
    rates = {name: module.rate for name, module in model.named_modules() if name.endswith("drop_path")}
    assert rates["blocks.1.1.drop_path"] == pytest.approx(0.1 * 2 / 23)
    assert rates["blocks.3.10.drop_path"] == pytest.approx(0.0913, abs=5e-5)
    assert rates["blocks.1.0.drop_path"] == 0.0, "a block without a shortcut drops nothing"


def test_initial_weights_have_the_published_spread() -> None:
    """Convolutions: N(0, sqrt(2 / fan_out)); classifier: U(+-1 / sqrt(out)); queries and keys: Xavier."""
    torch.manual_seed(0)
    state = create_model("mobilenetv4_hybrid_medium").state_dict()
    stem, query = state["conv_stem.weight"], state["blocks.3.8.attn.query.proj.weight"]
    assert stem.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.1)
    assert state["classifier.weight"].abs().max().item() == pytest.approx(1000**-0.5, rel=0.01)
    assert query.abs().max().item() == pytest.approx((6 / (256 + 256)) ** 0.5, rel=0.01)
    assert state["blocks.3.8.layer_scale.gamma"].unique().tolist() == pytest.approx([1e-5])


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small", "mobilenetv4_hybrid_medium"])
def test_a_batch_is_answered_one_by_one(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=7).eval()
    images = torch.randn(3, 3, 96, 64)
    with torch.inference_mode():
        whole, single = model(images), torch.cat([model(image[None]) for image in images])
    assert whole.shape == (3, 7)
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)
