"""Operators that make, order or mask tensors."""

import torch
from torch import Tensor

from exporters.mil.ops.registry import Ints, Tensors, operator


@operator("shape")
def shape(x: Tensor) -> Tensor:
    """The dimensions of `x`."""
    return torch.tensor(x.shape, dtype=torch.int32)


@operator("fill")
def fill(shape: Ints, value: Tensor | None = None) -> Tensor:
    """A tensor of one value, 0.0 when absent."""
    return (torch.zeros(()) if value is None else value).expand(shape).clone()


@operator("fill_like")
def fill_like(ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    """A tensor of one value with the shape of another."""
    return fill(tuple(ref_tensor.shape), value)


@operator("range_1d")
def range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    """The numbers from `start` to `end`, exclusive."""
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@operator("band_part")
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Zero all but `lower` diagonals below and `upper` above the main one; negative keeps all."""
    below = torch.arange(x.shape[-2]).unsqueeze(1) - torch.arange(x.shape[-1])
    kept = ((below <= lower) | (lower < 0)) & ((-below <= upper) | (upper < 0))
    return torch.where(kept, x, torch.zeros_like(x))


@operator("cumsum")
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sum along `axis`, of the elements before each when `exclusive`, from the end when `reverse`."""
    ordered = x.flip(axis) if reverse else x
    sums = ordered.cumsum(axis, dtype=x.dtype)
    sums = sums - ordered if exclusive else sums
    return sums.flip(axis) if reverse else sums


@operator("one_hot")
def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """`on_value` where a new dimension's position equals the index, else `off_value`; 1 and 0 when absent."""
    on = torch.tensor(1, dtype=torch.int32) if on_value is None else on_value
    off = torch.zeros_like(on) if off_value is None else off_value
    hit = indices.unsqueeze(-1) == torch.arange(one_hot_vector_size)
    return torch.where(hit, on, off).movedim(-1, axis)


@operator("non_zero")
def non_zero(x: Tensor) -> Tensor:
    """The (N, rank) positions of the elements that are not zero."""
    return x.nonzero().to(torch.int32)


@operator("argsort")
def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """The order that sorts along `axis`; equal elements keep theirs."""
    return x.argsort(dim=axis, descending=not ascending, stable=True).to(torch.int32)


@operator("topk")
def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Tensor | Tensors:
    """The `k` largest (smallest when `ascending`) elements along `axis`, sorted, and their positions."""
    order = x.argsort(dim=axis, descending=not ascending, stable=True)
    order = order.narrow(axis, 0, x.shape[axis] if k == -1 else k)
    values = x.gather(axis, order)
    return (values, order.to(torch.int32)) if return_indices else values
