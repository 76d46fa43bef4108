"""The zoo's table: one row a network. Imports nothing heavy, so that listing it is free."""

from dataclasses import dataclass, field
from typing import Any, Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ZERO, HALF, ONE = (0.0,) * 3, (0.5,) * 3, (1.0,) * 3


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


def _ghostnet(width: str, params: int, macs: int, top1: float) -> ModelSpec:
    return ModelSpec(
        f"ghostnet_{width}",
        "classify",
        "models_zoo.ghostnet:ghostnet",
        (3, 224, 224),
        params,
        macs,
        {"top1": top1},
        "GhostNet, arXiv:1911.11907",
        crop_fraction=0.875,
    )


def _mcunet(name: str, size: int, params: int, macs: int, top1: float, **more: Any) -> ModelSpec:
    return ModelSpec(
        f"mcunet_{name}",
        "classify",
        "models_zoo.mcunet:mcunet",
        (3, size, size),
        params,
        macs,
        {"top1": top1},
        "MCUNet, arXiv:2007.10319",
        classifier="classifier.linear.bias",
        stride=16,
        mean=HALF,
        std=HALF,
        interpolation="bilinear",
        crop_fraction=0.875,
        **more,
    )


def _leyolo(name: str, size: int, params: int, macs: int, ap: float, head: int, **more: Any) -> ModelSpec:
    return ModelSpec(
        f"leyolo_{name}",
        "detect",
        "models_zoo.leyolo:leyolo",
        (3, size, size),
        params,
        macs,
        {"map50_95": ap},
        "LeYOLO, arXiv:2406.14239v1",
        num_classes=80,
        labels="coco_80.txt",
        classifier=f"model.{head}.cv3.0.3.bias",
        mean=ZERO,
        std=ONE,
        resize_type="letterbox",
        interpolation="bilinear",
        **more,
    )


def _turbo_vaed(
    name: str, latent: tuple[int, ...], params: int, macs: int, ssim: float, scale: tuple[int, int, int], causal: bool
) -> ModelSpec:
    return ModelSpec(
        f"turbo_vaed_{name}",
        "decode_video",
        "models_zoo.turbo_vaed:turbo_vaed",
        latent,
        params,
        macs,
        {"ssim": ssim},
        "Turbo-VAED, arXiv:2508.09136",
        num_classes=0,
        labels="",
        classifier="",
        stride=1,
        scale=scale,
        causal=causal,
    )


MCUNET_IN3 = Weights(
    num_classes=1000,
    input_size=176,
    labels="imagenet_1000.txt",
    data="ImageNet validation, 50,000 images (its authors' figure)",
    licence="MIT",
    accuracy={"top1": 0.622, "top5": 0.845},
    url="https://raw.githubusercontent.com/mit-han-lab/tinyml/e899b1bec08604910098ab6aab57bb30735dbb31/"
    "mcunet/assets/pt_ckpt/mcunet-320kb-1mb_imagenet.pth",
    sha256="c0d4ccf4bb8ba93ef69a609c60ca053be2c6bab3b4ece19d9b7e66cec8a485e5",
    bytes=3_086_332,
    mean=HALF,
    std=HALF,
    crop_fraction=0.875,
)
LEYOLO_NANO = Weights(
    num_classes=80,
    input_size=640,
    labels="coco_80.txt",
    data="COCO val2017, 5,000 images (its authors' figure)",
    licence="AGPL-3.0",
    accuracy={"map50_95": 0.3405, "map50": 0.489},
    url="https://raw.githubusercontent.com/LilianHollard/LeYOLO/a2d551baa673dd9dc2dfb19597fe44e9abb64f3e/"
    "weights/LeYOLONano.pt",
    sha256="4b952e068ea3345eae0f95b48d88beb8ff90ee93d4027bb4ca6930698ade6d36",
    bytes=2_632_102,
    mean=ZERO,
    std=ONE,
)

_NETWORKS = (
    _v4("conv_small", 224, 3_774_024, 184_725_568, 0.738, crop_fraction=0.875, default_weights="tin200",
        weights={"tin200": TIN200}),
    _v4("conv_medium", 256, 9_715_512, 1_078_964_224, 0.799),
    _v4("conv_large", 384, 32_590_864, 6_374_940_672, 0.829),
    _v4("hybrid_medium", 256, 11_074_648, 1_227_960_320, 0.807),
    _v4("hybrid_large", 384, 37_764_624, 7_370_858_496, 0.834),
    _ghostnet("050", 2_587_292, 41_048_152, 0.662),
    _ghostnet("100", 5_182_508, 139_870_512, 0.739),
    _ghostnet("130", 7_358_820, 225_723_256, 0.757),
    _leyolo("nano", 640, 1_120_480, 1_232_448_000, 0.3405, 35, weights={"coco": LEYOLO_NANO}),
    _leyolo("small", 640, 1_917_440, 2_130_726_400, 0.382, 35),
    _leyolo("medium", 640, 2_402_744, 2_754_976_000, 0.393, 42),
    _leyolo("large", 768, 2_402_744, 3_967_165_440, 0.410, 42),
    ModelSpec("leyolo_nano_cls", "classify", "models_zoo.leyolo:leyolo", (3, 224, 224), 1_772_232, 84_226_688, {},
              "LeYOLO, arXiv:2406.14239v1", classifier="model.14.linear.bias", mean=ZERO, std=ONE,
              interpolation="bilinear", crop_fraction=1.0),
    _mcunet("in0", 48, 749_840, 6_172_224, 0.415),
    _mcunet("in1", 96, 636_232, 12_630_096, 0.515),
    _mcunet("in2", 160, 729_392, 67_127_200, 0.609),
    _mcunet("in3", 176, 737_408, 81_625_520, 0.622, weights={"in1k": MCUNET_IN3}),
    _mcunet("in4", 160, 1_732_640, 125_554_400, 0.684),
    _mcunet("vww1", 80, 432_746, 11_578_496, 0.889, num_classes=2, labels="vww_2.txt", resize_type="standard"),
    ModelSpec("mobilenet_v2", "classify", "models_zoo.mobilenet_v2:mobilenet_v2", (3, 224, 224), 3_504_872,
              299_494_272, {"top1": 0.720}, "MobileNetV2, arXiv:1801.04381", classifier="classifier.1.bias",
              interpolation="bilinear", crop_fraction=0.875),
    # Latents of 17 frames (DC: 16), as the decoders were trained and measured.
    _turbo_vaed("hunyuan", (16, 5, 16, 16), 40_687_811, 206_165_245_952, 0.9674, (4, 8, 8), causal=True),
    _turbo_vaed("cog", (16, 5, 16, 16), 40_687_811, 206_165_245_952, 0.9606, (4, 8, 8), causal=True),
    _turbo_vaed("dc", (128, 4, 8, 8), 45_831_383, 156_060_352_512, 0.9475, (4, 32, 32), causal=False),
    _turbo_vaed("ltx", (128, 3, 8, 8), 41_896_023, 101_580_931_072, 0.9209, (8, 32, 32), causal=True),
)  # fmt: skip

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _NETWORKS}
