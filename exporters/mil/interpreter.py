"""Runs a MIL program over torch on the CPU, and checks every operation against what the program declares.

It proves a package's graph and weights, not the Neural Engine's arithmetic: float16 tensors are held in
float16, each operator computes in float32 and its outputs are rounded to float16 once.
"""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from exporters.mil.dtypes import DTYPES, Dtype
from exporters.mil.errors import UnsupportedOperator, WrongInput, WrongOutput
from exporters.mil.ops import OPERATORS, Operator
from exporters.mil.ops.registry import Tensors, Value
from exporters.mil.program import Argument, Constant, NamedType, Operation, Program, Reference

Array = npt.NDArray[np.generic]

# These choose their own float type; all others keep one of their inputs'.
_FLOAT_MAKERS = frozenset({"cast", "constexpr_cast", "fill", "fill_like"})


def operator_counts(program: Program) -> dict[str, int]:
    """How often the program uses each operator, without `const`, by name."""
    counts = Counter(operation.type for operation in program.operations if operation.type != "const")
    return dict(sorted(counts.items()))


def missing_operators(program: Program, operators: Mapping[str, Operator] = OPERATORS) -> tuple[str, ...]:
    """The names of the operators that `operators` lacks, sorted."""
    return tuple(name for name in operator_counts(program) if name not in operators)


