"""Slices, gathers and scatters."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from exporters.mil.ops.registry import Ints, operator

_SCATTERS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _slices(begin: Ints, end: Ints, stride: Ints, masks: Sequence[Ints]) -> tuple[slice | int, ...]:
    """Numpy's index for a MIL slice; `masks` are those of begin, end and squeeze."""
    rank = len(begin)
    no_begin, no_end, squeezed = (mask or (0,) * rank for mask in masks)
    starts = [None if masked else b for b, masked in zip(begin, no_begin, strict=True)]
    ends = [None if masked else e for e, masked in zip(end, no_end, strict=True)]
    steps = stride or (1,) * rank
    return tuple(
        (start or 0) if single else slice(start, stop, step)
        for start, stop, step, single in zip(starts, ends, steps, squeezed, strict=True)
    )


@operator("slice_by_index")
def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints = (),
    begin_mask: Ints = (),
    end_mask: Ints = (),
    squeeze_mask: Ints = (),
) -> Tensor:
    """`x[begin:end:stride]` in each dimension, as numpy slices; a squeezed one is `x[begin]`."""
    index = _slices(begin, end, stride, (begin_mask, end_mask, squeeze_mask))
    return torch.from_numpy(np.array(x.numpy()[index]))  # torch itself has no negative stride


@operator("slice_update")
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints = (),
    begin_mask: Ints = (),
    end_mask: Ints = (),
    squeeze_mask: Ints = (),
) -> Tensor:
    """`x` with the slice that `slice_by_index` would take replaced by `update`."""
    result = x.numpy().copy()
    index = _slices(begin, end, stride, (begin_mask, end_mask, squeeze_mask))
    result[index] = update.numpy()
    return torch.from_numpy(result)


@operator("slice_by_size")
def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """`size` elements from `begin` on in each dimension; -1 takes the rest."""
    starts = [b % n if b < 0 else b for b, n in zip(begin, x.shape, strict=True)]
    return x[tuple(slice(b, None if s == -1 else b + s) for b, s in zip(starts, size, strict=True))]


def _positive(indices: Tensor, size: int) -> Tensor:
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


@operator("gather")
def gather(x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """Slices of `x` at `indices` along `axis`, separately for each of the first `batch_dims` dimensions."""
    axis %= x.dim()
    if batch_dims:
        rows = [gather(a, i, axis - 1, batch_dims - 1) for a, i in zip(x, indices, strict=True)]
        return torch.stack(rows)
    picked = x.index_select(axis, _positive(indices, x.shape[axis]).flatten())
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@operator("gather_along_axis")
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """Elements of `x` at `indices` along `axis`, the other positions kept."""
    return x.gather(axis, _positive(indices, x.shape[axis]))


def _rows(indices: Tensor, shape: Sequence[int]) -> Tensor:
    """The index of each tuple of `indices` (..., K) in the flattened first K dimensions of `shape`."""
    flat = torch.zeros(indices.shape[:-1], dtype=torch.long)
    for position, size in zip(indices.unbind(-1), shape[: indices.shape[-1]], strict=True):
        index = _positive(position, size)
        if bool(((index < 0) | (index >= size)).any()):
            raise IndexError(f"an index lies outside a dimension of {size}")
        flat = flat * size + index
    return flat


@operator("gather_nd")
def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """The slice of `x` that each tuple in the last dimension of `indices` names."""
    if batch_dims:
        rows = [gather_nd(a, i, batch_dims - 1) for a, i in zip(x, indices, strict=True)]
        return torch.stack(rows)
    depth = indices.shape[-1]
    rest = x.shape[depth:]
    picked = x.reshape(-1, rest.numel())[_rows(indices, x.shape).flatten()]
    return picked.reshape(*indices.shape[:-1], *rest)


@operator("scatter_along_axis")
def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """`data` with `updates` combined into the elements at `indices` along `axis`."""
    index = _positive(indices, data.shape[axis])
    if mode == "update":
        return data.scatter(axis, index, updates)
    if mode == "sub":
        return data.scatter_add(axis, index, -updates)
    if mode == "div":
        return real_quotient(data, torch.ones_like(data).scatter_reduce(axis, index, updates, "prod"))
    return data.scatter_reduce(axis, index, updates, _SCATTERS[mode])


def real_quotient(data: Tensor, divisor: Tensor) -> Tensor:
    """`data / divisor` in the type of `data`; integers round toward zero."""
    return torch.div(data, divisor, rounding_mode=None if data.is_floating_point() else "trunc")


@operator("scatter")
def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """`data` with the slices `updates` combined into those at the 1-d `indices` along `axis`."""
    axis %= data.dim()
    spread = indices.reshape(-1, *[1] * (data.dim() - axis - 1)).expand(updates.shape)
    return scatter_along_axis(data, spread, updates, axis, mode)


@operator("scatter_nd")
def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """`data` with `updates` combined into the slices that each tuple of `indices` names."""
    depth = indices.shape[-1]
    width = data.shape[depth:].numel()
    rows = _rows(indices, data.shape).flatten()
    result = scatter(data.reshape(-1, width), rows, updates.reshape(-1, width), 0, mode)
    return result.reshape(data.shape)
