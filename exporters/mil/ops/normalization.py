"""Normalisations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import Ints, operator


def _standardised(x: Tensor, axes: Ints, epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + epsilon)


def _scaled(x: Tensor, shape: Ints, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    x = x if gamma is None else x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


@operator("batch_norm")
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Normalise each channel of `x` (N, C, ...) by a given mean and variance (C,)."""
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon)


@operator("instance_norm")
def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Normalise each channel of each image of `x` (N, C, ...) by its own mean and variance."""
    spatial = tuple(range(2, x.dim()))
    return _scaled(_standardised(x, spatial, epsilon), (1, -1, *(1 for _ in spatial)), gamma, beta)


@operator("layer_norm")
def layer_norm(
    x: Tensor, axes: Ints = (), gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """Normalise over `axes`, all when absent; `gamma` and `beta` have the sizes of those axes."""
    normalised = tuple(sorted(axis % x.dim() for axis in axes)) or tuple(range(x.dim()))
    shape = tuple(size if axis in normalised else 1 for axis, size in enumerate(x.shape))
    return _scaled(_standardised(x, normalised, epsilon), shape, gamma, beta)


@operator("l2_norm")
def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Divide by `sqrt(sum(x^2) + epsilon)` of the last three dimensions."""
    return x * torch.rsqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


@operator("local_response_norm")
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by `(k + alpha / size * sum of squares of the nearest channels) ** beta`."""
    return F.local_response_norm(x, size, alpha, beta, k)
