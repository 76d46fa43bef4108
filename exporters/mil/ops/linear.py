"""Matrix products and attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import Tensors, operator


@operator("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`; `weight` (out, in)."""
    return F.linear(x, weight, bias)


@operator("matmul")
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Batched matrix product, either side's last two dimensions swapped first when it has two."""
    x = x.mT if transpose_x and x.dim() > 1 else x
    y = y.mT if transpose_y and y.dim() > 1 else y
    return torch.matmul(x, y)


@operator("einsum")
def einsum(values: Tensors, equation: str) -> Tensor:
    """Product of two tensors by an einsum equation; dimensions of 1 broadcast."""
    return torch.einsum(equation, *values)


@operator("scaled_dot_product_attention")
def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """`softmax(query @ key.T / sqrt(E) + mask) @ value`; a boolean mask says what takes part."""
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1) @ value
