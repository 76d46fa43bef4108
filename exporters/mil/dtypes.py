"""The element types of MIL: how each is stored in a package, and which torch type computes it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Dtype:
    """One element type.

    `bits` is the size on disk; `array` the numpy type of unpacked elements; `tensor` the torch type that
    holds them, wider where torch cannot compute in the exact one; `blob` its number in a weight file.
    """

    name: str
    bits: int
    array: npt.DTypeLike
    tensor: torch.dtype
    blob: int | None = None

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self.tensor.is_floating_point


STRING = "string"

DTYPES: dict[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("fp16", 16, np.float16, torch.float16, blob=1),
        Dtype("fp32", 32, np.float32, torch.float32, blob=2),
        Dtype("fp64", 64, np.float64, torch.float64),
        Dtype("bool", 8, np.bool_, torch.bool, blob=3),
        Dtype("uint8", 8, np.uint8, torch.uint8, blob=3),
        Dtype("int8", 8, np.int8, torch.int8, blob=4),
        Dtype("int16", 16, np.int16, torch.int16, blob=6),
        Dtype("uint16", 16, np.uint16, torch.int32, blob=7),
        Dtype("int32", 32, np.int32, torch.int32, blob=14),
        Dtype("uint32", 32, np.uint32, torch.int64, blob=15),
        Dtype("int64", 64, np.int64, torch.int64),
        Dtype("int4", 4, np.int8, torch.int8, blob=8),
        Dtype("uint1", 1, np.uint8, torch.uint8, blob=9),
        Dtype("uint2", 2, np.uint8, torch.uint8, blob=10),
        Dtype("uint3", 3, np.uint8, torch.uint8, blob=12),
        Dtype("uint4", 4, np.uint8, torch.uint8, blob=11),
        Dtype("uint6", 6, np.uint8, torch.uint8, blob=13),
    )
}

# MIL.proto's names of the same types.
FROM_PROTO: dict[str, str] = {
    "FLOAT16": "fp16",
    "FLOAT32": "fp32",
    "FLOAT64": "fp64",
    "BOOL": "bool",
    "STRING": STRING,
    **{name.upper(): name for name in DTYPES if "int" in name},
}


def unpack(packed: npt.NDArray[np.uint8], dtype: Dtype, count: int) -> npt.NDArray[np.generic]:
    """The first `count` elements of a byte array, packed from the least significant bit on.

    Types of whole bytes are a view; sub-byte ones a copy, sign-extended when the type is signed.
    """
    if dtype.bits >= 8:
        return packed.view(dtype.array)
    bits = np.unpackbits(packed, bitorder="little", count=count * dtype.bits).reshape(count, dtype.bits)
    values: npt.NDArray[np.int64] = bits @ (1 << np.arange(dtype.bits, dtype=np.int64))
    if dtype.name.startswith("int"):
        values -= (values >> (dtype.bits - 1)) << dtype.bits
    return values.astype(dtype.array)
