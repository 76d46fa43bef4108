"""Operators that move elements without computing: reshapes, slices, joins, rearrangements."""

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import Ints, Tensors, operator


@operator("reshape")
def reshape(x: Tensor, shape: Ints) -> Tensor:
    """`x` with another shape; a 0 keeps the dimension at the same distance from the end, or is 1."""
    offset = len(shape) - x.dim()
    kept = [(x.shape[i - offset] if i >= offset else 1) if n == 0 else n for i, n in enumerate(shape)]
    return x.reshape(kept)


@operator("reshape_like")
def reshape_like(x: Tensor, ref_tensors: Tensors, begins: Tensors, ends: Tensors, end_masks: Tensors) -> Tensor:
    """`x` with the dimensions `begin:end` of each reference, up to its last where masked."""
    parts = zip(ref_tensors, begins, ends, end_masks, strict=True)
    return x.reshape([n for ref, b, e, mask in parts for n in ref.shape[int(b) : None if mask else int(e)]])


@operator("expand_dims")
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    """Insert a dimension of 1 at each of `axes`, counted in the result."""
    for axis in sorted(a % (x.dim() + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


@operator("squeeze")
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Drop those of `axes` (all when absent) that have size 1."""
    return x.squeeze() if axes is None else x.squeeze(axes)


@operator("transpose")
def transpose(x: Tensor, perm: Ints) -> Tensor:
    """Permute the dimensions."""
    return x.permute(perm)


@operator("flatten2d")
def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """Two dimensions: those before `axis`, and the rest."""
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


@operator("concat")
def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    """Join along `axis`, in turn element by element when `interleave`."""
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].dim()
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


@operator("stack")
def stack(values: Tensors, axis: int) -> Tensor:
    """Join along a new dimension at `axis`."""
    return torch.stack(values, axis)


@operator("split")
def split(x: Tensor, axis: int, num_splits: int = 1, split_sizes: Ints = ()) -> Tensors:
    """Cut along `axis` into the given sizes, or into equal parts."""
    return torch.split(x, list(split_sizes) or x.shape[axis] // num_splits, axis)


@operator("tile")
def tile(x: Tensor, reps: Ints) -> Tensor:
    """Repeat each dimension."""
    return x.repeat(reps)


@operator("pad")
def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """Pad the last `len(pad) / 2` dimensions by (before, after) pairs."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        value = constant_val if x.is_floating_point() else int(constant_val)
        return F.pad(x, [amount for pair in reversed(pairs) for amount in pair], value=value)
    for axis, (before, after) in enumerate(pairs, x.dim() - len(pairs)):
        if before or after:
            x = x.index_select(axis, _border_indices(x.shape[axis], before, after, mode))
    return x


def _border_indices(size: int, before: int, after: int, mode: str) -> Tensor:
    """Where each element of a padded dimension comes from."""
    if mode == "reflect" and max(before, after) >= size:
        raise ValueError(f"cannot reflect {max(before, after)} elements of a dimension of {size}")
    index = torch.arange(-before, size + after)
    last = size - 1
    return {"replicate": index.clamp(0, last), "reflect": last - (last - index.abs()).abs()}[mode]


@operator("reverse")
def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Reverse the order along `axes`, along all when absent."""
    return x.flip(tuple(range(x.dim())) if axes is None else axes)


@operator("reverse_sequence")
def reverse_sequence(x: Tensor, lengths: Ints, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """Reverse the first `lengths[b]` elements along `seq_axis` of each slice along `batch_axis`."""
    x = x.movedim((batch_axis, seq_axis), (0, 1))
    rows = [torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, lengths, strict=True)]
    return torch.stack(rows).movedim((0, 1), (batch_axis, seq_axis))


@operator("sliding_windows")
def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """All windows of `size` along `axis`, as a new dimension after it."""
    axis %= x.dim()
    return x.unfold(axis, size, stride).movedim(-1, axis + 1)


@operator("pixel_shuffle")
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """(N, C f^2, H, W) to (N, C, H f, W f), the channels outermost."""
    return F.pixel_shuffle(x, upscale_factor)


@operator("pixel_unshuffle")
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`."""
    return F.pixel_unshuffle(x, downscale_factor)


@operator("depth_to_space")
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """(N, C b^2, H, W) to (N, C, H b, W b), the block's position outermost among the channels."""
    n, c, h, w = x.shape
    b = block_size
    blocks = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // (b * b), h * b, w * b)


@operator("space_to_depth")
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """The inverse of `depth_to_space`."""
    n, c, h, w = x.shape
    b = block_size
    blocks = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * b * b, h // b, w // b)


@operator("space_to_batch")
def space_to_batch(x: Tensor, block_shape: Ints, paddings: Tensor) -> Tensor:
    """Zero-pad (N, C, H, W), then move each position of a block into the batch."""
    (top, bottom), (left, right) = paddings.tolist()
    n, c, h, w = (x := F.pad(x, (left, right, top, bottom))).shape
    rows, columns = block_shape
    blocks = x.reshape(n, c, h // rows, rows, w // columns, columns).permute(3, 5, 0, 1, 2, 4)
    return blocks.reshape(n * rows * columns, c, h // rows, w // columns)


@operator("batch_to_space")
def batch_to_space(x: Tensor, block_shape: Ints, crops: Tensor) -> Tensor:
    """The inverse of `space_to_batch`, cropped."""
    (top, bottom), (left, right) = crops.tolist()
    n, c, h, w = x.shape
    rows, columns = block_shape
    blocks = x.reshape(rows, columns, n // (rows * columns), c, h, w).permute(2, 3, 4, 0, 5, 1)
    space = blocks.reshape(n // (rows * columns), c, h * rows, w * columns)
    return space[:, :, top : h * rows - bottom, left : w * columns - right]
