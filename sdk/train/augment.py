"""Augmentation of a whole batch on its device; every random number comes from the generator given.

Colour and normalisation work on the stored pixels before the crop enlarges them: both are affine in
the pixel, so they commute with bilinear interpolation (but for the clamp) and cost a quarter.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sdk.train.recipe import Augment

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Mix:
    """Image i becomes `weight` x itself + (1 - weight) x image `partner[i]`; `share` is its label's part.

    `weight` (N, 1, H, W) in 0..1, `partner` (N,) int64, `share` (N,) in 0..1.
    """

    weight: Tensor
    partner: Tensor
    share: Tensor


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(N, 3, H, W) in 0..1 to zero mean and unit deviation by channel."""
    shape = (1, 3, 1, 1)
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


def jitter_colour(images: Tensor, strengths: Augment, generator: Generator) -> Tensor:
    """Brightness, contrast, then saturation of (N, 3, H, W) in 0..1, factors uniform in 1 +- strength."""
    brightness, contrast, saturation = (
        _uniform(len(images), 1 - s, 1 + s, generator).view(-1, 1, 1, 1)
        for s in (strengths.brightness, strengths.contrast, strengths.saturation)
    )
    images = images * brightness
    centre = _grey(images).mean((2, 3), keepdim=True)
    images = torch.lerp(centre, images, contrast)
    return torch.lerp(_grey(images), images, saturation).clamp(0, 1)


def crop_transforms(n: int, strengths: Augment, generator: Generator) -> Tensor:
    """Random crop boxes and flips as (n, 2, 3) affine maps from output to input, both in -1..1.

    A box that is wider or higher than the image is centred; the sampler reflects what is outside.
    """
    area = _uniform(n, *strengths.area, generator)
    aspect = _uniform(n, math.log(strengths.aspect[0]), math.log(strengths.aspect[1]), generator).exp()
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    x = _uniform(n, -1, 1, generator) * (1 - width).clamp(min=0)
    y = _uniform(n, -1, 1, generator) * (1 - height).clamp(min=0)
    sign = 1 - 2 * (_uniform(n, 0, 1, generator) < strengths.flip).float()
    zero = torch.zeros_like(x)
    return torch.stack([sign * width, zero, x, zero, height, y], dim=1).view(n, 2, 3)


def apply_crops(images: Tensor, transforms: Tensor, size: int) -> Tensor:
    """(N, 3, H, W) cut by (N, 2, 3) maps and resampled bilinearly to (N, 3, size, size)."""
    grid = F.affine_grid(transforms, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def draw_mix(n: int, size: int, strengths: Augment, generator: Generator) -> Mix:
    """CutMix (arXiv 1905.04899) for some images, Mixup (arXiv 1710.09412) for others, lambda uniform.

    A CutMix box lies wholly inside the image, so `share` is exactly the mean of `weight`.
    """
    device = generator.device
    kind = _uniform(n, 0, 1, generator)
    share = _uniform(n, 0, 1, generator)
    side = ((1 - share).sqrt() * size).round()
    room = size - side
    top, left = ((_uniform(n, 0, 1, generator) * (room + 1)).floor().minimum(room) for _ in range(2))
    place = torch.arange(size, device=device)
    rows, columns = ((place >= low[:, None]) & (place < (low + side)[:, None]) for low in (top, left))
    outside = 1 - (rows[:, :, None] & columns[:, None, :]).float()
    is_cutmix = kind < strengths.cutmix
    is_mixup = ~is_cutmix & (kind < strengths.cutmix + strengths.mixup)
    flat = torch.where(is_mixup, share, torch.ones_like(share))
    weight = torch.where(is_cutmix[:, None, None], outside, flat[:, None, None])
    label_share = torch.where(is_cutmix, 1 - (side / size) ** 2, flat)
    return Mix(weight[:, None], torch.randperm(n, generator=generator, device=device), label_share)


def apply_mix(images: Tensor, mix: Mix) -> Tensor:
    """(N, C, H, W) blended pairwise."""
    return torch.lerp(images[mix.partner], images, mix.weight)


def targets(labels: Tensor, classes: int, smoothing: float, mix: Mix | None) -> Tensor:
    """(N, classes) probabilities of (N,) labels, smoothed, and blended as the images were."""
    hot = F.one_hot(labels, classes).float()
    if mix is not None:
        hot = torch.lerp(hot[mix.partner], hot, mix.share[:, None])
    return hot * (1 - smoothing) + smoothing / classes


def _grey(images: Tensor) -> Tensor:
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * (high - low) + low
