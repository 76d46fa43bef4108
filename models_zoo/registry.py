"""The zoo's table: one row a network. Imports nothing heavy, so that listing it is free."""

from dataclasses import dataclass, field

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Weights:
    """Trained weights and all that belongs to them rather than to the architecture.

    `file` lies in models_zoo/weights. `top1` and `top5` are shares of 1 on `data` at `input_size`, measured on
    that file.
    """

    file: str
    num_classes: int
    input_size: int
    labels: str
    data: str
    licence: str
    top1: float
    top5: float
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop_fraction: float = 1.0


@dataclass(frozen=True)
class ModelSpec:
    """One architecture as published: `params` and `macs` (of convolutions, at `input_size`) are exact integers."""

    name: str
    task: str
    factory: str
    input_size: int
    params: int
    macs: int
    top1: float
    source: str
    num_classes: int = 1000
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bicubic"
    crop_fraction: float = 0.95
    default_weights: str | None = None
    weights: dict[str, Weights] = field(default_factory=dict)


_V4 = "models_zoo.mobilenetv4:mobilenetv4"
_V4_PAPER = "MobileNetV4, arXiv:2404.10518"

TIN200 = Weights(
    file="mobilenetv4_conv_small.tin200.safetensors",
    num_classes=200,
    input_size=128,
    labels="tiny_imagenet_200.txt",
    data="Tiny-ImageNet-200 validation, 10,000 images",
    licence="Apache-2.0; trained on a subset of ImageNet, whose terms allow non-commercial research",
    top1=0.5999,
    top5=0.8259,
)

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "mobilenetv4_conv_small",
            "classify",
            _V4,
            224,
            3_774_024,
            184_725_568,
            0.738,
            _V4_PAPER,
            crop_fraction=0.875,
            default_weights="tin200",
            weights={"tin200": TIN200},
        ),
        ModelSpec("mobilenetv4_conv_medium", "classify", _V4, 256, 9_715_512, 1_078_964_224, 0.799, _V4_PAPER),
        ModelSpec("mobilenetv4_conv_large", "classify", _V4, 384, 32_590_864, 6_374_940_672, 0.829, _V4_PAPER),
        ModelSpec("mobilenetv4_hybrid_medium", "classify", _V4, 256, 11_074_648, 1_227_960_320, 0.807, _V4_PAPER),
        ModelSpec("mobilenetv4_hybrid_large", "classify", _V4, 384, 37_764_624, 7_370_858_496, 0.834, _V4_PAPER),
    )
}
