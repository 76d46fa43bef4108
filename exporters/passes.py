"""Rewrites of a captured program that some targets need before their converter sees it.

A pass is one decorated function that computes an operator in other operators; its docstring draws both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.nn import functional as F

from exporters.base import operators
from exporters.frames import fold_time

aten = torch.ops.aten
NOT_THIS_ONE = cast(Tensor, NotImplemented)
"""What a rewrite answers to leave an operator as it is."""


@dataclass(frozen=True)
class Pass:
    """`rewrite` takes the arguments of `operator` and answers with the same tensor, for these `targets`."""

    operator: Any
    targets: frozenset[str]
    rewrite: Callable[..., Tensor]


def rewrites(operator: Any, *targets: str) -> Callable[[Callable[..., Tensor]], Pass]:
    """Make a pass of a function, for the named targets."""
    return lambda function: Pass(operator, frozenset(targets), function)


@rewrites(aten.conv3d.default, "tflite", "executorch")
def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] = (0, 0, 0),
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
) -> Tensor:
    """Sum of 2-D convolutions over the slices of the kernel's depth; XNNPACK and LiteRT have no 3-D one.

    before: x (N, C, D, H, W) -> conv3d, weight (O, C / groups, K, R, S) -> (N, O, E, P, Q)
    after:  for k in 0..K-1: slice k of the padded depth -> (N * E, C, H, W) -> conv2d, weight[:, :, k]
            -> add all K -> (N, O, E, P, Q)
    """
    kernel = weight.shape[2]
    padded = F.pad(x, (0, 0, 0, 0, padding[0], padding[0])) if padding[0] else x
    depth = (padded.shape[2] - dilation[0] * (kernel - 1) - 1) // stride[0] + 1
    total = None
    for k in range(kernel):
        first = k * dilation[0]
        plane = padded[:, :, first : first + (depth - 1) * stride[0] + 1 : stride[0]].transpose(1, 2)
        part = F.conv2d(
            plane.reshape(-1, *x.shape[1:2], *x.shape[3:]),
            weight[:, :, k],
            bias if k == 0 else None,
            stride[1:],
            padding[1:],
            dilation[1:],
            groups,
        )
        total = part if total is None else total + part
    assert total is not None  # a kernel has at least one slice
    return total.reshape(x.shape[0], depth, *total.shape[1:]).transpose(1, 2)


@rewrites(aten.conv3d.padding, "tflite", "executorch")
def conv3d_named_padding(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1, 1),
    padding: str = "valid",
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
) -> Tensor:
    """Padding by name as numbers, then the sum of 2-D convolutions.

    before: conv3d(padding="same")
    after:  pad by dilation * (K - 1) in all, the odd one behind -> conv3d(padding=0), rewritten
    """
    if padding == "same":
        sides: list[int] = []
        for size, step in zip(reversed(weight.shape[2:]), reversed(dilation), strict=True):
            needed = step * (size - 1)
            sides += [needed // 2, needed - needed // 2]
        x = F.pad(x, sides)
    return conv3d.rewrite(x, weight, bias, stride, (0, 0, 0), dilation, groups)


@rewrites(aten.scaled_dot_product_attention.default, "executorch")
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention as two products around a softmax, all of which XNNPACK takes.

    PyTorch's own decomposition also zeroes rows that are masked as a whole, by operators that XNNPACK lacks;
    only attention with a mask gets that one.

    before: scaled_dot_product_attention(query, key, value)
    after:  query * scale -> matmul key^T -> softmax -> matmul value
    """
    if attn_mask is not None or is_causal or enable_gqa:
        masked: Tensor = aten._scaled_dot_product_attention_math.default(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]
        return masked
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return ((query * factor) @ key.transpose(-2, -1)).softmax(-1) @ value


@rewrites(aten.mean.dim, "executorch")
def channel_mean(
    x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Mean over channels as a convolution; XNNPACK has one over height and width only.

    before: x (N, C, H, W) -> mean(1, keepdim=True)
    after:  conv2d, weight (1, C, 1, 1) of 1 / C -> (N, 1, H, W)
    """
    if x.dim() != 4 or not keepdim or not dim or [each % 4 for each in dim] != [1] or dtype is not None:
        return NOT_THIS_ONE
    return F.conv2d(x, torch.full((1, x.shape[1], 1, 1), 1.0 / x.shape[1], dtype=x.dtype))


@rewrites(aten.pixel_shuffle.default, "coreml", "tflite", "executorch")
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Of rank 4, for which targets have an operator; the general one needs a rank above Core ML's limit of 5.

    before: x (N, T, C, H, W) -> pixel_shuffle
    after:  (N * T, C, H, W) -> pixel_shuffle -> (N, T, C / r^2, H * r, W * r)
    """
    if x.dim() < 5:
        return NOT_THIS_ONE
    shuffled = F.pixel_shuffle(x.flatten(0, -4), upscale_factor)
    return shuffled.reshape(*x.shape[:-3], *shuffled.shape[1:])


PASSES: tuple[Pass, ...] = (conv3d, conv3d_named_padding, attention, channel_mean, pixel_shuffle)
"""In the order in which they apply."""


FOLDED = frozenset({"tflite", "executorch"})
"""Targets without 3-D kernels, or with slow ones."""


def rewrite(program: ExportedProgram, target: str) -> ExportedProgram:
    """The program as `target` needs it: the same object where no pass applies."""
    if target in FOLDED and any(node.target is aten.conv3d.default for node in operators(program)):
        program = fold_time(program)
    present = {node.target for node in operators(program)}
    table = {row.operator: row.rewrite for row in PASSES if target in row.targets and row.operator in present}
    return program.run_decompositions(table) if table else program
