"""Poolings of 1, 2 and 3 spatial dimensions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import Ints, operator
from exporters.mil.ops.windows import Pads, pad_spatial, window_padding

_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAXIMUM = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _ceil_growth(size: int, kernel: int, stride: int, pad: tuple[int, int]) -> int:
    """What to add at the end of a dimension so that the last, partial window counts."""
    total = size + sum(pad)
    count = (total - kernel + stride - 1) // stride + 1
    if sum(pad) and (count - 1) * stride >= size + pad[0]:
        count -= 1  # that window would start in the padding
    return (count - 1) * stride + kernel - total


def _pads(x: Tensor, kernels: Ints, strides: Ints, pad_type: str, pad: Ints, ceil: bool) -> tuple[Pads, Pads]:
    """The declared padding, and the growth (or, negative, the loss) at the end that `ceil_mode` asks for."""
    sizes = x.shape[2:]
    pads = window_padding(pad_type, pad or (0,) * (2 * len(sizes)), sizes, kernels, strides)
    if not ceil:
        return pads, [(0, 0)] * len(sizes)
    growth = [_ceil_growth(*each) for each in zip(sizes, kernels, strides, pads, strict=True)]
    return pads, [(0, amount) for amount in growth]


def _window_sums(x: Tensor, kernels: Ints, strides: Ints) -> Tensor:
    sums: Tensor = _AVERAGE[len(kernels)](x, kernels, strides) * math.prod(kernels)
    return sums


@operator("max_pool")
def max_pool(
    x: Tensor, kernel_sizes: Ints, pad_type: str, strides: Ints = (), pad: Ints = (), ceil_mode: bool = False
) -> Tensor:
    """Largest element of each window; `x` (N, C, ...)."""
    strides = strides or (1,) * len(kernel_sizes)
    pads, growth = _pads(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    padded = pad_spatial(pad_spatial(x, pads, -math.inf), growth, -math.inf)
    result: Tensor = _MAXIMUM[len(kernel_sizes)](padded, kernel_sizes, strides)
    return result


@operator("avg_pool")
def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints = (),
    pad: Ints = (),
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """Mean of each window; the padding counts as zeros or, when excluded, not at all."""
    strides = strides or (1,) * len(kernel_sizes)
    pads, growth = _pads(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    counted = pad_spatial(torch.ones_like(x[:1, :1]), pads, 0.0 if exclude_padding_from_average else 1.0)
    counts = _window_sums(pad_spatial(counted, growth), kernel_sizes, strides)
    return _window_sums(pad_spatial(pad_spatial(x, pads), growth), kernel_sizes, strides) / counts


@operator("l2_pool")
def l2_pool(
    x: Tensor, kernel_sizes: Ints, pad_type: str, strides: Ints = (), pad: Ints = (), ceil_mode: bool = False
) -> Tensor:
    """Square root of the sum of squares of each window."""
    strides = strides or (1,) * len(kernel_sizes)
    pads, growth = _pads(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return _window_sums(pad_spatial(pad_spatial(x.square(), pads), growth), kernel_sizes, strides).sqrt()
