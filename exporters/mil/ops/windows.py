"""Padding of sliding windows, which convolutions and poolings share."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

Pads = list[tuple[int, int]]


def window_padding(
    pad_type: str, pad: Sequence[int], sizes: Sequence[int], kernels: Sequence[int], strides: Sequence[int]
) -> Pads:
    """Elements added before and after each spatial dimension.

    `kernels` include their dilation. `same` makes `ceil(size / stride)` outputs and puts an odd element
    after, `same_lower` before.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        return [(pad[2 * d], pad[2 * d + 1]) for d in range(len(sizes))]
    totals = [max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(sizes, kernels, strides, strict=True)]
    after = [(t // 2, t - t // 2) for t in totals]
    return {"same": after, "same_lower": [(b, a) for a, b in after]}[pad_type]


def pad_spatial(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    """`x` (N, C, ...) with its spatial dimensions padded; negative amounts crop."""
    flat = [amount for pair in reversed(pads) for amount in pair]
    return F.pad(x, flat, value=value) if any(flat) else x
