"""Quantisation of activations, and the `constexpr_` operators that decompress weights."""

import torch
from torch import Tensor

from exporters.mil.ops.registry import Ints, Tensors, operator

_RANGES = {"int8": (-128, 127, torch.int8), "uint8": (0, 255, torch.uint8)}


def _along(vector: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """A scale or zero point as float32, broadcast along `axis` when it is a vector."""
    vector = vector.float()
    if vector.dim() == 0:
        return vector
    if axis is None:
        raise ValueError(f"a vector of {vector.numel()} scales or zero points needs an axis")
    return vector.reshape([-1 if a == axis % x.dim() else 1 for a in range(x.dim())])


@operator("quantize")
def quantize(
    input: Tensor, scale: Tensor, output_dtype: str, zero_point: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """`clip(round(input / scale) + zero_point)`, rounding half to even."""
    low, high, dtype = _RANGES[output_dtype]
    levels = torch.round(input / _along(scale, input, axis))
    levels = levels if zero_point is None else levels + _along(zero_point, input, axis)
    return levels.clamp(low, high).to(dtype)


@operator("dequantize")
def dequantize(input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int | None = None) -> Tensor:
    """`scale * (input - zero_point)`."""
    offset = 0.0 if zero_point is None else _along(zero_point, input, axis)
    return (input.float() - offset) * _along(scale, input, axis)


@operator("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """`scale * (quantized_data - zero_point)`."""
    return dequantize(quantized_data, scale, zero_point, axis)


@operator("constexpr_cast")
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """`source_val` as float32, the one type the operator has."""
    return source_val.float()


def _repeated(blocks: Tensor, shape: Ints) -> Tensor:
    """Each element repeated over its block, so that the leading dimensions become `shape`."""
    for axis, size in enumerate(shape):
        if size % blocks.shape[axis]:
            raise ValueError(f"{blocks.shape[axis]} blocks do not divide a dimension of {size}")
        blocks = blocks.repeat_interleave(size // blocks.shape[axis], axis)
    return blocks


@operator("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """`scale * (data - offset)`; each scale and offset covers one block of `data`."""
    shape = tuple(data.shape)
    shifted = data.float() if offset is None else data.float() - _repeated(offset.float(), shape)
    return _repeated(scale, shape) * shifted


def _bits(packed: Tensor, width: int, count: int) -> Tensor:
    """The first `count` integers of `width` bits in a byte tensor, least significant bit first."""
    bits = (packed.flatten().unsqueeze(1).long() >> torch.arange(8) & 1).flatten()
    return (bits[: count * width].reshape(count, width) << torch.arange(width)).sum(1)


@operator("constexpr_lut_to_dense")
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Ints | None = None, vector_axis: int | None = None
) -> Tensor:
    """Look `indices` up in tables.

    The iOS 16 form has one table and packed indices of a given `shape`. The iOS 18 form has a table a block,
    `lut` (blocks..., entries, vector), whose vectors extend `vector_axis`.
    """
    if shape is not None:
        count = torch.Size(shape).numel()
        return lut[_bits(indices, (len(lut) - 1).bit_length(), count)].reshape(shape)
    tables = _repeated(lut, tuple(indices.shape))
    index = indices.long()[..., None, None].expand(*indices.shape, 1, lut.shape[-1])
    vectors = tables.gather(-2, index).squeeze(-2)
    if vector_axis is None:
        return vectors.squeeze(-1)
    axis = vector_axis % indices.dim()
    return vectors.movedim(-1, axis + 1).flatten(axis, axis + 1)


@operator("constexpr_sparse_to_dense")
def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Ints | None = None) -> Tensor:
    """Spread `nonzero_data` over the ones of `mask`, which iOS 16 packs in bytes of a given `shape`."""
    if shape is not None:
        mask = _bits(mask, 1, torch.Size(shape).numel()).reshape(shape)
    if int(mask.count_nonzero()) != nonzero_data.numel():
        raise ValueError(f"{nonzero_data.numel()} values for {int(mask.count_nonzero())} places")
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@operator("constexpr_lut_to_sparse")
def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> Tensors:
    """`constexpr_lut_to_dense` of the ones of a mask: the mask (extended by vectors) and the values found."""
    dense = constexpr_lut_to_dense(
        constexpr_sparse_to_dense(indices_nonzero_data, indices_mask), lut, None, vector_axis
    )
    mask = indices_mask
    if vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], vector_axis)
    return mask, dense[mask != 0]


@operator("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> Tensors:
    """`constexpr_blockwise_shift_scale` of the ones of a mask: the mask and the scaled values."""
    dense = constexpr_blockwise_shift_scale(constexpr_sparse_to_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]
