"""Accuracy under the product's own preprocessing: Pillow's bilinear resize of the uint8 image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from sdk.train.augment import normalise


@dataclass(frozen=True)
class Accuracy:
    """Shares of images, 0..1, whose label is the first, or among the first five, predictions."""

    top1: float
    top5: float
    images: int


def resize(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(N, H, W, 3) to (N, size, size, 3), as `PIL.Image.resize` does it (bilinear, rounded to uint8)."""
    if images.shape[1:3] == (size, size):
        return images
    resized = np.empty((len(images), size, size, 3), np.uint8)
    for index, image in enumerate(images):
        resized[index] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    return resized


def evaluate(
    model: nn.Module,
    images: NDArray[np.uint8] | Tensor,
    labels: NDArray[Any] | Tensor,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: int,
    device: str | torch.device = "cpu",
    batch: int = 500,
) -> Accuracy:
    """Top-1 and top-5 in float32 of (N, H, W, 3) uint8 images; a tensor must already be `size` px."""
    pixels = images if isinstance(images, Tensor) else torch.from_numpy(resize(images, size))
    truth = torch.as_tensor(labels).to(device, torch.int64)
    was_training = model.training
    model.eval()
    first = five = 0
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            part = pixels[start : start + batch].to(device).permute(0, 3, 1, 2)
            logits = model(normalise(part.float() / 255, mean, std))
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            hits = best == truth[start : start + batch, None]
            first += int(hits[:, 0].sum())
            five += int(hits.sum())
    model.train(was_training)
    return Accuracy(first / len(pixels), five / len(pixels), len(pixels))