class Interpreter:
    """Runs one program; keeps its constants and the weights that `constexpr_` operators decompress."""

    def __init__(self, program: Program, operators: Mapping[str, Operator] = OPERATORS) -> None:
        self.program = program
        self.operators = operators

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for `inputs`, by the names and in the order of the model description.

        Raises `UnsupportedOperator` before anything runs, `WrongInput` when an array does not have the
        declared name, shape and dtype, `WrongOutput` when an operation gives other than what is declared.
        """
        missing = missing_operators(self.program, self.operators)
        if missing:
            raise UnsupportedOperator(
                f"the interpreter has no operator {', '.join(missing)}",
                expected="a program whose operators are all known",
                hint="add the operator under exporters/mil/ops",
            )
        values: dict[str, Value] = {**self._constants, **self._inputs(inputs)}
        for index, operation in enumerate(self._dynamic):
            self._execute(operation, values)
            for name in self._last_used[index]:
                values.pop(name, None)
        return {output.name: _to_array(values[output.name], output) for output in self.program.outputs}

    @cached_property
    def _constants(self) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for operation in self.program.operations:
            if operation.type == "const":
                values[operation.outputs[0].name] = _to_value(operation.attributes["val"])
            elif operation.type.startswith("constexpr_"):
                _check_constant_inputs(operation, values)
                self._execute(operation, values)
        return values

    @cached_property
    def _dynamic(self) -> tuple[Operation, ...]:
        return tuple(o for o in self.program.operations if o.type.split("_")[0] not in ("const", "constexpr"))

    @cached_property
    def _last_used(self) -> list[list[str]]:
        """For each operation that runs, the names that nothing after it needs."""
        seen = {output.name for output in self.program.outputs}
        last: list[list[str]] = []
        for operation in reversed(self._dynamic):
            used = {v.name for a in operation.inputs.values() for v in a if isinstance(v, Reference)}
            used |= {output.name for output in operation.outputs}
            last.append(sorted(used - seen))
            seen |= used
        return last[::-1]

    def _inputs(self, arrays: Mapping[str, Array]) -> dict[str, Value]:
        declared = {each.name: each.type for each in self.program.inputs}
        if set(arrays) != set(declared):
            raise WrongInput(f"inputs {sorted(arrays)}", expected=f"the inputs {sorted(declared)}")
        for name, array in arrays.items():
            dtype, wanted = np.dtype(DTYPES[declared[name].dtype].array), declared[name].shape
            if array.dtype != dtype or not _fits(array.shape, wanted):
                raise WrongInput(f"input {name!r} is {array.dtype} {array.shape}", expected=f"{dtype} {wanted}")
        return {name: _to_tensor(array, DTYPES[declared[name].dtype]) for name, array in arrays.items()}

    def _execute(self, operation: Operation, values: dict[str, Value]) -> None:
        operator = self.operators[operation.type]
        inputs = {name: _resolve(argument, values) for name, argument in operation.inputs.items()}
        inputs |= {name: (_to_value(constant),) for name, constant in operation.attributes.items()}
        unknown = sorted(set(inputs) - set(operator.conversions))
        absent = sorted(operator.required - set(inputs))
        if unknown or absent:
            raise UnsupportedOperator(
                f"{_label(operation)} has the inputs {sorted(inputs)}",
                expected=f"{'also ' + ', '.join(absent) if absent else 'none of ' + ', '.join(unknown)}",
            )
        computing = {name: tuple(_to_float32(v) for v in each) for name, each in inputs.items()}
        try:
            results = operator(computing)
        except (RuntimeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise WrongOutput(f"{_label(operation)} failed: {error}") from error
        floats = {v.dtype for each in inputs.values() for v in each if isinstance(v, Tensor)}
        _store(operation, results, floats, values)


def _check_constant_inputs(operation: Operation, constants: Mapping[str, Value]) -> None:
    used = {v.name for argument in operation.inputs.values() for v in argument if isinstance(v, Reference)}
    if not used <= set(constants):
        raise WrongOutput(f"{_label(operation)} depends on {sorted(used - set(constants))}", expected="constants only")


def _store(operation: Operation, results: Tensors, floats: set[torch.dtype], values: dict[str, Value]) -> None:
    """Check the results of an operation against its declared outputs and add them to `values`."""
    if len(results) != len(operation.outputs):
        raise WrongOutput(f"{_label(operation)} has {len(results)} results", expected=f"{len(operation.outputs)}")
    for output, result in zip(operation.outputs, results, strict=True):
        dtype = DTYPES[output.type.dtype].tensor if output.type.dtype in DTYPES else None
        if not _fits(result.shape, output.type.shape) or not _is_dtype(operation.type, result, dtype, floats):
            made = str(result.dtype).removeprefix("torch.")
            raise WrongOutput(
                f"{_label(operation)} makes {output.name!r} as {made} {tuple(result.shape)}",
                expected=f"{output.type.dtype} {output.type.shape}, as the program declares",
            )
        values[output.name] = result.to(dtype)


def _is_dtype(operator: str, result: Tensor, wanted: torch.dtype | None, floats: set[torch.dtype]) -> bool:
    """Whether a result has its declared type.

    Operators compute in float32, so a float's declared type is compared with the types of the inputs, and
    with the result only where the operator chooses the type itself.
    """
    if wanted is None or not (wanted.is_floating_point and result.is_floating_point()):
        return result.dtype == wanted
    if operator in ("cast", "constexpr_cast"):
        return result.dtype == wanted
    return operator in _FLOAT_MAKERS or wanted in floats


def _resolve(argument: Argument, values: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(values[v.name] if isinstance(v, Reference) else _to_value(v) for v in argument)


def _to_value(constant: Constant) -> Value:
    if isinstance(constant.value, str):
        return constant.value
    return _to_tensor(constant.value, DTYPES[constant.type.dtype])


def _to_tensor(array: Array, dtype: Dtype) -> Tensor:
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(dtype.tensor)


def _to_float32(value: Value) -> Value:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _to_array(value: Value, output: NamedType) -> Array:
    if isinstance(value, str):
        raise WrongOutput(f"the output {output.name!r} is a string", expected="a tensor")
    return value.numpy().astype(DTYPES[output.type.dtype].array)


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(d in (None, n) for n, d in zip(shape, declared, strict=True))


def _label(operation: Operation) -> str:
    return f"{operation.type} {', '.join(repr(output.name) for output in operation.outputs)}"
