"""The canonical w8a8 program as a network of integers; what the target lacks is named with its source line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import frexp
from typing import Any

import numpy as np
import torch
from torch import Tensor as Floats
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from exporters.base import LoweringFailed, Unsupported, UnsupportedOperators, module_of, operator_name, source_of
from exporters.mcu.network import Layer, Network, Tensor
from exporters.quantized import DEQUANTIZE, aten, q
from runtime_py.errors import SdkError

TITLE = "Microcontroller C"
WAY_OUT = "a microcontroller's program is a chain of convolutions, sums, products, pools and functions of one value"
CONVOLUTIONS = (aten.conv2d.default, aten.conv2d.padding, aten.convolution.default)
BOUNDS: dict[Any, tuple[float, float]] = {
    aten.relu.default: (0.0, float("inf")),
    aten.relu6.default: (0.0, 6.0),
}
SAME = frozenset({aten.dropout.default, aten.contiguous.default, aten.clone.default, aten.alias.default})
SHAPES = frozenset(
    {
        aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten.squeeze.dim, aten.squeeze.dims,
        aten.unsqueeze.default,
    }
)  # fmt: skip
ONE_VALUE = frozenset(
    {
        aten.hardswish.default, aten.hardsigmoid.default, aten.sigmoid.default, aten.silu.default, aten.tanh.default,
        aten.gelu.default, aten.leaky_relu.default, aten.elu.default, aten.neg.default, aten.abs.default,
        aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.clamp.default,
    }
)  # fmt: skip
WITH_NUMBER = frozenset({aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor})
EXACT_TAPS = 1 << 14
"""A sum of more products of two bytes than this may not leave 31 bits."""


class NotIntegers(SdkError):
    """A program that computes in float where the target has integers alone."""

    id = "not-integers"

    def __init__(self, given: str) -> None:
        super().__init__(
            given, expected="a program whose activations and weights are in 8 bits", hint="--precision w8a8"
        )


@dataclass(frozen=True)
class _Real:
    """Floats that are layer `number`'s bytes, through `function` where there is one; or rows of them from `start`."""

    number: int
    function: Callable[[Floats], Floats] | None = None
    start: int | None = None


@dataclass
class _Pending:
    """A layer whose floats were not yet rounded: `layer` lacks its output's scale and what depends on it."""

    layer: Layer
    scales: tuple[float, ...] | np.ndarray[Any, Any]
    """Of the sums that it makes, one a channel; of both sides where it adds."""
    low: float = -float("inf")
    high: float = float("inf")
    number: int | None = None
    """Of the layer that it became."""


def read(program: ExportedProgram) -> Network:
    """The network of a w8a8 program. Raises NotIntegers, UnsupportedOperators."""
    reader = _Reader(program)
    found = reader.run()
    if reader.lacking:
        raise UnsupportedOperators.of(TITLE, reader.lacking)
    return found


def lacking(program: ExportedProgram) -> list[Unsupported]:
    """What the generator has not, of a w8a8 program."""
    reader = _Reader(program)
    reader.run()
    return reader.lacking


class _Lacks(Exception):
    """A node that has no layer; the message is the way out."""


