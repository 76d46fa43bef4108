"""MIL's operators over torch, grouped as the MIL op specification groups them."""

from exporters.mil.ops import (
    activation,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    quantization,
    reduction,
    resample,
    shape,
    tensor,
)
from exporters.mil.ops.registry import OPERATORS, Operator

__all__ = [
    "OPERATORS",
    "Operator",
    "activation",
    "convolution",
    "elementwise",
    "indexing",
    "linear",
    "normalization",
    "pooling",
    "quantization",
    "reduction",
    "resample",
    "shape",
    "tensor",
]
