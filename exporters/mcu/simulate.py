"""A network of integers run by PyTorch, exactly: what the C must answer, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor as Array
from torch.nn import functional as F

from exporters.mcu.network import Layer, Network

LEFT_SHIFT = 20
"""Of both sides of a sum, before they are brought to one scale; LiteRT's."""


def as_bytes(network: Network, example: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """An example (1, C, H, W), floats or bytes, as the network reads it: (H, W, C) int8. Without one, a pattern."""
    own = network.input
    if example is None:
        places = np.arange(own.bytes, dtype=np.int64)
        return ((places * 2654435761 >> 16) % 256 - 128).astype(np.int8).reshape(own.height, own.width, own.channels)
    if example.dtype != np.int8:
        quantised = torch.ops.quantized_decomposed.quantize_per_tensor(
            torch.from_numpy(np.asarray(example, np.float32)), own.scale, own.zero, -128, 127, torch.int8
        )
        example = quantised.numpy()
    return np.ascontiguousarray(example[0].transpose(1, 2, 0))


def simulate(network: Network, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The answer (height, width, channels) int8 to an input (height, width, channels) int8.

    Sums are made in float64, which holds integers below 2^53 exactly; rounding is Jacob et al.'s (2018, section 2.2).
    """
    values: list[Array] = []
    for layer in network.layers:
        given = [values[index] for index in layer.inputs]
        values.append(torch.from_numpy(image.astype(np.int64)) if layer.kind == "read" else _run(network, layer, given))
    answer: np.ndarray[Any, Any] = values[-1].numpy().astype(np.int8)
    return answer


def _run(network: Network, layer: Layer, given: list[Array]) -> Array:
    zeros = [network.layers[index].output.zero for index in layer.inputs]
    first = given[0] - zeros[0]
    if layer.kind == "pointwise":
        weight = torch.from_numpy(layer.weight.reshape(len(layer.weight), -1).astype(np.float64))
        return _finished(layer, (first.double() @ weight.T).round().long() + torch.from_numpy(layer.bias))
    if layer.kind in ("conv", "depthwise"):
        return _finished(layer, _windows(layer, first) + torch.from_numpy(layer.bias))
    if layer.kind == "add":
        sides = [
            rescaled((side - zero) << LEFT_SHIFT, layer.multiplier[at], layer.shift[at])
            for at, (side, zero) in enumerate(zip(given, zeros, strict=True))
        ]
        return _clamped(layer, rescaled(sides[0] + sides[1], layer.multiplier[2], layer.shift[2]))
    if layer.kind == "multiply":
        return _finished(layer, first * (given[1] - zeros[1]))
    if layer.kind == "mean":
        return _finished(layer, first.sum((0, 1), keepdim=True))
    if layer.kind == "table":
        return torch.from_numpy(layer.weight.astype(np.int64))[given[0] + 128]
    planes = given[0].double().permute(2, 0, 1)[None]
    if layer.kind == "maximum":
        return F.max_pool2d(planes, layer.kernel, layer.stride, layer.pad)[0].permute(1, 2, 0).long()
    padded = F.avg_pool2d(
        first.double().permute(2, 0, 1)[None], layer.kernel, layer.stride, layer.pad, divisor_override=1
    )
    return _finished(layer, padded[0].permute(1, 2, 0).round().long())


def _windows(layer: Layer, first: Array) -> Array:
    """Sums of products tap by tap: PyTorch's own depthwise convolution of float64 takes a hundred times longer."""
    (top, left), (down, across), out = layer.pad, layer.stride, layer.output
    kernel = layer.kernel
    padded = F.pad(first.permute(2, 0, 1), (left, left + kernel[1], top, top + kernel[0])).permute(1, 2, 0).double()
    sums = torch.zeros(out.height, out.width, out.channels, dtype=torch.float64)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            seen = padded[y : y + down * out.height : down, x : x + across * out.width : across]
            seen = seen[: out.height, : out.width]
            if layer.kind == "depthwise":
                sums += seen * torch.from_numpy(layer.weight[y, x].astype(np.float64))
            else:
                sums += seen @ torch.from_numpy(layer.weight[:, y, x].astype(np.float64)).T
    return sums.round().long()


def _finished(layer: Layer, sums: Array) -> Array:
    channels = [torch.from_numpy(part.astype(np.int64)) for part in (layer.multiplier, layer.shift)]
    return _clamped(layer, rescaled(sums, *channels))


def _clamped(layer: Layer, value: Array) -> Array:
    return (value + layer.output.zero).clamp(layer.low, layer.high)


def rescaled(value: Array, multiplier: Any, shift: Any) -> Array:
    """value * multiplier / 2^31 * 2^shift: halves up at 31 bits, then away from zero."""
    multiplier, shift = torch.as_tensor(multiplier, dtype=torch.int64), torch.as_tensor(shift, dtype=torch.int64)
    left, right = shift.clamp(min=0), (-shift).clamp(min=0)
    high = ((value << left) * multiplier + (1 << 30)) >> 31
    mask = (torch.ones_like(right) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    rounded: Array = (high >> right) + ((high & mask) > threshold)
    return rounded
