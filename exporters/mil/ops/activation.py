"""Activations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import operator


def _per_channel(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape(1, -1, *[1] * (x.dim() - 2))


@operator("relu")
def relu(x: Tensor) -> Tensor:
    """`max(x, 0)`."""
    return F.relu(x)


@operator("relu6")
def relu6(x: Tensor) -> Tensor:
    """`min(max(x, 0), 6)`."""
    return F.relu6(x)


@operator("clamped_relu")
def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    """`min(beta, x)` where `x >= 0`, else `min(beta, alpha * x)`."""
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


@operator("thresholded_relu")
def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """`x` where `x >= alpha`, else 0."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@operator("leaky_relu")
def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """`x` where `x >= 0`, else `alpha * x`."""
    return F.leaky_relu(x, alpha)


@operator("prelu")
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """`x` where `x > 0`, else `alpha[c] * x`; `x` (N, C, ...), `alpha` (C,)."""
    return torch.where(x > 0, x, _per_channel(alpha, x) * x)


@operator("elu")
def elu(x: Tensor, alpha: float) -> Tensor:
    """`x` where `x > 0`, else `alpha * (exp(x) - 1)`."""
    return F.elu(x, alpha)


@operator("gelu")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Gaussian error linear unit, exact or by one of two approximations."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[mode])


@operator("silu")
def silu(x: Tensor) -> Tensor:
    """`x * sigmoid(x)`."""
    return F.silu(x)


@operator("sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return torch.sigmoid(x)


@operator("sigmoid_hard")
def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    """`min(max(alpha * x + beta, 0), 1)`."""
    return (alpha * x + beta).clamp(0, 1)


@operator("scaled_tanh")
def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    """`alpha * tanh(beta * x)`."""
    return alpha * torch.tanh(beta * x)


@operator("linear_activation")
def linear_activation(x: Tensor, alpha: float, beta: float) -> Tensor:
    """`alpha * x + beta`."""
    return alpha * x + beta


@operator("softplus")
def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`, without overflow."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operator("softplus_parametric")
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`alpha[c] * log(1 + exp(beta[c] * x))`; `x` (N, C, ...)."""
    return _per_channel(alpha, x) * softplus(_per_channel(beta, x) * x)


@operator("softsign")
def softsign(x: Tensor) -> Tensor:
    """`x / (1 + |x|)`."""
    return F.softsign(x)


@operator("softmax")
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x), axis)`."""
    return x.softmax(axis)
