"""One decorated function an operator; its signature is the operator's interface.

A parameter's annotation says what the interpreter hands over: a `Tensor`, a Python number or string from a
0-d tensor, `Ints` from a 1-d tensor, `Tensors` from a tuple argument; with a default the input is optional.
Float tensors always arrive as float32. Functions never write into what they get.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeVar, get_args

from torch import Tensor

Value = Tensor | str
Ints = tuple[int, ...]
Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensor | Tensors]
F = TypeVar("F", bound=Function)


def _one(values: Sequence[Value]) -> Value:
    (value,) = values
    return value


def _number(values: Sequence[Value]) -> Any:
    value = _one(values)
    return value if isinstance(value, str) else value.item()


def _ints(values: Sequence[Value]) -> Ints:
    value = _one(values)
    return tuple(int(i) for i in value) if isinstance(value, str) else tuple(value.flatten().tolist())


_CONVERSIONS: dict[Any, Callable[[Sequence[Value]], Any]] = {
    Tensor: _one,
    int: lambda values: int(_number(values)),
    float: lambda values: float(_number(values)),
    bool: lambda values: bool(_number(values)),
    str: lambda values: str(_one(values)),
    Ints: _ints,
    Tensors: tuple,
}


@dataclass(frozen=True)
class Operator:
    """A function with the conversion of each of its inputs, and the inputs that a call must have."""

    function: Function
    conversions: Mapping[str, Callable[[Sequence[Value]], Any]]
    required: frozenset[str]

    def __call__(self, inputs: Mapping[str, Sequence[Value]]) -> Tensors:
        """The outputs for `inputs` by name, each a sequence of the argument's values."""
        result = self.function(**{name: self.conversions[name](values) for name, values in inputs.items()})
        return result if isinstance(result, tuple) else (result,)


OPERATORS: dict[str, Operator] = {}


def operator(name: str) -> Callable[[F], F]:
    """Register the decorated function as the MIL operator `name`."""

    def register(function: F) -> F:
        if name in OPERATORS:
            raise ValueError(f"operator {name!r} is registered twice")
        parameters = inspect.signature(function).parameters.values()
        OPERATORS[name] = Operator(
            function,
            {p.name: _CONVERSIONS[_without_none(p.annotation)] for p in parameters},
            frozenset(p.name for p in parameters if p.default is p.empty),
        )
        return function

    return register


def _without_none(annotation: Any) -> Any:
    options = get_args(annotation)
    if NoneType not in options:
        return annotation
    (kept,) = (o for o in options if o is not NoneType)
    return kept
