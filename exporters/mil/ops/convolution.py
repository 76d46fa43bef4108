"""Convolutions of 1, 2 and 3 spatial dimensions."""

import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import Ints, operator
from exporters.mil.ops.windows import pad_spatial, window_padding

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints = (),
    pad_type: str = "valid",
    pad: Ints = (),
    dilations: Ints = (),
    groups: int = 1,
) -> Tensor:
    """Convolve `x` (N, C, ...) with `weight` (O, C / groups, ...)."""
    rank = x.dim() - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    kernels = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pads = window_padding(pad_type, pad, x.shape[2:], kernels, strides)
    padding = [before if before == after else 0 for before, after in pads]
    rest = [(0, 0) if before == after else (before, after) for before, after in pads]
    return _CONV[rank](pad_spatial(x, rest), weight, bias, strides, padding, dilations, groups)


@operator("conv_transpose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints = (),
    pad_type: str = "valid",
    pad: Ints = (),
    dilations: Ints = (),
    groups: int = 1,
    output_shape: Ints = (),
) -> Tensor:
    """Transposed convolution of `x` (N, C, ...) with `weight` (C, O / groups, ...).

    The full result loses `pad` on each side. A result that `output_shape`, or `same`'s `size * stride`, makes
    longer grows at its end, where no input reaches, so only the bias shows there.
    """
    rank = x.dim() - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    full = _CONV_TRANSPOSE[rank](x, weight, None, strides, 0, 0, groups, dilations)
    sizes = full.shape[2:]
    if pad_type == "same":
        wanted = output_shape[-rank:] or tuple(n * s for n, s in zip(x.shape[2:], strides, strict=True))
        before = [max(0, n - w) // 2 for n, w in zip(sizes, wanted, strict=True)]
    else:
        pads = window_padding(pad_type, pad, sizes, sizes, strides)
        before = [b for b, _ in pads]
        wanted = output_shape[-rank:] or tuple(n - b - a for n, (b, a) in zip(sizes, pads, strict=True))
    y = pad_spatial(full, [(-b, w + b - n) for b, w, n in zip(before, wanted, sizes, strict=True)])
    return y if bias is None else y + bias.reshape(1, -1, *[1] * rank)
