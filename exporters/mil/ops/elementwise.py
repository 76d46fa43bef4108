"""Element-wise operators of one or two tensors, comparisons, logic, casts."""

from collections.abc import Callable

import torch
from torch import Tensor

from exporters.mil.ops.registry import Function, operator

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "round": torch.round,  # half to even, as MIL's 0.5 -> 0
    "sign": torch.sign,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "floor_div": torch.floor_divide,
    "mod": torch.remainder,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
_CASTS = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "bool": torch.bool,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
}


def _unary(function: Callable[[Tensor], Tensor]) -> Function:
    def apply(x: Tensor) -> Tensor:
        return function(x)

    return apply


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    def apply(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)

    return apply


for _name, _one in _UNARY.items():
    operator(_name)(_unary(_one))
for _name, _two in _BINARY.items():
    operator(_name)(_binary(_two))


@operator("real_div")
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """`x / y`; integers round toward zero."""
    return torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@operator("pow")
def power(x: Tensor, y: Tensor) -> Tensor:
    """`x ** y`."""
    return torch.pow(x, y)


@operator("exp2")
def exp2(x: Tensor) -> Tensor:
    """`2 ** x`, in the type of `x`."""
    return torch.exp2(x).to(x.dtype)


@operator("inverse")
def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """`1 / (x + epsilon)`."""
    return torch.reciprocal(x + epsilon)


@operator("log")
def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """`log(x + epsilon)`."""
    return torch.log(x + epsilon)


@operator("rsqrt")
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """`1 / sqrt(x + epsilon)`."""
    return torch.rsqrt(x + epsilon)


@operator("clip")
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    """`x` limited to `[alpha, beta]`."""
    return x.clamp(alpha, beta)


@operator("threshold")
def threshold(x: Tensor, alpha: Tensor) -> Tensor:
    """`max(x, alpha)`."""
    return torch.maximum(x, alpha)


@operator("select")
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where `cond`, else `b`."""
    return torch.where(cond, a, b)


@operator("cast")
def cast(x: Tensor, dtype: str) -> Tensor:
    """`x` as `dtype`; floats to integers round toward zero."""
    if dtype == "uint16":  # held in int32, so the wrap-around is explicit
        return x.to(torch.int32) & 0xFFFF
    return x.to(_CASTS[dtype])
