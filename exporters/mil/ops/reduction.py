"""Reductions over axes, all of them when `axes` is absent."""

from collections.abc import Callable

import torch
from torch import Tensor

from exporters.mil.ops.registry import Function, Ints, operator


def _product(x: Tensor, axes: Ints, keep: bool) -> Tensor:
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _mean(x: Tensor, axes: Ints, keep: bool) -> Tensor:
    return (x if x.is_floating_point() else x.double()).mean(axes, keepdim=keep).to(x.dtype)


_REDUCTIONS: dict[str, Callable[[Tensor, Ints, bool], Tensor]] = {
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype),
    "reduce_mean": _mean,
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "reduce_prod": _product,
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep, dtype=x.dtype),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt().to(x.dtype),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep, dtype=x.dtype),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log().to(x.dtype),
    "reduce_log_sum_exp": lambda x, axes, keep: x.float().logsumexp(axes, keepdim=keep).to(x.dtype),
}


def _reduction(function: Callable[[Tensor, Ints, bool], Tensor]) -> Function:
    def apply(x: Tensor, axes: Ints = (), keep_dims: bool = False) -> Tensor:
        return function(x, axes or tuple(range(x.dim())), keep_dims)

    return apply


for _name, _function in _REDUCTIONS.items():
    operator(_name)(_reduction(_function))


@operator("reduce_argmax")
def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """Index of the largest element along `axis`; both output types are held as int32."""
    return x.argmax(axis, keepdim=keep_dims).to(torch.int32)


@operator("reduce_argmin")
def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """Index of the smallest element along `axis`; both output types are held as int32."""
    return x.argmin(axis, keepdim=keep_dims).to(torch.int32)
