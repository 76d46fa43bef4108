"""Real numbers as the integers that a network takes and gives, and back; by a tensor's `quantization`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime_py.manifest import Tensor

Array = npt.NDArray[Any]


def whole(real: Array, tensor: Tensor) -> Array:
    """round(real / scale) + zero_point, clipped to the tensor's type; half to even. As it is where the tensor is float.

    In float32, as PyTorch's quantize_per_tensor computes it, and so to the same bits.
    """
    if tensor.quantization is None:
        return real
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(real.astype(np.float32, copy=False) * np.float32(1.0 / tensor.quantization.scale))
    found: Array = np.clip(steps + np.float32(tensor.quantization.zero_point), limits.min, limits.max)
    return found.astype(tensor.dtype)


def real(integers: Array, tensor: Tensor) -> Array:
    """(integer - zero_point) * scale, float32. As it is where the tensor is float."""
    if tensor.quantization is None:
        return integers
    steps = integers.astype(np.float32) - np.float32(tensor.quantization.zero_point)
    return steps * np.float32(tensor.quantization.scale)


def real_outputs(outputs: dict[str, Array], tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    """Each output, by name, as real numbers."""
    return {tensor.name: real(outputs[tensor.name], tensor) for tensor in tensors}
