"""Integer inputs and outputs of a written .tflite, whose converter makes quantised tensors between floats only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.tflite_file import read_model, write_model


@dataclass(frozen=True)
class Edge:
    """An input or output in integers (`dtype` int8 or uint8): real = (integer - zero_point) * scale."""

    name: str
    dtype: str
    scale: float
    zero_point: int


def give_integers(path: Path, inputs: Iterable[Edge], outputs: Iterable[Edge]) -> None:
    """Write the file again with these inputs, which are int8, and outputs, int8 or uint8, in integers.

    before: x float32 -> QUANTIZE -> ... -> DEQUANTIZE -> float32
    after:  x int8                -> ...               -> int8
    uint8:                           ... -> QUANTIZE   -> uint8
    Where the converter has put other operators at an end, one that converts is added there.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(path)
    ends = _Ends(model, schema)
    for edge in inputs:
        ends.take(edge)
    for edge in outputs:
        ends.give(edge)
    write_model(path, model)


class _Ends:
    """A model's main graph, whose inputs and outputs are named by its signature."""

    def __init__(self, model: Any, schema: Any) -> None:
        self.model, self.schema, self.graph = model, schema, model.subgraphs[0]
        self.signature = model.signatureDefs[0]
        self.quantize, self.dequantize = schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE

    def take(self, edge: Edge) -> None:
        end = _named(self.signature.inputs, edge.name)
        old = end.tensorIndex
        readers = [operator for operator in self.graph.operators if old in operator.inputs]
        if readers and all(self._is(reader, self.quantize, reader.outputs[0], edge) for reader in readers):
            new = readers[0].outputs[0]
            self._drop(readers)
            for reader in readers:
                self._rewire({reader.outputs[0]: new})
        else:
            new = self._tensor(old, edge)
            self.graph.operators.insert(0, self._operator(self.dequantize, new, old))
        self.graph.inputs = [new if number == old else number for number in self.graph.inputs]
        self._call(new, old)
        end.tensorIndex = new

    def give(self, edge: Edge) -> None:
        end = _named(self.signature.outputs, edge.name)
        old = end.tensorIndex
        makers = [operator for operator in self.graph.operators if old in operator.outputs]
        alone = not any(old in operator.inputs for operator in self.graph.operators)
        alone = alone and list(self.graph.outputs).count(old) == 1
        signed = edge if edge.dtype == "int8" else replace(edge, zero_point=edge.zero_point - 128)
        straight = alone and makers and self._is(makers[0], self.dequantize, makers[0].inputs[0], signed)
        source = makers[0].inputs[0] if straight else old
        if straight:
            self._drop(makers)
        if straight and edge.dtype == "int8" and source not in {*self.graph.outputs, *self.graph.inputs}:
            new = source
        else:
            new = self._tensor(old, edge)
            self.graph.operators.append(self._operator(self.quantize, source, new))
        self.graph.outputs = [new if number == old else number for number in self.graph.outputs]
        self._call(new, old)
        end.tensorIndex = new

    def _is(self, operator: Any, kind: int, whole: int, edge: Edge) -> bool:
        """Whether an operator is of this kind, and its integers in the tensor `whole` are int8 of this scale."""
        found = self.graph.tensors[whole]
        own = found.quantization
        return (
            self.model.operatorCodes[operator.opcodeIndex].builtinCode == kind
            and found.type == self.schema.TensorType.INT8
            and np.allclose(own.scale, edge.scale, rtol=1e-6, atol=0)
            and np.array_equal(own.zeroPoint, [edge.zero_point])
        )

    def _tensor(self, like: int, edge: Edge) -> int:
        """A new tensor of the shape of another."""
        shape = self.graph.tensors[like]
        new = self.schema.TensorT()
        new.shape, new.shapeSignature, new.hasRank = shape.shape, shape.shapeSignature, shape.hasRank
        new.type = getattr(self.schema.TensorType, edge.dtype.upper())
        new.name = f"{shape.name.decode()}_{edge.dtype}"
        new.quantization = self.schema.QuantizationParametersT()
        new.quantization.scale = np.array([edge.scale], np.float32)
        new.quantization.zeroPoint = np.array([edge.zero_point], np.int64)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def _operator(self, kind: int, source: int, target: int) -> Any:
        new = self.schema.OperatorT()
        new.opcodeIndex = self._code(kind)
        new.inputs, new.outputs = np.array([source], np.int32), np.array([target], np.int32)
        return new

    def _code(self, kind: int) -> int:
        for index, code in enumerate(self.model.operatorCodes):
            if code.builtinCode == kind:
                return index
        code = self.schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 2  # of the first that takes and gives int8
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def _drop(self, operators: list[Any]) -> None:
        self.graph.operators = [one for one in self.graph.operators if not any(one is gone for gone in operators)]

    def _rewire(self, places: Mapping[int, int]) -> None:
        for operator in self.graph.operators:
            operator.inputs = np.array([places.get(number, number) for number in operator.inputs], np.int32)

    def _call(self, new: int, old: int) -> None:
        """Let a tensor have another's name, which people see in the file."""
        self.graph.tensors[new].name, self.graph.tensors[old].name = (
            self.graph.tensors[old].name, f"{self.graph.tensors[old].name.decode()}_float",
        )  # fmt: skip


def _named(ends: list[Any], name: str) -> Any:
    return next(end for end in ends if end.name.decode() == name)
