"""The zoo's table: one row a network. Imports nothing heavy, so that listing it is free."""

from dataclasses import dataclass, field
from typing import Any, Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Weights:
    """Trained weights and all that belongs to them rather than to the architecture.

    Either `file` lies in models_zoo/weights, or `url` is fetched on first use and must have `bytes` and `sha256`.
    `accuracy` holds shares of 1 by metric (`top1`, `top5`, `map50_95`, `map50`) on `data` at `input_size`.
    """

    num_classes: int
    input_size: int
    labels: str
    data: str
    licence: str
    accuracy: dict[str, float]
    file: str = ""
    url: str = ""
    sha256: str = ""
    bytes: int = 0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop_fraction: float = 1.0


@dataclass(frozen=True)
class ModelSpec:
    """One architecture as published: `params` and `macs` are exact integers.

    `params` counts every parameter, `macs` those of convolutions alone, for one input of `shape` (channels, height,
    width; of a video decoder: channels, time, height, width). `accuracy` is the paper's, by metric, shares of 1.
    `classifier` is the state-dict key whose first side is the number of classes.
    """

    name: str
    task: Literal["classify", "detect", "decode_video"]
    factory: str
    shape: tuple[int, ...]
    params: int
    macs: int
    accuracy: dict[str, float]
    source: str
    num_classes: int = 1000
    labels: str = "imagenet_1000.txt"
    classifier: str = "classifier.bias"
    stride: int = 32
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize_type: str = "crop"
    interpolation: str = "bicubic"
    crop_fraction: float = 0.95
    scale: tuple[int, int, int] = (1, 1, 1)
    causal: bool = True
    default_weights: str | None = None
    weights: dict[str, Weights] = field(default_factory=dict)

    @property
    def input_size(self) -> int:
        """The last side of `shape`: the pixels of a square image, or the latent's width."""
        return self.shape[-1]


def _v4(name: str, size: int, params: int, macs: int, top1: float, **more: Any) -> ModelSpec:
    source, factory = "MobileNetV4, arXiv:2404.10518", "models_zoo.mobilenetv4:mobilenetv4"
    return ModelSpec(
        f"mobilenetv4_{name}", "classify", factory, (3, size, size), params, macs, {"top1": top1}, source, **more
    )


TIN200 = Weights(
    file="mobilenetv4_conv_small.tin200.safetensors",
    num_classes=200,
    input_size=128,
    labels="tiny_imagenet_200.txt",
    data="Tiny-ImageNet-200 validation, 10,000 images",
    licence="Apache-2.0; trained on a subset of ImageNet, whose terms allow non-commercial research",
    accuracy={"top1": 0.5999, "top5": 0.8259},
)

_NETWORKS = (
    _v4("conv_small", 224, 3_774_024, 184_725_568, 0.738, crop_fraction=0.875, default_weights="tin200",
        weights={"tin200": TIN200}),
    _v4("conv_medium", 256, 9_715_512, 1_078_964_224, 0.799),
    _v4("conv_large", 384, 32_590_864, 6_374_940_672, 0.829),
    _v4("hybrid_medium", 256, 11_074_648, 1_227_960_320, 0.807),
    _v4("hybrid_large", 384, 37_764_624, 7_370_858_496, 0.834),
)  # fmt: skip

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _NETWORKS}
