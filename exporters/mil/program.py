"""A MIL program as plain data: what `package.read_program` makes and the interpreter runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TensorType:
    """An element type by name (`fp16`, `int32`, `string`, ...) and a shape; None is an unknown dimension."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class NamedType:
    """An input of the program, or an output of an operation."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Constant:
    """A value written in the program or its weight file; sub-byte types are unpacked to bytes."""

    type: TensorType
    value: npt.NDArray[np.generic] | str


@dataclass(frozen=True)
class Reference:
    """The name of an input or of an earlier operation's output."""

    name: str


Argument = tuple[Constant | Reference, ...]


@dataclass(frozen=True)
class Operation:
    """One operator call; an argument holds several values where the operator takes a tuple."""

    type: str
    inputs: Mapping[str, Argument]
    outputs: tuple[NamedType, ...]
    attributes: Mapping[str, Constant]


@dataclass(frozen=True)
class Program:
    """The main function; names and order of `inputs` and `outputs` are the model description's."""

    inputs: tuple[NamedType, ...]
    outputs: tuple[NamedType, ...]
    operations: tuple[Operation, ...]
    opset: str