class _Reader:
    """Walks the graph once. Floats between a quantisation and the next are never rounded in between."""

    def __init__(self, program: ExportedProgram) -> None:
        self.network: GraphModule = program.module(check_guards=False)
        self.layers: list[Layer] = []
        self.values: dict[Node, Any] = {}
        self.lacking: list[Unsupported] = []
        self.weights: dict[Node, bool] = {}

    def run(self) -> Network:
        """All nodes; those behind one that is lacking are passed over."""
        answer: int | None = None
        for node in self.network.graph.nodes:
            self._is_weight(node)
            if node.op == "output":
                answer = self._answer(node)
            elif node.op == "placeholder":
                self.values[node] = node
            elif node.op == "call_function" and node.target not in _ASIDE:
                self._visit(node)
        if self.lacking:
            return Network(())
        if answer is None:
            raise NotIntegers("the network's output is computed in float")
        return Network(tuple(_alive(self.layers, answer)))

    def _visit(self, node: Node) -> None:
        sources = [arg for arg in node.all_input_nodes if arg.op == "call_function" or arg.op == "placeholder"]
        if any(arg not in self.values and not self._is_weight(arg) for arg in sources):
            return  # behind one that is lacking
        try:
            value = self._value(node)
        except _Lacks as why:
            self.lacking.append(Unsupported(operator_name(node), source_of(node), module_of(node), str(why)))
            return
        if value is not None:
            self.values[node] = value

    def _is_weight(self, node: Node) -> bool:
        """Whether a node makes a weight out of what is stored. Its inputs were asked before: nodes come in order."""
        if node not in self.weights:
            made = node.op == "call_function" and bool(node.all_input_nodes)
            self.weights[node] = node.op == "get_attr" or (
                made and all(self.weights.get(arg, False) for arg in node.all_input_nodes)
            )
        return self.weights[node]

    def _value(self, node: Node) -> Any:
        target = node.target
        if all(self._is_weight(arg) for arg in node.all_input_nodes):
            return None
        if target is q.quantize_per_tensor.default:
            return self._rounded(node)
        if target in DEQUANTIZE:
            return self._expanded(node)
        first = self.values.get(node.args[0])  # type: ignore[arg-type]  # an operator's first argument
        if target in SAME:
            return first
        if target in CONVOLUTIONS or target is aten.linear.default:
            return self._weighted(node, self._number(node, first))
        if target in (aten.add.Tensor, aten.mul.Tensor) and isinstance(node.args[1], Node):
            return self._pair(node, first, self.values.get(node.args[1]))
        if isinstance(first, _Pending) and (bounds := self._bounds(node)):
            return replace(first, low=max(first.low, bounds[0]), high=min(first.high, bounds[1]))
        if target in SHAPES:
            return self._reshaped(node, first)
        if target is aten.slice.Tensor and node.args[1] == 2:
            return replace(first, start=int(_args(node)[2])) if isinstance(first, _Real) else None
        if target in (aten.mean.dim, aten.adaptive_avg_pool2d.default):
            return self._mean(node, self._number(node, first))
        if target in (aten.max_pool2d.default, aten.avg_pool2d.default):
            return self._pool(node, self._number(node, first))
        if target in ONE_VALUE or target in WITH_NUMBER:
            return self._function(node, first)
        raise _Lacks(WAY_OUT)

    def _number(self, node: Node, value: Any) -> int:
        """The layer whose bytes a value is, with any function of it applied."""
        if isinstance(value, _Real) and value.function is None and value.start is None:
            return value.number
        if isinstance(value, (_Real, _Pending)):
            raise _Lacks("round its input to 8 bits: --precision w8a8 does where it can")
        raise NotIntegers(f"{operator_name(node)} at {source_of(node) or node.name} computes in float")

    def _rounded(self, node: Node) -> Any:
        given = self.values[node.args[0]]  # type: ignore[index]  # a node
        scale, zero, low, high, kind = node.args[1:]
        if kind is not torch.int8:
            raise _Lacks("--precision w8a8 with inputs of int8 or float")
        if isinstance(given, Node):
            shape = _shape(given)
            if len(shape) != 4 or shape[0] != 1 or self.layers:
                raise _Lacks("one input of shape (1, C, H, W)")
            self.layers.append(Layer("read", given.name, (), Tensor(*shape[2:], shape[1], float(scale), int(zero))))  # type: ignore[arg-type]
            return _Real(0)
        if isinstance(given, _Pending):
            return _Real(self._finish(given, float(scale), int(zero), int(low), int(high)))  # type: ignore[arg-type]
        return self._table(node, given, float(scale), int(zero))  # type: ignore[arg-type]

    def _expanded(self, node: Node) -> Any:
        given = self.values[node.args[0]]  # type: ignore[index]  # a node
        if isinstance(given, Node):  # an input that is bytes already
            shape, scale, zero = _shape(given), float(node.args[1]), int(node.args[2])  # type: ignore[arg-type]
            if given.meta["val"].dtype is not torch.int8:
                raise _Lacks("--io int8 or float32")
            if len(shape) != 4 or shape[0] != 1 or self.layers:
                raise _Lacks("one input of shape (1, C, H, W)")
            self.layers.append(Layer("read", given.name, (), Tensor(*shape[2:], shape[1], scale, zero)))
            return _Real(0)
        return given

    def _finish(self, given: _Pending, scale: float, zero: int, low: int, high: int) -> int:
        layer, sums = given.layer, np.asarray(given.scales, np.float64)
        if given.number is not None:  # rounded in a second way: a function of the first
            return self._rescale(given.number, scale, zero)
        output = replace(layer.output, scale=scale, zero=zero)
        low, high = _clamped(given.low, scale, zero, low, high), _clamped(given.high, scale, zero, low, high)
        if layer.kind == "add":
            twice = 2.0 * sums.max()
            factors = np.array([sums[0] / twice, sums[1] / twice, twice / ((1 << 20) * scale)])
        else:
            factors = sums / scale
        multiplier, shift = fixed(factors)
        if layer.kind == "mean":
            source = self.layers[layer.inputs[0]].output
            multiplier, shift = _divided(multiplier, shift, source.height * source.width)
        self.layers.append(replace(layer, output=output, low=low, high=high, multiplier=multiplier, shift=shift))
        given.number = len(self.layers) - 1
        return given.number

    def _rescale(self, number: int, scale: float, zero: int) -> int:
        own = self.layers[number].output
        if (own.scale, own.zero) == (scale, zero):
            return number
        return self._tabled(number, lambda x: x, scale, zero, self.layers[number].module)

    def _table(self, node: Node, given: Any, scale: float, zero: int) -> _Real:
        if not isinstance(given, _Real) or given.start is not None:
            raise _Lacks(WAY_OUT)
        if given.function is None:
            return _Real(self._rescale(given.number, scale, zero))
        return _Real(self._tabled(given.number, given.function, scale, zero, module_of(node)))

    def _tabled(self, number: int, function: Callable[[Floats], Floats], scale: float, zero: int, module: str) -> int:
        own = self.layers[number].output
        given = (torch.arange(-128, 128, dtype=torch.float32) - own.zero) * own.scale
        answers = torch.ops.quantized_decomposed.quantize_per_tensor(
            function(given), scale, zero, -128, 127, torch.int8
        )
        output = replace(own, scale=scale, zero=zero)
        self.layers.append(Layer("table", module, (number,), output, weight=answers.numpy()))
        return len(self.layers) - 1

    def _weighted(self, node: Node, number: int) -> _Pending:
        weight, scales = self._weights(node)
        given, out = self.layers[number].output, _shape(node)
        bias = self._stored(node.args[2]) if len(node.args) > 2 and node.args[2] is not None else None
        kernel, stride, pad, groups = (1, 1), (1, 1), (0, 0), 1
        if node.target is aten.linear.default:
            if given.height * given.width * given.channels != weight.shape[1]:
                raise _Lacks("a linear layer over the whole of its input")
            # Of an image: PyTorch flattens (C, H, W), bytes lie as (H, W, C).
            whole = weight.reshape(weight.shape[0], given.channels, given.height, given.width)
            weight, kernel = whole, (given.height, given.width)
            output = Tensor(1, 1, out[-1])
        else:
            kernel = (int(weight.shape[2]), int(weight.shape[3]))
            stride, pad, groups = _geometry(node, kernel)
            output = Tensor(out[2], out[3], out[1])
        sums = np.broadcast_to(given.scale * scales, (output.channels,))
        if groups == given.channels == output.channels and groups > 1:
            kind, stored = "depthwise", weight[:, 0].permute(1, 2, 0)
        elif groups == 1:
            plain = kernel == (1, 1) and stride == (1, 1) and pad == (0, 0)
            kind, stored = "pointwise" if plain else "conv", weight.permute(0, 2, 3, 1)
        else:
            raise _Lacks("groups of one channel, or one group")
        if stored.numel() // output.channels > EXACT_TAPS:
            raise _Lacks(f"at most {EXACT_TAPS} weights for each output channel")
        words = np.zeros(output.channels, np.int32)
        if bias is not None:
            words = np.rint(bias.double().numpy() / sums).clip(-(2**30), 2**30).astype(np.int32)
        layer = Layer(
            kind, module_of(node), (number,), output, kernel, stride, pad,
            weight=stored.contiguous().numpy().astype(np.int8), bias=words,
        )  # fmt: skip
        return _Pending(layer, sums)

    def _weights(self, node: Node) -> tuple[Floats, np.ndarray[Any, Any]]:
        """The integers and the scale of each output channel."""
        read_from = node.args[1]
        assert isinstance(read_from, Node)
        if read_from.target not in DEQUANTIZE:
            raise NotIntegers(f"the weight of {module_of(node) or node.name} is in float")
        integers = self._stored(read_from.args[0])
        if read_from.target is q.dequantize_per_tensor.default:
            scale, zero = float(read_from.args[1]), int(read_from.args[2])  # type: ignore[arg-type]
            if zero != 0:
                raise _Lacks("weights with a zero point of 0")
            return integers, np.asarray(scale)
        if bool((self._stored(read_from.args[2]) != 0).any()) or read_from.args[3] != 0:
            raise _Lacks("weights with a zero point of 0, with scales along the output channels")
        return integers, self._stored(read_from.args[1]).double().numpy()

    def _stored(self, node: Any) -> Floats:
        value: Any = self.network
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value.detach()  # type: ignore[no-any-return]

    def _pair(self, node: Node, first: Any, second: Any) -> _Pending:
        if node.target is aten.add.Tensor and (whole := self._whole_kernel(first, second)):
            return whole
        left, right = self._number(node, first), self._number(node, second)
        shape = _shape(node)
        if len(shape) == 2:
            shape = (*shape, 1, 1)
        output, sides = Tensor(shape[2], shape[3], shape[1]), [self.layers[left].output, self.layers[right].output]
        sizes = [(side.height, side.width, side.channels) for side in sides]
        own = (output.height, output.width, output.channels)
        if node.target is aten.add.Tensor:
            if sizes != [own, own]:
                raise _Lacks("sums of two values of one shape")
            return _Pending(Layer("add", module_of(node), (left, right), output), (sides[0].scale, sides[1].scale))
        if sizes[0] != own:
            left, right, sizes = right, left, sizes[::-1]
        if sizes[0] != own or sizes[1] not in (own, (1, 1, output.channels)):
            raise _Lacks("products of two values of one shape, or with one value a channel")
        scale = sides[0].scale * sides[1].scale
        return _Pending(Layer("multiply", module_of(node), (left, right), output), (scale,))

    def _whole_kernel(self, first: Any, second: Any) -> _Pending | None:
        """A depthwise kernel that was cut into bands of rows, for runtimes that lack large ones, in one piece again.

        Scales become the larger band's; what the bands rounded in between is rounded no more.
        """
        left = first if isinstance(first, _Pending) else self._band(first)
        right = self._band(second)
        if left is None or right is None or left.number is not None:
            return None
        top, bottom = left.layer, right.layer
        same = (top.inputs, top.stride, top.pad, top.kernel[1]) == (
            bottom.inputs, bottom.stride, bottom.pad, bottom.kernel[1],
        )  # fmt: skip
        start = second.start * bottom.stride[0]
        if not same or top.kind != "depthwise" or start != top.kernel[0]:
            return None
        sums = np.maximum(left.scales, right.scales)
        parts = [_rescaled(side.layer.weight, np.asarray(side.scales) / sums) for side in (left, right)]
        bias = sum(np.rint(side.layer.bias * (np.asarray(side.scales) / sums)) for side in (left, right))
        weight = np.concatenate(parts)
        rows = self.layers[top.inputs[0]].output.height
        height = (rows + 2 * top.pad[0] - len(weight)) // top.stride[0] + 1
        layer = replace(
            top, module=top.module, output=replace(top.output, height=height), kernel=(len(weight), top.kernel[1]),
            weight=weight, bias=np.asarray(bias).astype(np.int32),
        )  # fmt: skip
        return _Pending(layer, sums)

    def _band(self, value: Any) -> _Pending | None:
        """The convolution behind a slice of its answer's rows, as if it were not rounded yet."""
        if not isinstance(value, _Real) or value.start is None or value.function is not None:
            return None
        layer = self.layers[value.number]
        if layer.kind != "depthwise":
            return None
        scales = real(layer.multiplier, layer.shift) * layer.output.scale
        return _Pending(layer, scales)

    def _bounds(self, node: Node) -> tuple[float, float] | None:
        if node.target in (aten.hardtanh.default, aten.clamp.default):
            defaults: list[Any] = [-1.0, 1.0] if node.target is aten.hardtanh.default else [None, None]
            low, high = (*_args(node)[1:], *defaults[len(node.args) - 1 :])
            low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
            return (-float("inf") if low is None else float(low), float("inf") if high is None else float(high))
        return BOUNDS.get(node.target)

    def _reshaped(self, node: Node, value: Any) -> Any:
        """Shapes that leave bytes where they are: of one place, or of an image that a linear layer takes whole."""
        number = value.number if isinstance(value, (_Real, _Pending)) else None
        layer = value.layer if isinstance(value, _Pending) else self.layers[number] if number is not None else None
        if layer is None:
            raise _Lacks(WAY_OUT)
        shape, own = _shape(node), layer.output
        flat = [size for size in shape if size != 1]
        if own.height * own.width == 1 and flat in ([own.channels], []):
            return value
        takers = [user for user in _behind(node) if user.target is not aten.linear.default]
        if len(flat) == 1 and not takers:
            return value
        raise _Lacks("keep the image's shape, or flatten it right before a linear layer")

    def _mean(self, node: Node, number: int) -> _Pending:
        given = self.layers[number].output
        if node.target is aten.mean.dim:
            over = sorted(axis % 4 for axis in node.args[1])  # type: ignore[union-attr, operator]
        else:
            over = [2, 3] if list(node.args[1]) == [1, 1] else []  # type: ignore[arg-type]
        if over != [2, 3]:
            raise _Lacks("means over height and width together")
        return _Pending(Layer("mean", module_of(node), (number,), Tensor(1, 1, given.channels)), (given.scale,))

    def _pool(self, node: Node, number: int) -> Any:
        given, shape = self.layers[number].output, _shape(node)
        kernel = _two(node.args[1])
        stride = _two(node.args[2]) if len(node.args) > 2 and node.args[2] else kernel
        pad = _two(node.args[3]) if len(node.args) > 3 else (0, 0)
        rest = [arg for arg in node.args[4:6] if arg not in (1, [1, 1], False, True)]
        largest = node.target is aten.max_pool2d.default
        ceil = (
            node.args[5]
            if largest and len(node.args) > 5
            else node.args[4]
            if not largest and len(node.args) > 4
            else 0
        )
        if rest or ceil or (not largest and len(node.args) > 5 and pad != (0, 0) and not node.args[5]):
            raise _Lacks("pools without dilation, rounding down, that count their padding")
        output = Tensor(shape[2], shape[3], shape[1], given.scale, given.zero)
        layer = Layer("maximum" if largest else "average", module_of(node), (number,), output, kernel, stride, pad)
        if largest:
            self.layers.append(layer)
            return _Real(len(self.layers) - 1)
        return _Pending(layer, (given.scale / (kernel[0] * kernel[1]),))

    def _function(self, node: Node, value: Any) -> _Real:
        if not isinstance(value, _Real) or value.start is not None:
            if isinstance(value, _Pending):
                raise _Lacks("round its input to 8 bits: --precision w8a8 does where it can")
            raise NotIntegers(f"{operator_name(node)} at {source_of(node) or node.name} computes in float")
        before, target, rest, named = value.function, node.target, node.args[1:], dict(node.kwargs)

        def apply(x: Floats) -> Floats:
            return target(x if before is None else before(x), *rest, **named)  # type: ignore[operator, no-any-return]

        return _Real(value.number, apply)

    def _answer(self, node: Node) -> int | None:
        outputs = torch.utils._pytree.tree_leaves(node.args[0])
        value = self.values.get(outputs[0])
        if len(outputs) != 1 and not self.lacking:
            raise SdkError(
                f"a network of {len(outputs)} outputs", expected="one output", hint="export the outputs one by one"
            )
        return value.number if isinstance(value, _Real) and value.function is None else None


_ASIDE = frozenset({aten._assert_tensor_metadata.default, aten.sym_size.int})


def fixed(factors: Any) -> tuple[Any, Any]:
    """Each factor as a multiplier of 31 bits and a shift (Jacob et al., 2018, section 2.2), as LiteRT rounds them."""
    multipliers, shifts = [], []
    for factor in np.atleast_1d(np.asarray(factors, np.float64)):
        fraction, shift = frexp(float(factor))
        multiplier = int(np.floor(fraction * 2**31 + 0.5))
        if multiplier == 2**31:
            multiplier, shift = multiplier // 2, shift + 1
        if shift < -31:
            multiplier, shift = 0, 0
        if shift > 30:
            raise LoweringFailedFactor(float(factor))
        multipliers.append(multiplier)
        shifts.append(shift)
    return np.array(multipliers, np.int32), np.array(shifts, np.int8)


def _divided(multiplier: Any, shift: Any, count: int) -> tuple[Any, Any]:
    """A mean's factor from its sum's, rounded down as LiteRT does."""
    up = min(count.bit_length() - 1, 32, 31 + int(shift[0]))
    return np.array([(int(multiplier[0]) << up) // count], np.int32), (shift - up).astype(np.int8)


class LoweringFailedFactor(LoweringFailed):
    """Scales that no integer multiplier stands for."""

    def __init__(self, factor: float) -> None:
        super().__init__(
            f"a rescaling by {factor:g}", expected="less than 2^30", hint="calibrate on data that reach every layer"
        )


def real(multiplier: Any, shift: Any) -> np.ndarray[Any, Any]:
    """What multipliers and shifts stand for."""
    factors: np.ndarray[Any, Any] = np.ldexp(multiplier.astype(np.float64), shift.astype(np.int32) - 31)
    return factors


def _rescaled(weight: Any, factor: Any) -> Any:
    return np.rint(weight.astype(np.float64) * factor).clip(-127, 127).astype(np.int8)


def _clamped(bound: float, scale: float, zero: int, low: int, high: int) -> int:
    """A bound of real values as a byte."""
    if bound in (float("inf"), -float("inf")):
        return high if bound > 0 else low
    return int(np.clip(np.rint(bound / scale) + zero, low, high))


def _geometry(node: Node, kernel: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Stride, padding and groups of a convolution. Raises _Lacks for transposed and dilated ones."""
    stride = _two(node.args[3]) if len(node.args) > 3 else (1, 1)
    padding = node.args[4] if len(node.args) > 4 else (0, 0)
    dilation = _two(node.args[5]) if len(node.args) > 5 else (1, 1)
    if node.target is aten.convolution.default:
        if node.args[6]:
            raise _Lacks("resize and convolve in place of a transposed convolution")
        groups = _args(node)[8]
    else:
        groups = _args(node)[6] if len(node.args) > 6 else 1
    if dilation != (1, 1):
        raise _Lacks("convolutions without dilation")
    if isinstance(padding, str):
        if padding == "same" and (stride != (1, 1) or any(size % 2 == 0 for size in kernel)):
            raise _Lacks("padding by numbers")
        padding = (0, 0) if padding == "valid" else (kernel[0] // 2, kernel[1] // 2)
    return stride, _two(padding), int(groups)


def _args(node: Node) -> tuple[Any, ...]:
    return node.args


def _two(value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return int(pair[0]), int(pair[-1])


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["val"].shape)


def _behind(node: Node) -> list[Node]:
    """Who computes with a value, through what leaves bytes as they are."""
    found = []
    for user in node.users:
        passes = user.target in SHAPES or user.target in SAME or user.target in DEQUANTIZE
        passes = passes or user.target is q.quantize_per_tensor.default
        found += _behind(user) if passes else [user]
    return found


def _alive(layers: list[Layer], answer: int) -> list[Layer]:
    """Those that the answer needs, numbered anew."""
    needed = {0, answer}
    for index in range(len(layers) - 1, -1, -1):
        if index in needed:
            needed |= set(layers[index].inputs)
    order = sorted(index for index in needed if index <= answer)
    place = {index: number for number, index in enumerate(order)}
    return [replace(layers[index], inputs=tuple(place[source] for source in layers[index].inputs)) for index in order]
